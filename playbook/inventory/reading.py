"""What the readers of formats share: what they are told, and what they count besides their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from services.common.seen import Seen

Observe = Callable[[str, str, Seen], None]
"""Takes a request's fingerprint, the name of its key, and what the classifier would see of it."""


@dataclass(slots=True)
class Reading:
    """A file that is being read."""

    provider: str = ""
    """Whose prices apply where the file does not say."""
    model: str = ""
    """Which model served where the file does not say."""
    project: str = ""
    """Which project it is of where the file does not say."""
    observe: Observe | None = None
    """Is shown each request that has text."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that are no LLM spend, by what they are."""
    problem: str = ""
    """Why the file could not be read to its end; empty if it was."""
