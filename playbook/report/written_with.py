"""What a file depends on beside Homeward's own version: the same document gives the same bytes with it."""

from __future__ import annotations

import importlib.metadata
import platform

WRITERS = ("typst", "matplotlib")
"""Packages of which another version may write the same document in another way."""


def written_with() -> dict[str, str]:
    """The packages' versions, and the kind of machine, whose floats a picture is drawn with."""
    versions = {name: importlib.metadata.version(name) for name in WRITERS}
    return {**versions, "machine": f"{platform.system()} {platform.machine()}"}
