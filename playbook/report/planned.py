"""Asks what the plan and the finance model are made of, up to a day: made again later, they are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from playbook.asked import Asked
from playbook.commands.inventory_show import document as inventory_document
from playbook.commands.plan import document as plan_document
from playbook.finance.gather import Book, Config, read_until
from playbook.plan.gather import gather
from playbook.plan.stages import Stages, stages_of
from playbook.report.gathered import Row
from playbook.report.money import kept
from services.common.settings import load


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan and its finance, as JSON."""

    inputs: list[dict[str, Any]]
    """Of the finance model."""
    plan: Mapping[str, Any]
    """As `homeward plan --json` has it."""
    settings: Mapping[str, Any]
    """`[plan]`."""
    inventory: Mapping[str, Any] | None
    """As `homeward inventory show --json` has it; None if nothing is imported: then the router's legs are all
    there is, and they are asked by the moment instead of the day."""
    asked: dict[str, Asked]
    """The queries from which what is spent follows, by their names."""


def read_planned(
    settings: Path,
    environment: Mapping[str, str],
    until: datetime,
    problems: list[str],
    decisions: Sequence[Row] | None,
    workloads: Sequence[str],
) -> Planned:
    """Everything, as of the day of a document.

    Args:
        settings: the settings file.
        environment: as os.environ.
        until: the document's end.
        problems: gets what could not be asked.
        decisions: the journal's before that, the oldest first; None if the ledger is away.
        workloads: that it is about; empty: all that are planned.

    Raises:
        SettingsError: the settings are wrong.
    """
    config = load(Config, *Config.model_fields, path=settings, environment=environment)
    book, _ = read_until(config, until.date())
    if book.problem:
        problems.append(f"what is spent could not be asked: {book.problem}")
    stages = AWAY if decisions is None else stages_of(decisions)
    found = gather(_of(config, workloads), until.date(), book=_part(book, workloads), stages=stages)
    inputs = kept(found.case)
    imported = book.inventory is not None and any(
        line.workload.sources != ("legs",) for line in book.inventory.lines
    )
    return Planned(
        inputs=inputs,
        plan=plan_document(found),
        settings=config.plan.model_dump(mode="json"),
        inventory=inventory_document(book.inventory) if book.inventory and imported else None,
        asked=dict(book.asked),
    )


AWAY = Stages(problem="The ledger does not tell where workloads stand")


def _of(config: Config, workloads: Sequence[str]) -> Config:
    """The settings with these workloads alone to be moved, if any are named."""
    if not workloads:
        return config
    plan = config.plan.model_copy(update={"workloads": list(workloads)})
    return config.model_copy(update={"plan": plan})


def _part(book: Book, workloads: Sequence[str]) -> Book:
    """The book whose lines are those of these workloads: what others may save is not theirs."""
    if not workloads or book.inventory is None:
        return book
    lines = tuple(line for line in book.inventory.lines if line.workload.name in workloads)
    return replace(book, inventory=replace(book.inventory, lines=lines))
