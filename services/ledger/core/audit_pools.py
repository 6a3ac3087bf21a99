"""Whether the periods of GPU pools add up: legs and idle hours to the cost, in the journal and in the rows.

A period may be closed several times, because legs came late; each entry has the differences to the ones
before. What all of them give together is what the last says, and what ClickHouse has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from services.ledger.core.audit import Difference, idle_nanos
from services.ledger.core.book import Draft, Kind, pool

Key: TypeAlias = tuple[str, int]
"""A pool, and the start of a period in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Period:
    """A period as it was closed last, in nano-dollars."""

    entry_id: int
    cost_nanos: int
    leg_cost_nanos: int
    idle_nanos: int


@dataclass(frozen=True, slots=True)
class _Booked:
    period: Period
    batch: str
    confirmed: bool


class Periods:
    """The periods that the journal has, taken from its entries in their order."""

    def __init__(self) -> None:
        self._booked: dict[Key, _Booked] = {}

    def add(self, entry_id: int, entry: Draft, *, confirmed: bool) -> Difference | None:
        """Takes an entry; tells where it does not add up. Entries of other kinds say nothing of periods."""
        if entry.kind is not Kind.POOL_PERIOD:
            return None
        detail = entry.detail
        try:
            key: Key = detail["pool"], detail["period_start_unix_s"]
            said = Period(
                entry_id, *(detail[name] for name in ("cost_nanos", "leg_cost_nanos", "idle_nanos"))
            )
        except (KeyError, TypeError):
            return Difference("in the journal, it does not say which period it closes", entry_id, entry.batch)
        before = self._booked.get(key)
        legs, idle = entry.cost_nanos, idle_nanos(entry).get(key[0], 0)
        if before is not None:
            legs, idle = legs + before.period.leg_cost_nanos, idle + before.period.idle_nanos
        problem = _unlike(Period(entry_id, legs + idle, legs, idle), said)
        if problem is not None:
            figure, posted, told = problem
            what = f"{_name(key)}: {figure}: {posted:,} were posted, {told:,} is what the entry says"
            return Difference(what, entry_id, entry.batch, figure=figure, book=posted)
        self._booked[key] = _Booked(said, entry.batch, confirmed)
        return None

    def first_difference(self, rows: Mapping[Key, Period]) -> Difference | None:
        """The first period whose row is not what the journal has; None if all are.

        Args:
            rows: what ClickHouse has. The entries that it may know must have been added.
        """
        for key in sorted(rows.keys() | self._booked.keys(), key=lambda key: (key[1], key[0])):
            row, booked = rows.get(key), self._booked.get(key)
            if booked is None:
                entry_id = None if row is None else row.entry_id
                return Difference(
                    f"{_name(key)} is in ClickHouse, and the journal has no such entry", entry_id
                )
            if row is None or row.entry_id < booked.period.entry_id:
                if booked.confirmed:
                    what = f"{_name(key)}: ClickHouse does not have it as this entry closed it"
                    return Difference(what, booked.period.entry_id, booked.batch)
                continue
            problem = _unlike(booked.period, row)
            if row.entry_id != booked.period.entry_id:
                problem = ("entry", booked.period.entry_id, row.entry_id)
            if problem is not None:
                figure, expected, there = problem
                what = f"{_name(key)}: {figure}: {expected:,} in the journal, {there:,} in ClickHouse"
                return Difference(
                    what,
                    booked.period.entry_id,
                    booked.batch,
                    creditor=pool(key[0]),
                    figure=figure,
                    book=expected,
                    clickhouse=there,
                )
        return None


def _unlike(one: Period, other: Period) -> tuple[str, int, int] | None:
    figures: Iterable[tuple[str, int, int]] = (
        ("cost of its legs in nano-dollars", one.leg_cost_nanos, other.leg_cost_nanos),
        ("cost of its idle time in nano-dollars", one.idle_nanos, other.idle_nanos),
        ("cost in nano-dollars", one.cost_nanos, other.cost_nanos),
    )
    return next((figure for figure in figures if figure[1] != figure[2]), None)


def _name(key: Key) -> str:
    return f"the period of pool {key[0]} that began {datetime.fromtimestamp(key[1], UTC):%Y-%m-%d %H:%M:%S}"
