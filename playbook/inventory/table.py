"""The inventory as a table for a terminal of 80 columns, and the remarks that the table can't make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.markup import escape
from rich.table import Table

from playbook.inventory.amounts import between, count, dollars, percent
from playbook.inventory.lines import Inventory, Line
from playbook.inventory.ranking import Candidate
from playbook.inventory.spend import Bill, Spend, Workload

FEW = "●"
"""Marks those that hold 70 % of the spend."""
WIDE = 96
"""Columns of a window that has room for the requests."""
CENT_NANOS = 10_000_000
_COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("#", "right"),
    ("workload", "left"),
    ("kind", "left"),
    ("month", "right"),
    ("up to", "right"),
    ("requests", "right"),
    ("quality", "left"),
    ("move", "left"),
    ("saves", "right"),
)
SHOWN_PLACES = 12
"""Of workloads that share a reason."""


def table(lines: Sequence[Line], width: int = WIDE) -> Table:
    """The lines, in the order given; in a narrow window without the requests."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title, justify in _COLUMNS:
        if title == "requests" and width < WIDE:
            continue
        made.add_column(title, justify=justify, no_wrap=title != "workload", overflow="fold")
    for line in lines:
        item = line.workload
        cells = {
            "#": str(line.place),
            "workload": escape(plain(item.name)),
            "kind": item.kind,
            "month": _month(item),
            "up to": _up_to(line),
            "requests": count(item.month_requests),
            "quality": line.sensitivity.name.lower() if line.sensitivity else "unknown",
            "move": line.verdict.candidate.value,
            "saves": between(line.saving.saving.low, line.saving.saving.high) if line.saving else "unknown",
        }
        made.add_row(*(cells[str(column.header)] for column in made.columns))
    return made


def _month(item: Workload) -> str:
    nanos = item.month_nanos
    if nanos and abs(nanos) < CENT_NANOS:
        return "<$0.01" if nanos > 0 else ">-$0.01"
    rough, more = item.extrapolated and nanos, item.unpriced_rows and nanos is not None
    return f"{'~' if rough else ''}{dollars(nanos)}{'+' if more else ''}"


def _up_to(line: Line) -> str:
    if line.cumulative is None:
        return "–"
    return f"{percent(float(line.cumulative))} {FEW if line.of_the_few else ' '}"


def headline(found: Inventory) -> str:
    """What the whole says, in two sentences."""
    few = found.few
    if not few:
        return "Nothing of what is imported or booked has a price."
    yes, maybe = found.saving(Candidate.YES), found.saving(Candidate.MAYBE)
    ready, unsure = found.candidates(Candidate.YES), found.candidates(Candidate.MAYBE)
    held = f"{FEW} {len(few)} of {_many(len(found.lines) + found.spend.rest.groups, 'workload')}"
    told = [
        f"{dollars(found.spend.month_nanos)} a month in the cloud;"
        f" {held} hold{'s' if len(few) == 1 else ''} {percent(float(few[-1].cumulative or 0))} of it."
    ]
    if ready:
        told.append(
            f"{_many(len(ready), 'candidate')} to move would save {between(yes.low, yes.high)} a month."
        )
    if unsure:
        more = f" {between(maybe.low, maybe.high)}" if any(line.saving for line in unsure) else ""
        told.append(f"{len(unsure)} may be one{', for' if more else ''}{more}; see what is missing below.")
    return " ".join(told)


def reasons(found: Inventory) -> list[str]:
    """Why the others are no candidates, or not yet: workloads of the same reasons together."""
    together: dict[tuple[Candidate, tuple[str, ...]], list[int]] = {}
    for line in found.lines:
        if line.verdict.findings:
            candidate = line.verdict.candidate
            told = tuple(item.reason for item in line.verdict.findings if item.candidate is candidate)
            together.setdefault((candidate, told), []).append(line.place)
    return [
        f"{candidate.value} ({_places(places)}): {'; '.join(told)}."
        for (candidate, told), places in sorted(together.items(), key=lambda item: item[1][0])
    ]


def remarks(found: Inventory) -> list[str]:
    """What one must know to believe the figures."""
    spend = found.spend
    told = list(filter(None, (_months(spend), _began_late(found))))
    if spend.unpriced_tokens or any(item.unpriced_rows for item in spend.workloads):
        told.append(_unpriced(spend))
    foreign = sorted({word for item in spend.workloads for word in item.currencies})
    if foreign:
        told.append(f"Bills in {', '.join(foreign)} count as unknown: only dollars are added up.")
    silent = [item for item in spend.workloads if item.unknown_requests]
    if silent:
        told.append(
            f"{_many(len(silent), 'workload')} {_has(silent)} rows that do not say of how many requests."
        )
    if spend.rest.groups:
        told.append(
            f"{spend.rest.groups:,} smaller ones are summed: {dollars(spend.rest.month_nanos)} a month,"
            f" {count(spend.rest.tokens)} tokens."
        )
    for provider, days in spend.left_out_legs.items():
        told.append(
            f"{provider or 'No provider'}: legs that the router booked on {_many(days, 'day')} do not count,"
            " because imports cover those days."
        )
    for provider, days in spend.left_out_costs.items():
        told.append(
            f"{provider or 'No provider'}: bills of {_many(days, 'day')} do not count, because the tokens of"
            " those days are imported."
        )
    told += map(_bill, spend.bills)
    if any(item.month_nanos is not None and item.month_nanos < 0 for item in spend.workloads):
        told.append("Credits have no share.")
    names = {line.saving.basis for line in found.lines if line.saving}
    if names:
        told.append(f"What a home costs: {found.basis.source}.")
    if found.basis.name != "published" and "published" in names:
        told.append(
            "Where no tokens are known, the saving rests on published comparisons of both costs alone."
        )
    return told


def plain(text: str, most: int = 60) -> str:
    """Text of others on one line, without control characters, which a terminal would obey."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _months(spend: Spend) -> str:
    windows = "; ".join(
        f"{item.provider or 'no provider'} {item.first} to {item.last}"
        f" ({'~, ' if item.extrapolated else ''}{_many(item.days, 'day')})"
        for item in spend.windows
    )
    rough = any(item.extrapolated for item in spend.windows)
    told = f"A month is 30.44 days of the window, in UTC: {windows}."
    return f"{told} A ~ is made of less than four weeks." if rough else told


def _began_late(found: Inventory) -> str:
    """Names those whose month is less than what they cost now, because the window began long before them."""
    last = {item.provider: item for item in found.spend.windows}
    late = [
        line
        for line in found.lines
        for provider in line.workload.providers[:1]
        if line.workload.first_day
        and (line.workload.first_day - last[provider].first) * 2 > last[provider].last - last[provider].first
    ]
    if not late:
        return ""
    since = max(line.workload.first_day for line in late if line.workload.first_day)
    return (
        f"{_places([line.place for line in late])} began in the second half of the window, so that a month of"
        f" all of it is less than they cost now; --since {since} leaves out what was before."
    )


def _unpriced(spend: Spend) -> str:
    share = spend.unpriced_tokens / spend.tokens if spend.tokens else 0.0
    some = any(item.unpriced_rows and item.month_nanos is not None for item in spend.workloads)
    return (
        f"{percent(share)} of all tokens ({count(spend.unpriced_tokens)}) have no price, and are in no sum:"
        f" add it to [[prices]] and import again.{' A + has some of them.' if some else ''}"
    )


def _bill(bill: Bill) -> str:
    told = (
        f"{bill.provider}: on the {_many(bill.days, 'day')} of which both are imported, tokens cost"
        f" {dollars(bill.list_nanos)} by list and were billed {dollars(bill.billed_nanos)}"
    )
    if bill.unpriced_rows:
        rows = f"{_many(bill.unpriced_rows, 'row')} of them {'has' if bill.unpriced_rows == 1 else 'have'}"
        told += f" ({rows} no list price, so that the list is too little)"
    elif bill.list_nanos and bill.billed_nanos is not None:
        told += f" ({100 * (bill.billed_nanos / bill.list_nanos - 1):+.1f} %)"
    return f"{told}; `homeward ledger reconcile INVOICE` explains a bill."


def _places(places: Sequence[int]) -> str:
    shown = ", ".join(f"#{place}" for place in places[:SHOWN_PLACES])
    more = len(places) - SHOWN_PLACES
    return shown + (f" and {more} more" if more > 0 else "")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _has(items: Sequence[object]) -> str:
    return "has" if len(items) == 1 else "have"
