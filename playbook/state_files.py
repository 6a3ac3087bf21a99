"""The files that `make run` leaves for programs: endpoints.json, and secrets.json for its owner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def object_in(file: Path) -> Mapping[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def text_in(file: Path, key: str) -> str:
    """A text of that object; empty if it has none by this key."""
    found = object_in(file).get(key, "")
    return found if isinstance(found, str) else ""
