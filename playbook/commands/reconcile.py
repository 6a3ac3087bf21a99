"""`homeward ledger reconcile`: the book beside a provider's bill, and what explains the difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Literal

import typer
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.configured import configured
from playbook.inventory.amounts import dollars, percent
from playbook.inventory.line_items import CACHE_WRITE, CACHED_INPUT, INPUT, OUTPUT, REQUEST
from playbook.inventory.rows import BadRow
from playbook.inventory.sniff import UnknownFormatError, open_export
from playbook.reconcile.bill import Bill
from playbook.reconcile.cells import BookRow, Cell, ListRates, compare
from playbook.reconcile.explain import CLASSES, Explained, added
from playbook.reconcile.words import (
    NAMES,
    billed_rates,
    day,
    exact,
    next_step,
    notes,
    signed,
    told,
)
from playbook.shown import table_or_records, tell_json, tell_next
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE, Section
from services.ledger.adapters.prices import PriceList
from services.ledger.config import PriceSettings
from services.ledger.core.pricing import TOKENS_PER_RATE

QUERY = Path(__file__).parents[1] / "queries" / "reconcile_book.sql"
By = Literal["day", "model", "day-model"]
GIVE_COSTS = "give a costs export of the provider; docs/imports.md says how to get one."


class _Config(Section):
    """What the command must know of the settings."""

    prices: list[PriceSettings] = []


def reconcile(
    invoice: Annotated[
        Path, typer.Argument(metavar="INVOICE", help="A costs export: OpenAI, Anthropic or FOCUS.")
    ],
    by: Annotated[By, typer.Option(help="What a line of the table is.")] = "day-model",
    tolerance: Annotated[
        str, typer.Option(metavar="PERCENT", help="Residual that is let pass, as a share of the bill.")
    ] = "1",
    provider: Annotated[
        str, typer.Option(help="The book's name of the provider, if the export has another.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="Lines of the table at most; --json has all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where the book is.")
    ] = DEFAULT_FILE,
) -> None:
    """Compare a provider's bill with the book, and say what explains the difference. Ends with code 1 if
    more than --tolerance of the bill stays unexplained.

    The book is legs of production in the cloud at their present cost. What explains: unbooked (tokens beyond
    the booked ones, at the book's rate; negative if booked ones were not billed), price (the same tokens at
    another rate), class (the same tokens in another class, such as cached), no price (legs whose price the
    book does not know, at the rate of the others), experiments (shadow, noise, judge and probe legs), other
    charges (lines for no text tokens). They and the residual add up to the difference to the nano-dollar.

    --json has: book_nanos, bill_nanos, difference_nanos, parts (nano-dollars by name), residual_nanos;
    residual_size_nanos, without the signs of the lines; within_tolerance; notes; next_step; lines (provider,
    first, last, model, the same figures, undivided, and of each class: booked_tokens, unpriced_tokens,
    billed_quantity, billed_nanos, book_rate and bill_rate in nano-dollars per million; null is unknown).
    """
    allowed = _percent(tolerance)
    config = configured(_Config, settings)
    bill, bad = _read(invoice, provider)
    with closing(reader(settings)) as client:
        try:
            book = _book(client, bill)
        except UNREACHABLE as error:
            raise stopped(f"ClickHouse does not tell the book: {first_line(error)}") from None
    cells = compare(bill, book, _list_rates(PriceList(config.prices)))
    whole = added(cell.explained for cell in cells)
    within = whole.residual_size_nanos <= allowed * abs(whole.bill_nanos)
    remarks = notes(cells, sorted(bill.foreign.items()), bill.without_amount)
    if bad:
        remarks.append(f"{bad:,} rows could not be read and are left out.")
    step = next_step(cells, whole, within)
    if as_json:
        document: dict[str, Any] = {
            **_figures(whole),
            "residual_size_nanos": whole.residual_size_nanos,
            "within_tolerance": within,
            "notes": remarks,
            "lines": [_line(cell) for cell in cells],
        }
        tell_json(document, step)
    else:
        _print(cells, whole, by, limit, remarks)
        tell_next(step)
    if not within:
        raise typer.Exit(1)


def grouped(cells: Iterable[Cell], by: By) -> list[tuple[str, str, Explained]]:
    """Day, model and explanation of each line, the worst first. What a line adds up over is empty."""
    found: dict[tuple[str, str], list[Explained]] = {}
    for cell in cells:
        key = ("" if by == "model" else day(cell), "" if by == "day" else cell.model)
        found.setdefault(key, []).append(cell.explained)
    lines = [(*key, added(items)) for key, items in found.items()]
    return sorted(
        lines,
        key=lambda line: (-abs(line[2].difference_nanos), -line[2].residual_size_nanos, line[0], line[1]),
    )


def _percent(text: str) -> Fraction:
    try:
        value = Decimal(text.strip().removesuffix("%").strip())
    except InvalidOperation:
        raise typer.BadParameter(f"--tolerance: expected percent, got {text!r}") from None
    if not 0 <= value <= 100:
        raise typer.BadParameter(f"--tolerance: expected 0 to 100 percent, got {text!r}")
    return Fraction(value) / 100


def _read(invoice: Path, provider: str) -> tuple[Bill, int]:
    """The bill, and how many of its rows could not be read."""
    bill, bad, usage = Bill(), 0, 0
    try:
        export = open_export(invoice)
        for row in export.rows():
            if isinstance(row, BadRow):
                bad += 1
            elif row.kind == "cost":
                bill.add(row, provider)
            else:
                usage += 1
    except UnknownFormatError as error:
        raise stopped(str(error), GIVE_COSTS) from None
    except OSError as error:
        raise stopped(f"{invoice} can't be read: {error.strerror or error}", GIVE_COSTS) from None
    # Half a bill would be explained as well as a whole one: what it lacks was "booked and not billed".
    if export.reading.problem:
        raise stopped(f"{invoice} is not whole: {export.reading.problem}", GIVE_COSTS)
    if usage and not bill.lines:
        raise stopped(
            f"{invoice} says what was used, not what was billed ({export.format})",
            f"give the provider's costs export, or `homeward inventory import {invoice}`.",
        )
    if not bill.lines:
        raise stopped(f"{invoice} has no amount in dollars ({export.format})", GIVE_COSTS)
    return bill, bad


def _book(client: Client, bill: Bill) -> list[BookRow]:
    given = {
        "providers": bill.providers,
        "first": min(place.time[0] for place in bill.amounts),
        "last": max(place.time[1] for place in bill.amounts),
    }
    rows = client.query(QUERY.read_text(encoding="utf-8"), parameters=given).named_results()
    return [_book_row(row) for row in rows]


def _book_row(row: Mapping[str, Any]) -> BookRow:
    counted = (INPUT, CACHED_INPUT, CACHE_WRITE, OUTPUT)
    return BookRow(
        provider=row["provider"],
        day=row["day"],
        model=row["model"],
        production=bool(row["production"]),
        unpriced=bool(row["unpriced"]),
        legs=row["legs"],
        billable=row["billable"],
        tokens={name: row[name] for name in counted},
        uncounted=row["uncounted"],
        nanos=row["nanos"],
        parts_nanos={name: row[f"{name}_nanos"] for name in CLASSES},
    )


def _list_rates(prices: PriceList) -> ListRates:
    def rates(provider: str, model: str, on: date) -> Mapping[str, Fraction]:
        found = prices.rates(provider, model, datetime(on.year, on.month, on.day, tzinfo=UTC))
        if found is None:
            return {}
        by_class = {
            INPUT: found.input,
            CACHED_INPUT: found.cached_input,
            CACHE_WRITE: found.cache_write,
            OUTPUT: found.output,
        }
        known = {
            name: Fraction(rate.base, TOKENS_PER_RATE) for name, rate in by_class.items() if rate is not None
        }
        return {**known, REQUEST: Fraction(found.per_request)} if found.per_request else known

    return rates


def _figures(item: Explained) -> dict[str, Any]:
    return {
        "book_nanos": item.book_nanos,
        "bill_nanos": item.bill_nanos,
        "difference_nanos": item.difference_nanos,
        "parts": {name: getattr(item.parts, name) for name in NAMES},
        "residual_nanos": item.residual_nanos,
    }


def _line(cell: Cell) -> dict[str, Any]:
    billed = billed_rates(cell)

    def per_mtok(rate: Fraction | None) -> float | None:
        return None if rate is None else float(rate * TOKENS_PER_RATE)

    classes = {}
    for name in CLASSES:
        item = cell.billed.get(name)
        counts = cell.booked.tokens.get(name, 0), cell.booked.unpriced_tokens.get(name, 0)
        if item is None and not any(counts):
            continue
        quantity = item.quantity if item else Fraction(0)
        classes[name] = {
            "booked_tokens": counts[0],
            "unpriced_tokens": counts[1],
            "billed_quantity": None if quantity is None else float(quantity),
            "billed_nanos": item.nanos if item else 0,
            "book_rate": per_mtok(cell.rates.get(name)),
            "bill_rate": per_mtok(billed.get(name)),
        }
    return {
        "provider": cell.provider,
        "first": cell.time[0].isoformat(),
        "last": cell.time[1].isoformat(),
        "model": cell.model,
        **_figures(cell.explained),
        "undivided": cell.explained.undivided,
        "classes": classes,
    }


def _print(cells: Sequence[Cell], whole: Explained, by: By, limit: int, remarks: Sequence[str]) -> None:
    console = Console(highlight=False)
    lines = grouped(cells, by)
    console.print(table_or_records(_table(lines[:limit], by), console.width))
    if len(lines) > limit:
        console.print(f"… and {len(lines) - limit} more; --limit {len(lines)} shows them.")
    console.print()
    console.print(_sum(whole))
    size = whole.residual_size_nanos / abs(whole.bill_nanos) if whole.bill_nanos else 0.0
    if whole.residual_size_nanos:
        text = f"The residual of the lines, whatever its sign, is {exact(whole.residual_size_nanos)}"
        remarks = [f"{text}, {percent(size)} of the bill.", *remarks]
    for remark in remarks:
        console.print(fill(f"- {remark}", console.width - 1, subsequent_indent="  "), markup=False)


def _table(lines: Sequence[tuple[str, str, Explained]], by: By) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("day", "model"):
        if title in by:
            table.add_column(title, overflow="fold", no_wrap=title == "day")
    for title in ("book", "bill", "difference"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("explained by", overflow="fold", ratio=1)
    table.add_column("residual", justify="right", no_wrap=True)
    for on, model, item in lines:
        names = [text for title, text in (("day", on), ("model", model)) if title in by]
        table.add_row(
            *map(escape, names),
            dollars(item.book_nanos),
            dollars(item.bill_nanos),
            signed(item.difference_nanos),
            told(item),
            signed(item.residual_nanos),
        )
    return table


def _sum(whole: Explained) -> Table:
    """From the book to the bill, to the nano-dollar."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("book", exact(whole.book_nanos))
    for name, title in NAMES.items():
        amount = getattr(whole.parts, name)
        if amount:
            table.add_row(f"  {title}", exact(amount))
    table.add_row("  residual", exact(whole.residual_nanos))
    table.add_row("bill", exact(whole.bill_nanos))
    return table
