"""Corrections of the book: what legs are to cost, less what they cost in the book so far.

Nothing in the book is ever edited. A correction is a row and an entry of differences, so that a leg's cost is
its own and those of all its corrections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from services.common.words import Target, label
from services.ledger.core import book, booking
from services.ledger.core.booking import Flags, Holding, Ints, LookUp, Priced, Words
from services.ledger.core.budgets import Spent
from services.ledger.core.pools import PoolRates
from services.ledger.core.pricing import Rates

CLOUD = label(Target.CLOUD)
DAY_S = 86_400
US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Scope:
    """Which legs are looked at."""

    start_us: int
    """When the first may have begun, in microseconds since 1970."""
    end_us: int
    """The first time that is no longer meant."""
    pool: str = ""
    """The pool whose legs are meant; empty: those that ran on none."""
    provider: str = ""
    """Empty: any."""
    model: str = ""
    """Empty: any."""
    unknown_only: bool = False
    """Leaves legs alone whose cost is known."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BookedLegs:
    """Legs as they stand in the book, a row for each leg."""

    leg_ids: Sequence[UUID]
    start_us: Ints
    """Microseconds since 1970."""
    legs: booking.Legs
    key_name: Words
    region: Words
    pool: Words
    cost_known: Flags
    """Where the book has a cost."""
    parts_nanos: Ints
    """That cost by `book.TokenClass`, shape (legs, 6); 0 where unknown."""

    def __len__(self) -> int:
        return len(self.leg_ids)


@dataclass(frozen=True, slots=True)
class Corrections:
    """The legs that are to cost something else than the book says, a row for each."""

    rows: NDArray[np.intp]
    """Which of the legs."""
    parts_nanos: Ints
    """The differences, shape (rows, 6)."""
    found: Flags
    """Where the cost was unknown until now."""

    def __len__(self) -> int:
        return len(self.rows)


def corrections(booked: BookedLegs, priced: Priced, *, unknown_only: bool = False) -> Corrections:
    """What is to be booked so that legs cost what they are to cost.

    A cost stays as it is where none is known any more: nothing is forgotten.

    Args:
        booked: the legs.
        priced: what they are to cost.
        unknown_only: leaves legs alone whose cost is known.
    """
    differences = priced.parts_nanos - booked.parts_nanos
    found = priced.known & ~booked.cost_known
    changed = priced.known & booked.cost_known & differences.any(axis=1)
    rows = np.flatnonzero(found if unknown_only else found | changed)
    return Corrections(rows, differences[rows], found[rows])


def at_pool_rates(booked: BookedLegs, rates: PoolRates, version: str) -> Priced:
    """What a pool's legs cost at the rates of a period; `version` names it."""
    legs, size = booked.legs, len(booked)
    known, parts = booking.price_batch(legs.counts, legs.known, rates.rates(version))
    one = np.zeros(size, np.int64)
    return Priced(
        known=known | ~legs.billed,
        parts_nanos=np.where(legs.billed[:, None], parts, 0),
        pool=booked.pool,
        source=Words(["pool"], one),
        version=Words([version], one),
    )


def at_list_rates(booked: BookedLegs, look_up: LookUp) -> tuple[Priced, list[dict[str, Any]]]:
    """What legs cost at the rates of a price list, and those rates as JSON."""
    priced, drafted = booking.book_batch("", booked.legs, look_up, {})
    return priced, drafted.detail["rates"]


def recorded(rates: Iterable[Mapping[str, Any]]) -> LookUp:
    """A look-up in the rates that `at_list_rates` gave."""
    kept: dict[tuple[str, str], list[Holding]] = {}
    for item in rates:
        found = None if item["rates"] is None else Rates.from_dict(item["rates"])
        held = Holding(item["from_unix_s"], item["until_unix_s"], found)
        kept.setdefault((item["provider"], item["model"]), []).append(held)

    def look_up(provider: str, model: str, unix_s: int) -> Holding:
        for held in kept.get((provider, model), ()):
            if held.from_unix_s <= unix_s < held.until_unix_s:
                return held
        raise booking.BookedOtherwiseError(f"the entry has no rates of {provider}/{model} at {unix_s}")

    return look_up


class Lines:
    """The lines of a correction entry, added up from any number of pages."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str, str, str], book.Line] = {}

    def add(self, booked: BookedLegs, made: Corrections) -> None:
        """Adds the corrections of some legs."""
        if not len(made):
            return
        chosen, legs = made.rows, booked.legs
        mine = booking.Legs(
            workload=_at(legs.workload, chosen),
            target=_at(legs.target, chosen),
            purpose=_at(legs.purpose, chosen),
            upstream=_at(legs.upstream, chosen),
            provider=_at(legs.provider, chosen),
            model=_at(legs.model, chosen),
            start_unix_s=legs.start_unix_s[chosen],
            counts=legs.counts[chosen],
            known=legs.known[chosen],
            billed=legs.billed[chosen],
        )
        none = Words([""], np.zeros(len(made), np.int64))
        # `booking.lines` counts what is unknown; here that is what was unknown until now, with a minus.
        differences = Priced(~made.found, made.parts_nanos, _at(booked.pool, chosen), none, none)
        for line in booking.lines(mine, differences):
            before = self._by_key.get(line.key)
            parts = [
                part + more
                for part, more in zip(
                    before.parts_nanos if before else [0] * 6, line.parts_nanos, strict=True
                )
            ]
            self._by_key[line.key] = book.Line(
                *line.key,
                (before.leg_count if before else 0) + line.leg_count,
                (before.unknown_count if before else 0) - line.unknown_count,
                (parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]),
            )

    def lines(self) -> tuple[book.Line, ...]:
        """In the order of `book.draft`."""
        return tuple(self._by_key[key] for key in sorted(self._by_key))


def cloud_spend(booked: BookedLegs, made: Corrections) -> list[Spent]:
    """What corrections of cloud legs tell the budgets.

    A leg whose cost is found is told by its id: money may still be set aside for it. The others are added up
    by day, as no period of a budget is shorter.
    """
    legs = booked.legs
    columns = (
        _texts(column, made.rows) for column in (legs.workload, booked.key_name, legs.purpose, legs.target)
    )
    starts = (booked.start_us[made.rows] // US_PER_S).tolist()
    amounts = made.parts_nanos.sum(axis=1).tolist()
    rows = zip(made.rows.tolist(), *columns, starts, amounts, made.found.tolist(), strict=True)
    found: list[Spent] = []
    sums: dict[tuple[str, str, str, int], int] = {}
    for row, workload, key_name, purpose, target, start_s, amount, is_found in rows:
        if target != CLOUD:
            continue
        if is_found:
            leg_id = booked.leg_ids[row].bytes
            found.append(Spent(leg_id, workload, key_name, purpose, start_s, amount, found=True))
        else:
            key = (workload, key_name, purpose, start_s // DAY_S * DAY_S)
            sums[key] = sums.get(key, 0) + amount
    return found + [Spent(b"", *key, amount) for key, amount in sums.items() if amount]


def _texts(words: Words, rows: NDArray[np.intp]) -> list[str]:
    return [words.texts[code] for code in words.codes[rows].tolist()]


def _at(words: Words, rows: NDArray[np.intp]) -> Words:
    return Words(words.texts, words.codes[rows])
