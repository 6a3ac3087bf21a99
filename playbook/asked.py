"""A query as it was asked of the book, so that anybody can ask it again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, its parameters, and its rows."""

    sql: str
    parameters: Mapping[str, Any]
    """As JSON has them: a day is a text."""
    rows: Sequence[Mapping[str, Any]]
