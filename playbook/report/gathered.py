"""What a document is made from: everything that was asked, with the answers. It can be kept as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, its parameters, and its rows."""

    sql: str
    parameters: Mapping[str, Any]
    rows: Sequence[Row]


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
    """Those that the document tells, as nested tables; no secrets."""
    examples: Mapping[str, Sequence[Row]] | None = None
    """By workload, as `homeward shadow examples --json` has them: those that the document shows."""
    inventory: Mapping[str, Any] | None = None
    """As `homeward inventory show --json` has it."""
    inventory_sql: str = ""
    finance: Sequence[Row] | None = None
    """The inputs of the finance model, as `money.kept` writes them."""
    plan: Mapping[str, Any] | None = None
    """As `homeward plan --json` has it."""
    queries: Mapping[str, str] = field(default_factory=dict)
    """The queries that those inputs name, by their file's name."""
    lines_of_code: int | None = None
    """Of Homeward's services, without blank ones: what an organisation that builds it itself would write."""
    problems: Sequence[str] = field(default=())
    version: str = ""
    """Of Homeward."""


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
