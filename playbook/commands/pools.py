"""`homeward ledger pools`: what GPU pools cost, how far they were used, and what a million tokens cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.configured import configured
from playbook.shown import tell, tell_json, tell_next
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE, Name, Section
from services.ledger.config import PoolSettings
from services.ledger.core.pools import HourlyCost, hourly_cost, nanos_per_mtok

QUERY = Path(__file__).parents[1] / "queries" / "pools.sql"
NANOS = 1_000_000_000
US_PER_S = 1_000_000
CENT = 10_000_000
"""In nano-dollars."""


class _Config(Section):
    """What the command must know of the settings."""

    pools: dict[Name, PoolSettings] = {}


@dataclass(frozen=True, slots=True)
class Closed:
    """The closed periods of a pool in the window; amounts in nano-dollars, None is unknown."""

    periods: int
    first_time: datetime
    until_time: datetime
    seconds: int
    utilisation: float
    """Share of the time with at least one leg under way."""
    cost_nanos: int
    leg_cost_nanos: int
    idle_nanos: int
    legs: int
    unknown_legs: int
    """Whose tokens nobody counted: they bear nothing."""
    input_tokens: int
    output_tokens: int
    """Reasoning included."""
    nanos_per_mtok: int | None
    """A million tokens, at the measured utilisation."""
    input_nanos_per_mtok: int | None
    output_nanos_per_mtok: int | None
    nanos_per_mtok_with_idle: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """A pool."""

    name: str
    gpus: int | None
    """None if the settings no longer have it, as all that follow from them."""
    upstreams: Sequence[str]
    usd_per_hour: Mapping[str, float] | None
    """By part, and `total`."""
    closed: Closed | None
    """None if no period of the window is."""


def pools(
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to look back, today (UTC) included.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say what pools cost.")
    ] = DEFAULT_FILE,
) -> None:
    """Show what each GPU pool costs an hour, how far it was used, and what a million tokens cost.

    Used is the share of the time in which at least one leg was under way. What a million tokens cost is told
    twice: at the measured utilisation, which is what legs are booked at, and with idle, which is what the
    pool's whole cost is over them. Only periods that are closed count.

    --json has: days; pools (name, gpus, upstreams, usd_per_hour by part, closed: periods, first_time,
    until_time, seconds, utilisation, cost_nanos = leg_cost_nanos + idle_nanos, legs, unknown_legs,
    input_tokens, output_tokens, nanos_per_mtok, input_nanos_per_mtok, output_nanos_per_mtok,
    nanos_per_mtok_with_idle); next_step. Null is unknown.
    """
    known = configured(_Config, settings).pools
    try:
        with closing(reader(settings)) as client:
            found = client.query(QUERY.read_text(encoding="utf-8"), parameters={"days": days})
            closed = {item["pool"]: _closed(item) for item in found.named_results()}
    except UNREACHABLE as error:
        raise stopped(f"ClickHouse does not tell the periods: {first_line(error)}") from None
    rows = [_row(name, known.get(name), closed.get(name)) for name in sorted({*known, *closed})]
    if as_json:
        tell_json({"days": days, "pools": [asdict(row) for row in rows]}, _next(rows, days))
    else:
        _print(rows, days)


def _row(name: str, settings: PoolSettings | None, closed: Closed | None) -> Row:
    return Row(
        name=name,
        gpus=settings.gpus if settings else None,
        upstreams=settings.upstreams if settings else (),
        usd_per_hour=_parts(hourly_cost(settings)) if settings else None,
        closed=closed,
    )


def _parts(cost: HourlyCost) -> dict[str, float]:
    names = ("hardware", "power", "hosting", "people", "total")
    return {name: float(getattr(cost, name)) for name in names}


def _closed(found: Mapping[str, Any]) -> Closed:
    tokens = found["input"] + found["output"]
    return Closed(
        periods=found["periods"],
        first_time=found["first_time"],
        until_time=found["until_time"],
        seconds=found["seconds"],
        utilisation=found["busy_us"] / (found["seconds"] * US_PER_S),
        cost_nanos=found["cost"],
        leg_cost_nanos=found["leg_cost"],
        idle_nanos=found["idle"],
        legs=found["legs"],
        unknown_legs=found["unknown_legs"],
        input_tokens=found["input"],
        output_tokens=found["output"],
        nanos_per_mtok=nanos_per_mtok(found["leg_cost"], tokens),
        input_nanos_per_mtok=_average(found["input_rate_by_tokens"], found["input"]),
        output_nanos_per_mtok=_average(found["output_rate_by_tokens"], found["output"]),
        nanos_per_mtok_with_idle=nanos_per_mtok(found["cost"], tokens),
    )


def _average(sum_by_tokens: int, tokens: int) -> int | None:
    return round(Fraction(sum_by_tokens, tokens)) if tokens else None


def _print(rows: Sequence[Row], days: int) -> None:
    console = Console()
    if not rows:
        tell("The settings have no pool of GPUs, and no period of one is closed.\n")
    for row in rows:
        gpus = "" if not row.gpus else f": {row.gpus} GPU{'s' if row.gpus != 1 else ''}"
        of = f" of {', '.join(row.upstreams)}" if row.upstreams else " (no longer in the settings)"
        console.print(f"[bold]{escape(row.name)}[/bold]{gpus}{escape(of)}")
        console.print(_table(row))
        console.print()
    tell_next(_next(rows, days), gap=False)


def _table(row: Row) -> Table:
    table = Table.grid(padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    cost, closed = row.usd_per_hour, row.closed
    if cost is not None:
        parts = " + ".join(
            f"{name} {value:,.4f}" for name, value in cost.items() if value and name != "total"
        )
        table.add_row("an hour costs", f"${cost['total']:,.4f}" + (f" = {parts}" if parts else ""))
    if closed is None:
        table.add_row("closed", "no period yet")
        return table
    hours = closed.seconds / 3600
    table.add_row(
        "closed",
        f"{_many(closed.periods, 'period')}, {hours:,.2f} hours until {closed.until_time:%Y-%m-%d %H:%M} UTC",
    )
    table.add_row("used", f"{closed.utilisation:.1%} of the time")
    tokens = f"{closed.input_tokens:,} input and {closed.output_tokens:,} output tokens"
    table.add_row("served", f"{_many(closed.legs, 'leg')}, {tokens}")
    if closed.unknown_legs:
        table.add_row(
            "", f"tokens of {_many(closed.unknown_legs, 'leg')} were not counted: those bear nothing"
        )
    table.add_row(
        "a million tokens",
        f"{_dollars(closed.nanos_per_mtok)} as used"
        f" (input {_dollars(closed.input_nanos_per_mtok)}, output {_dollars(closed.output_nanos_per_mtok)})",
    )
    table.add_row("", f"{_dollars(closed.nanos_per_mtok_with_idle)} with idle")
    table.add_row(
        "cost",
        f"{_dollars(closed.cost_nanos)} = legs {_dollars(closed.leg_cost_nanos)}"
        f" + idle {_dollars(closed.idle_nanos)}",
    )
    return table


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _dollars(nanos: int | None) -> str:
    """Dollars with cents, or as many digits as a small amount needs."""
    if nanos is None:
        return "unknown"
    return f"${nanos / NANOS:,.2f}" if nanos >= 100 * CENT or not nanos else f"${nanos / NANOS:.6f}"


def _next(rows: Sequence[Row], days: int) -> str:
    if not rows:
        return "docs/settings.md shows a [pools.NAME] section."
    if all(row.closed is None for row in rows):
        return (
            "send a leg to one of its upstreams; its period is closed after its end. The last"
            f" {'day has' if days == 1 else f'{days} days have'} none."
        )
    if any(row.closed is not None and row.closed.unknown_legs for row in rows):
        return "`homeward ledger unknown` lists the legs whose tokens nobody counted."
    return "`homeward inventory show` says which workloads could use the idle hours."
