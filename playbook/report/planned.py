"""Asks what the plan and the finance model are made of, up to a day: made again later, they are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from playbook.clickhouse_client import UNREACHABLE, first_line
from playbook.commands.inventory_show import basis_of, registry_of
from playbook.commands.inventory_show import document as inventory_document
from playbook.commands.plan import document as plan_document
from playbook.finance.gather import EXPERIMENTS, Book, Config, Experiments
from playbook.inventory.lines import Inventory, inventory
from playbook.inventory.sums import read_spend
from playbook.plan.gather import gather
from playbook.report.money import kept
from services.common.settings import load

OWN, OTHERS = Path(__file__).parent / "queries", Path(__file__).parents[1] / "queries"
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
    client: Client, settings: Path, environment: Mapping[str, str], until: datetime, problems: list[str]
) -> Planned:
    """Everything, as of the day of a document.

    Raises:
        SettingsError: the settings are wrong.
    """
    config = load(Config, *Config.model_fields, path=settings, environment=environment)
    try:
        book, last = _book(client, config, until.date())
    except UNREACHABLE as error:
        problems.append(f"what is spent could not be asked: {first_line(error)}")
        book, last = Book(problem="ClickHouse does not tell what is spent"), until.date()
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
    return "\n".join((OTHERS / name).read_text(encoding="utf-8") for name in INVENTORY)


def _book(client: Client, config: Config, today: date) -> tuple[Book, date]:
    """What is spent, up to the last whole day; of a book that begins today, up to now."""
    last = today - timedelta(days=1)
    found = _inventory(client, config, last)
    if not found.spend.month_nanos:
        last = today
        found = _inventory(client, config, last)
    sql = (OWN / EXPERIMENTS).read_text(encoding="utf-8")
    (row,) = client.query(sql, parameters={"last_day": last}).named_results()
    return Book(found, Experiments(**row) if row["experiment_legs"] else None), last


def _inventory(client: Client, config: Config, last: date) -> Inventory:
    registry = registry_of(config)
    return inventory(read_spend(client, registry, None, last), registry, basis_of(client, config))


def _queries(inputs: list[dict[str, Any]]) -> dict[str, str]:
    """The queries that the inputs' sources name."""
    names = {name for item in inputs for name in re.findall(r"[a-z_]+\.sql", item["source"]["text"])}
    files = {name: OWN / name if (OWN / name).exists() else OTHERS / name for name in sorted(names)}
    return {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.exists()}
