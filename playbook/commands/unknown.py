"""`homeward ledger unknown`: the legs whose cost nobody knows, and what would find it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.configured import configured
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE, Name, Section
from services.ledger.adapters.prices import PriceList, utc
from services.ledger.config import PoolSettings, PriceSettings

QUERY = Path(__file__).parents[1] / "queries" / "unknown.sql"

WHY = {
    "no_price": "no price",
    "price_added": "priced now",
    "no_tokens": "no counts",
    "pending": "their period is not closed",
}


class _Config(Section):
    """What the command must know of the settings."""

    prices: list[PriceSettings] = []
    pools: dict[Name, PoolSettings] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """Legs whose cost is unknown for the same reason."""

    provider: str
    model: str
    target: str
    pool: str
    """Empty if they ran on none."""
    why: str
    """`no_price`; `price_added` if today's price list has one; `no_tokens` if nobody counted; `pending` if
    their pool's period is not closed yet."""
    legs: int
    tokens: int | None
    """Of all classes; None if nobody counted."""
    first_day: date
    last_day: date
    upstreams: Sequence[str]


def unknown(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """List the legs whose cost nobody knows, and what would find it.

    A leg without a price gets one when the settings have it and `homeward ledger reprice` was run. A leg
    whose server did not say how many tokens it used stays unknown: no price can tell. Legs at home get their
    cost when their pool's period is closed.

    --json has: unknown (provider, model, target, pool, why, legs, tokens, first_day, last_day, upstreams);
    next_step.
    """
    config = configured(_Config, settings)
    prices = PriceList(config.prices)
    try:
        with closing(reader(settings)) as client:
            found = client.query(QUERY.read_text(encoding="utf-8"))
            rows = [_row(item, prices) for item in found.named_results()]
    except UNREACHABLE as error:
        raise stopped(f"ClickHouse does not tell the legs: {first_line(error)}") from None
    if as_json:
        tell_json({"unknown": [asdict(row) for row in rows]}, _next(rows))
    else:
        _print(rows, set(config.pools))


def _row(found: dict[str, Any], prices: PriceList) -> Row:
    why = found["why"]
    if why == "no_price" and prices.rates(found["provider"], found["model"], utc(found["last_start_s"])):
        why = "price_added"
    return Row(
        provider=found["provider"],
        model=found["model"],
        target=found["target"],
        pool=found["pool"],
        why=why,
        legs=found["legs"],
        tokens=None if why == "no_tokens" else found["tokens"],
        first_day=found["first_day"],
        last_day=found["last_day"],
        upstreams=sorted(found["upstreams"]),
    )


def price_section(provider: str, model: str) -> str:
    """The section of homeward.toml that gives a model a price, but for the figures.

    A question mark is no figure, so that nobody books at a price of zero by forgetting it.
    """
    # JSON's texts are TOML's basic strings.
    return (
        f"[[prices]]\nprovider = {json.dumps(provider)}\nmodel = {json.dumps(model)}\n"
        "input_usd_per_mtok = ?\noutput_usd_per_mtok = ?"
    )


def _print(rows: Sequence[Row], pools: Set[str]) -> None:
    console = Console()
    stuck = [row for row in rows if row.why != "pending"]
    pending = [row for row in rows if row.why == "pending"]
    if stuck:
        console.print(table_or_records(_table("Legs whose cost nobody knows", stuck), console.width))
    else:
        console.print("The cost of every leg is known, or on its way.")
    if pending:
        console.print()
        title = "Legs at home that wait for their pool's period to be closed"
        console.print(table_or_records(_table(title, pending), console.width))
        gone = sorted({row.pool for row in pending} - pools)
        if gone:
            tell(f"{', '.join(gone)}: no longer in the settings, so no period of it is closed.")
    missing = [row for row in rows if row.why == "no_price"]
    for section in dict.fromkeys(price_section(row.provider, row.model) for row in missing):
        typer.echo(f"\n{section}")
    _tell_pools(missing)
    tell_next(_next(rows))


def _next(rows: Sequence[Row]) -> str:
    reasons = {row.why for row in rows}
    if "no_price" in reasons:
        return (
            "put the price of each model into homeward.toml, dollars per million tokens for each `?`, restart"
            " the ledger, and run `homeward ledger reprice`."
        )
    if "price_added" in reasons:
        return "`homeward ledger reprice` shows what they cost at the prices of now."
    if reasons - {"pending"}:
        return (
            "nothing finds these. See that the servers report usage; for OpenAI's streams the router asks for"
            " it itself."
        )
    if reasons:
        return "a period closes `settle_s` after its end; `homeward ledger pools` shows those that are."
    return "`homeward ledger verify` proves that the book is whole."


def _tell_pools(missing: Iterable[Row]) -> None:
    """Says that a pool would know it, where legs ran at home."""
    at_home = sorted({name for row in missing if row.target == "sovereign" for name in row.upstreams})
    if at_home:
        tell(
            f"\n{', '.join(at_home)} runs at home: a [pools.NAME] with `upstreams` gives the legs to come the"
            " cost of its GPUs (docs/settings.md)."
        )


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for name in ("provider", "model", "why", "legs", "tokens", "first day", "last day"):
        number = name in ("legs", "tokens")
        folds = name in ("provider", "model", "why")
        table.add_column(name, justify="right" if number else "left", no_wrap=not folds, overflow="fold")
    for row in rows:
        table.add_row(
            escape(row.provider) or "–",
            escape(row.model) or "–",
            escape(row.pool) if row.why == "pending" else WHY[row.why],
            f"{row.legs:,}",
            "unknown" if row.tokens is None else f"{row.tokens:,}",
            str(row.first_day),
            str(row.last_day),
        )
    if rows and rows[0].why == "pending":
        table.columns[2].header = "pool"
    return table
