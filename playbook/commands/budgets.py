"""`homeward ledger budgets`: what is spent and set aside of each budget."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import grpc
import typer
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.classifier_client import stopped
from services.common.settings import DEFAULT_FILE, Budget, Name, Section, SettingsError, load
from services.ledger.config import Ledger

TIMEOUT_S = 10.0
"""Longest wait for the ledger."""
NEARLY = 80
"""Percent of a limit, spent and set aside together, above which there is a warning."""


class _Config(Section):
    """What the command must know of the settings."""

    ledger: Ledger = Ledger()
    budgets: dict[Name, Budget] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """A budget in its current period; amounts in nano-dollars."""

    name: str
    covers: str
    """Which legs fall under it."""
    period: str
    period_start: str
    limit_nanos: int
    spent_nanos: int
    reserved_nanos: int
    left_nanos: int
    """Negative if it is passed."""
    unknown_count: int
    """Booked legs of unknown cost; what was set aside for them counts as spent."""
    at_cap: str
    level: str
    """`ok`; `nearly` above 80 %; `over` if nothing is left."""


def budgets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where the ledger is.")
    ] = DEFAULT_FILE,
) -> None:
    """Show what is spent, set aside and left of each budget in its current period (UTC).

    Reserved is set aside for calls that are under way. Budgets cap what is spent in the cloud.

    --json has: budgets (name, covers, period, period_start, limit_nanos, spent_nanos, reserved_nanos,
    left_nanos, unknown_count, at_cap, level).
    """
    try:
        config = load(_Config, *_Config.model_fields, path=settings, environment=os.environ)
    except SettingsError as error:
        raise stopped(str(error)) from None
    rows = [_row(item, config.budgets.get(item.name)) for item in _ask(config.ledger.grpc, settings)]
    if as_json:
        typer.echo(json.dumps({"budgets": [asdict(row) for row in rows]}))
    else:
        _print(rows, set(config.budgets), settings)


def _ask(address: str, settings: Path) -> Sequence[ledger_pb2.Budget]:
    with grpc.insecure_channel(address) as channel:
        try:
            answer = ledger_pb2_grpc.LedgerServiceStub(channel).ListBudgets(
                ledger_pb2.ListBudgetsRequest(), timeout=TIMEOUT_S
            )
        except grpc.RpcError as error:
            code, details = error.code(), " ".join((error.details() or "").split())
            if code is grpc.StatusCode.UNIMPLEMENTED:
                raise stopped(f"the ledger at {address} has no budgets; is it of this version?") from None
            raise stopped(
                f"the ledger at {address} does not answer ({details or code.name}); start everything with"
                f" `make run`, or it alone with `python -m services.ledger {settings}`"
            ) from None
    return answer.budgets


def _row(item: ledger_pb2.Budget, budget: Budget | None) -> Row:
    left = item.limit_nanos - item.spent_nanos - item.reserved_nanos
    used = item.spent_nanos + item.reserved_nanos
    level = "over" if left <= 0 else "nearly" if used * 100 > item.limit_nanos * NEARLY else "ok"
    return Row(
        name=item.name,
        covers=_covers(budget),
        period=budget.period if budget else "unknown",
        period_start=datetime.fromtimestamp(item.period_start.seconds, UTC).isoformat(),
        limit_nanos=item.limit_nanos,
        spent_nanos=item.spent_nanos,
        reserved_nanos=item.reserved_nanos,
        left_nanos=left,
        unknown_count=item.unknown_count,
        at_cap=item.at_cap,
        level=level,
    )


def _covers(budget: Budget | None) -> str:
    if budget is None:
        return "unknown"
    words = {"workload": budget.workload, "key": budget.key, "purpose": budget.purpose}
    return ", ".join(f"{word} {value}" for word, value in words.items() if value) or "all cloud legs"


def _print(rows: Sequence[Row], in_settings: set[str], settings: Path) -> None:
    console = Console()
    if not rows:
        console.print("There are no budgets.")
    else:
        console.print(_table(rows))
    for row in rows:
        for warning in _warnings(row):
            console.print(f"\n[bold]warning[/bold]: {escape(warning)}", soft_wrap=True)
    strange = sorted(in_settings ^ {row.name for row in rows})
    if strange:
        console.print(
            f"\n[bold]warning[/bold]: the ledger runs with other settings than {escape(str(settings))}:"
            f" {escape(', '.join(strange))}",
            soft_wrap=True,
        )
    console.print(f"\nNext: {escape(_next(rows, strange, settings))}", soft_wrap=True)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(
        title="Budgets, in dollars of the current period",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    table.add_column("budget", no_wrap=True)
    table.add_column("of")
    table.add_column("per", no_wrap=True)
    for title in ("limit", "spent", "reserved", "left"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("at cap", no_wrap=True)
    for row in rows:
        amounts = (row.limit_nanos, row.spent_nanos, row.reserved_nanos, row.left_nanos)
        table.add_row(escape(row.name), escape(row.covers), row.period, *map(dollars, amounts), row.at_cap)
    return table


def dollars(nanos: int) -> str:
    """Cents of what is a dollar or more, four digits of what is less: the JSON has them all."""
    sign, size = "-" if nanos < 0 else "", abs(nanos)
    if size >= 10**9 or size % 10**7 == 0:
        return f"{sign}{size / 10**9:,.2f}"
    return f"{sign}{size / 10**9:.4g}" if size >= 10**5 else f"{sign}{size / 10**9:.2e}"


def _warnings(row: Row) -> list[str]:
    found = []
    if row.level == "over" and row.at_cap == "alert":
        found.append(f"{row.name} is passed, and calls go on: its rule is to alert.")
    elif row.level == "over":
        rule = "refused" if row.at_cap == "refuse" else "sent to the sovereign target or refused"
        found.append(f"{row.name} is used up; cloud calls are {rule} until the next {row.period}.")
    elif row.level == "nearly":
        used = 100 * (row.spent_nanos + row.reserved_nanos) // row.limit_nanos
        found.append(f"{used} % of {row.name} is spent or set aside.")
    if row.unknown_count:
        found.append(
            f"{row.name} has {row.unknown_count:,} legs of unknown cost, which may have cost more than shown."
        )
    return found


def _next(rows: Sequence[Row], strange: Sequence[str], settings: Path) -> str:
    if strange:
        return f"restart ledger and routers, so that they read {settings}."
    if not rows:
        return f"add a section [budgets.NAME] with limit_usd to {settings}, and restart ledger and routers."
    if any(row.unknown_count for row in rows):
        return "`homeward ledger unknown` says which prices are missing."
    worst = next((row for level in ("over", "nearly") for row in rows if row.level == level), None)
    if worst is not None:
        return (
            f"raise [budgets.{worst.name}] limit_usd, or let `homeward inventory show` tell what spends it."
        )
    return "all is within its limits."
