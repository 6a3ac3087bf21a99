"""What a document is made from: everything that was asked, with the answers. It can be kept as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from playbook.asked import Asked

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gathered:
    """All answers. What is None could not be asked, and `problems` says why."""

    since: str
    """RFC 3339, UTC: the first moment of the period."""
    until: str
    """The first that is no longer in it: when the document was asked for."""
    workloads: Sequence[str]
    """That the document is about, sorted."""
    asked_workloads: Sequence[str]
    """That were named by who asked; empty: all."""
    answers: Mapping[str, Asked]
    """By the query's name; of one workload by `name/workload`."""
    decisions: Sequence[Row]
    """Of the journal, the oldest first."""
    migrations: Sequence[Row] | None
    """As `homeward shadow show --json` has them."""
    settings: Mapping[str, Any]
    """Those that the document tells, as nested tables; no secrets. `workloads` has `registered` too."""
    registered: Sequence[str] | None = None
    """Workloads that the settings lack and the classifier has; None if it was away."""
    examples: Mapping[str, Sequence[Row]] | None = None
    """By workload, as `homeward shadow examples --json` has them: those that the document shows."""
    inventory: Mapping[str, Any] | None = None
    """As `homeward inventory show --json` has it."""
    finance: Sequence[Row] | None = None
    """The inputs of the finance model, as `money.kept` writes them."""
    plan: Mapping[str, Any] | None = None
    """As `homeward plan --json` has it."""
    lines_of_code: int | None = None
    """Of Homeward's services, without blank ones: what an organisation that builds it itself would write."""
    problems: Sequence[str] = field(default=())
    version: str = ""
    """Of Homeward."""
    written_with: Mapping[str, str] = field(default_factory=dict)
    """What else the files' bytes depend on, as `written_with` tells it."""


def iso(moment: datetime) -> str:
    """RFC 3339, UTC: as text, times have the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def dumped(found: Gathered) -> str:
    """As JSON."""
    return json.dumps(asdict(found), ensure_ascii=False, indent=1, default=str)


def loaded(text: str) -> Gathered:
    """Of JSON.

    Raises:
        ValueError, TypeError, KeyError: it is not one.
    """
    found = json.loads(text)
    answers = {name: Asked(**item) for name, item in found.pop("answers").items()}
    return Gathered(answers=answers, **found)
