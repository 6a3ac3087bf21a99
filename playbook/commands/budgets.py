"""`homeward ledger budgets`: what is spent and set aside of each budget."""

from __future__ import annotations

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

from playbook.configured import Places, configured
from playbook.refused import refused
from playbook.shown import table_or_records, tell, tell_json, tell_next
from services.common.settings import DEFAULT_FILE, Budget, Name

TIMEOUT_S = 10.0
"""Longest wait for the ledger."""
NEARLY = 80
"""Percent of a limit, spent and set aside together, above which there is a warning."""


class _Config(Places):
    """What the command must know of the settings."""

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
    left_nanos, unknown_count, at_cap, level); next_step.
    """
    config = configured(_Config, settings)
    rows = [_row(item, config.budgets.get(item.name)) for item in _ask(config.ledger.grpc, settings)]
    # Of either side: the ledger runs with the settings that it was started with.
    strange = sorted(set(config.budgets) ^ {row.name for row in rows})
    step = _next(rows, strange, settings)
    if as_json:
        tell_json({"budgets": [asdict(row) for row in rows]}, step)
    else:
        _print(rows, strange, settings)
        tell_next(step)


def _ask(address: str, settings: Path) -> Sequence[ledger_pb2.Budget]:
    with grpc.insecure_channel(address) as channel:
        try:
            answer = ledger_pb2_grpc.LedgerServiceStub(channel).ListBudgets(
                ledger_pb2.ListBudgetsRequest(), timeout=TIMEOUT_S
            )
        except grpc.RpcError as error:
            raise refused(error, "ledger", address, settings, "ask it again.") from None
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


def _print(rows: Sequence[Row], strange: Sequence[str], settings: Path) -> None:
    console = Console()
    if not rows:
        console.print("There are no budgets.")
    else:
        console.print(table_or_records(_table(rows), console.width))
    for row in rows:
        for warning in _warnings(row):
            tell(f"\nwarning: {warning}")
    if strange:
        tell(f"\nwarning: the ledger runs with other settings than {settings}: {', '.join(strange)}")


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
