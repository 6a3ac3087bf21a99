"""What a bill says, added up as it is read: by provider, time, model and class, however many lines it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from fractions import Fraction
from itertools import groupby

from playbook.inventory.line_items import OTHER, OUTPUT, model_and_class, tokens
from playbook.inventory.rows import UsageRow

CURRENCY = "USD"
_AS_OUTPUT = {"reasoning": OUTPUT}
Time = tuple[date, date]
"""First and last day, UTC."""


@dataclass(frozen=True, slots=True)
class Place:
    """What lines have in common that are added up."""

    provider: str
    time: Time
    model: str
    """As billed; empty if the line names none."""
    token_class: str
    """Empty if the line does not say."""
    line_item: str
    """Only of lines without a model."""


@dataclass(slots=True)
class Amount:
    """What was billed at a place."""

    nanos: int = 0
    quantity: Fraction | None = Fraction(0)
    """None if some line does not say."""


@dataclass(slots=True)
class Bill:
    """The sums of a bill, and what is in none of them."""

    amounts: dict[Place, Amount] = field(default_factory=dict)
    lines: int = 0
    foreign: dict[str, int] = field(default_factory=dict)
    """Lines in other currencies than dollars, by currency."""
    without_amount: int = 0

    def add(self, row: UsageRow, provider: str = "") -> None:
        """Adds a row of cost.

        Args:
            row: the row.
            provider: whose book it belongs to, if the export calls it otherwise.
        """
        if row.billed_nanos is None:
            self.without_amount += 1
            return
        if row.currency not in ("", CURRENCY):
            self.foreign[row.currency] = self.foreign.get(row.currency, 0) + 1
            return
        self.lines += 1
        model, token_class = _paid_for(row)
        place = Place(
            provider or row.provider,
            _time(row),
            model,
            token_class,
            "" if model else row.line_item,
        )
        amount = self.amounts.setdefault(place, Amount())
        amount.nanos += row.billed_nanos
        counted = tokens(row.quantity, row.quantity_unit, token_class)
        if counted is None and row.billed_nanos:
            amount.quantity = None
        elif amount.quantity is not None:
            amount.quantity += counted or 0

    @property
    def providers(self) -> list[str]:
        """Whose bill it is."""
        return sorted({place.provider for place in self.amounts})


def times(spans: Iterable[Time]) -> list[Time]:
    """Spans joined where they overlap, ascending. Days of a daily bill stay days."""
    found: list[Time] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def days_between(known: Iterable[Time]) -> list[Time]:
    """The times, and each day between them as one of its own: what was booked then was not billed."""
    found: list[Time] = []
    for first, last in sorted(known):
        if found:
            gap = (first - found[-1][1]).days
            found += [(day, day) for day in (found[-1][1] + timedelta(days=past) for past in range(1, gap))]
        found.append((first, last))
    return found


def no_models(bill: Bill) -> set[str]:
    """Providers whose bill has lines that name nothing: only the sums of days can be compared."""
    places = sorted(bill.amounts, key=lambda place: place.provider)
    return {
        provider
        for provider, some in groupby(places, key=lambda place: place.provider)
        if any(not place.model and not place.line_item for place in some)
    }


def _paid_for(row: UsageRow) -> tuple[str, str]:
    """Model and class of a row; what the line item says goes before what the export's columns say."""
    model, token_class = model_and_class(row.line_item)
    if model:
        return model, token_class
    if row.token_class:
        return row.model.lower(), _AS_OUTPUT.get(row.token_class, row.token_class)
    if row.model:
        return row.model.lower(), ""
    return "", OTHER if row.line_item else ""


def _time(row: UsageRow) -> Time:
    first = row.start_time.astimezone(UTC)
    last = row.end_time.astimezone(UTC)
    if last > first:
        last -= timedelta(microseconds=1)
    return first.date(), last.date()
