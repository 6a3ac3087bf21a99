"""Puts a bill beside the book: a cell for each provider, time and model.

A time is a day, or what a line of the bill is for if that is longer; lines whose times overlap share one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

from playbook.inventory.line_items import OTHER, REQUEST, booked_as
from playbook.reconcile.bill import Bill, Time, days_between, no_models, times
from playbook.reconcile.explain import CLASSES, Billed, Booked, Explained, explain, rate

ALL_MODELS = "(all models)"
ListRates = Callable[[str, str, date], Mapping[str, Fraction]]
"""Nano-dollars a token by class, of a provider's model on a day."""


@dataclass(frozen=True, slots=True)
class BookRow:
    """A row of `reconcile_book.sql`."""

    provider: str
    day: date
    model: str
    production: bool
    unpriced: bool
    legs: int
    billable: int
    """Legs that a model answered."""
    tokens: Mapping[str, int]
    """By class, reasoning as output."""
    uncounted: int
    """Legs whose tokens nobody knows."""
    nanos: int
    parts_nanos: Mapping[str, int]
    """By class; less than `nanos` where legs were booked before costs had parts."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A model in a time, on both sides."""

    provider: str
    time: Time
    model: str
    explained: Explained
    billed: Mapping[str, Billed]
    booked: Booked
    rates: Mapping[str, Fraction]
    """The book's, in nano-dollars a token, of the classes that either side has."""
    uncounted: int


@dataclass(slots=True)
class _Sums:
    billed: dict[str, Billed] = field(default_factory=dict)
    other_charges: int = 0
    unclassed: int = 0
    rows: list[BookRow] = field(default_factory=list)


def compare(bill: Bill, book: Iterable[BookRow], list_rates: ListRates) -> list[Cell]:
    """The cells of all that was billed, and of all that was booked in its time."""
    book = list(book)
    whole = no_models(bill)
    known = {
        provider: days_between(times(place.time for place in bill.amounts if place.provider == provider))
        for provider in bill.providers
    }
    booked = {
        provider: {row.model for row in book if row.provider == provider} for provider in bill.providers
    }
    sums: dict[tuple[str, Time, str], _Sums] = {}

    def at(provider: str, first: date, model: str) -> _Sums | None:
        time = _find(known.get(provider, []), first)
        return None if time is None else sums.setdefault((provider, time, model), _Sums())

    for place, amount in bill.amounts.items():
        name = booked_as(place.model, booked[place.provider]) if place.model else place.line_item
        cell = at(place.provider, place.time[0], ALL_MODELS if place.provider in whole else name)
        assert cell is not None  # the times are those of the places
        if place.token_class == OTHER:
            cell.other_charges += amount.nanos
        elif not place.token_class or place.provider in whole:
            cell.unclassed += amount.nanos
        else:
            before = cell.billed.get(place.token_class, Billed(0, Fraction(0)))
            counted = None if None in (before.quantity, amount.quantity) else 0
            cell.billed[place.token_class] = Billed(
                before.nanos + amount.nanos,
                None if counted is None else (before.quantity or Fraction(0)) + (amount.quantity or 0),
            )
    for row in book:
        name = ALL_MODELS if row.provider in whole else booked_as(row.model, booked[row.provider])
        cell = at(row.provider, row.day, name)
        if cell is not None:
            cell.rows.append(row)
    return [_cell(key, found, list_rates) for key, found in sorted(sums.items())]


def booked_of(rows: Iterable[BookRow], list_rates: Mapping[str, Fraction]) -> Booked:
    """What the rows of a cell have together."""
    rows = list(rows)
    priced = [row for row in rows if not row.unpriced]
    unpriced = [row for row in rows if row.unpriced]
    nanos: dict[str, Fraction] = {}
    for row in priced:
        for name, amount in _by_class(row, list_rates).items():
            nanos[name] = nanos.get(name, Fraction(0)) + amount
    counts = _tokens(priced)
    if nanos.get(REQUEST):
        counts[REQUEST] = sum(row.billable for row in priced)
    return Booked(
        production_nanos=sum(row.nanos for row in priced if row.production),
        other_nanos=sum(row.nanos for row in priced if not row.production),
        nanos=nanos,
        tokens=counts,
        legs=sum(row.legs for row in priced),
        unpriced_tokens=_tokens(unpriced),
        unpriced_legs=sum(row.legs for row in unpriced),
    )


def _cell(key: tuple[str, Time, str], sums: _Sums, list_rates: ListRates) -> Cell:
    provider, time, model = key
    listed = list_rates(provider, model, time[0])
    booked = booked_of(sums.rows, listed)
    rates = {name: found for name in CLASSES if (found := rate(name, booked, listed)) is not None}
    return Cell(
        provider=provider,
        time=time,
        model=model,
        explained=explain(
            sums.billed, booked, listed, other_charges=sums.other_charges, unclassed=sums.unclassed
        ),
        billed=dict(sums.billed),
        booked=booked,
        rates={
            name: found
            for name, found in rates.items()
            if name in sums.billed or booked.tokens.get(name) or booked.unpriced_tokens.get(name)
        },
        uncounted=sum(row.uncounted for row in sums.rows if row.unpriced),
    )


def _tokens(rows: Iterable[BookRow]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        for name, amount in row.tokens.items():
            if amount:
                found[name] = found.get(name, 0) + amount
    return found


def _by_class(row: BookRow, list_rates: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """A row's cost by class. What has no parts is spread by list price, or without one by tokens."""
    found = {name: Fraction(amount) for name, amount in row.parts_nanos.items() if amount}
    rest = row.nanos - sum(row.parts_nanos.values())
    if rest:
        weights = {name: count * list_rates.get(name, Fraction(0)) for name, count in row.tokens.items()}
        if not sum(weights.values()):
            weights = {name: Fraction(count) for name, count in row.tokens.items()}
        whole = sum(weights.values(), Fraction(0))
        if not whole:
            weights, whole = {REQUEST: Fraction(1)}, Fraction(1)
        for name, weight in weights.items():
            found[name] = found.get(name, Fraction(0)) + rest * weight / whole
    return found


def _find(known: list[Time], day: date) -> Time | None:
    place = bisect_right(known, (day, date.max)) - 1
    return known[place] if place >= 0 and known[place][1] >= day else None
