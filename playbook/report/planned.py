"""Asks what the plan and the finance model are made of, up to a day: made again later, they are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from playbook.commands.inventory_show import document as inventory_document
from playbook.commands.plan import document as plan_document
from playbook.finance.gather import QUERIES, Config, read_until
from playbook.plan.gather import gather
from playbook.report.money import kept
from services.common.settings import load

INVENTORY = ("inventory_usage.sql", "inventory_legs.sql")


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
    queries: Mapping[str, str]
    """Those that the inputs name, by their file's name."""


def read_planned(
    settings: Path, environment: Mapping[str, str], until: datetime, problems: list[str]
) -> Planned:
    """Everything, as of the day of a document.

    Raises:
        SettingsError: the settings are wrong.
    """
    config = load(Config, *Config.model_fields, path=settings, environment=environment)
    book, last = read_until(config, until.date())
    if book.problem:
        problems.append(f"what is spent could not be asked: {book.problem}")
    found = gather(config, until.date(), book=book)
    inputs = kept(found.case)
    imported = book.inventory is not None and any(
        line.workload.sources != ("legs",) for line in book.inventory.lines
    )
    return Planned(
        inputs=inputs,
        plan=plan_document(found),
        settings=config.plan.model_dump(mode="json"),
        inventory=inventory_document(book.inventory) if book.inventory and imported else None,
        queries={name: f"-- The last day: {last}.\n{sql}" for name, sql in _queries(inputs).items()},
    )


def inventory_sql() -> str:
    """The inventory's queries."""
    return "\n".join((QUERIES / name).read_text(encoding="utf-8") for name in INVENTORY)


def _queries(inputs: list[dict[str, Any]]) -> dict[str, str]:
    """The queries that the inputs' sources name."""
    names = {name for item in inputs for name in re.findall(r"[a-z_]+\.sql", item["source"]["text"])}
    files = {name: QUERIES / name for name in sorted(names)}
    return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.exists()}
