"""Closes the periods of GPU pools: what each cost goes to the legs that it served, the rest is idle.

Periods follow one another without a gap from the pool's first leg on, whether or not the ledger ran: the
pool cost its money all the same. The figures of the settings hold for the periods that are closed with them;
a period that closes again, because legs came late, keeps the cost that it had.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.ledger.adapters.corrections import CorrectionStore
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.journal.rows import Entry
from services.ledger.completion import Page, insert_rows
from services.ledger.config import PoolSettings
from services.ledger.core import book
from services.ledger.core.corrections import US_PER_S, Lines, Scope, at_pool_rates, corrections
from services.ledger.core.pools import (
    BusyTime,
    Closing,
    PoolRates,
    Totals,
    close,
    cost_nanos,
    hourly_cost,
    touched,
)

BACKFILL_S = 31 * 86_400
"""How far back the first leg of a pool is looked for. One that began before, or that comes from before the
first period, has its own period closed."""
_FIGURES = (
    "hardware_usd",
    "life_years",
    "power_watts",
    "pue",
    "usd_per_kwh",
    "hosting_usd_per_month",
    "people_usd_per_month",
)


class PoolCloser:
    """Closes periods. Several on one journal close each once."""

    def __init__(self, entries: Entries, pools: Mapping[str, PoolSettings], clock: Callable[[], int]) -> None:
        self._entries = entries
        self._pools = pools
        self._clock = clock
        self._looked_upto: dict[str, int] = {}
        self._due_s: dict[str, int] = {}

    def close_due(self, store: CorrectionStore, name: str, stopping: threading.Event) -> None:
        """Closes the periods of a pool that are over and settled, and again those of legs that came late."""
        settings = self._pools[name]
        now_s = self._clock() // US_PER_S
        upto = self._entries.whole_up_to()
        if now_s < self._due_s.get(name, 0):
            return
        last = store.last_closed(name)
        if last is None:
            if self._looked_upto.get(name) == upto:
                return
            self._looked_upto[name] = upto
            first_s = store.first_start_s(name, now_s - BACKFILL_S, now_s, upto)
            if first_s is None:
                return
            self._looked_upto.pop(name)
            start_s, late_upto = first_s // settings.period_s * settings.period_s, 0
        else:
            start_s = last[0] + last[1]
            if self._end_s(start_s, settings) + settings.settle_s <= now_s:
                if not self._close_late(store, name, start_s, last[0], upto, stopping):
                    return
                late_upto = upto
        while (end_s := self._end_s(start_s, settings)) + settings.settle_s <= now_s:
            if stopping.is_set():
                return
            closed_s = self._close(store, name, start_s, end_s, upto, late_upto)
            if closed_s is None:
                return
            start_s = closed_s
        self._due_s[name] = end_s + settings.settle_s

    def complete(self, store: CorrectionStore, entry: Entry) -> None:
        """Brings an entry's rows to ClickHouse, and confirms it."""
        detail = entry.draft.detail
        insert_rows(store, entry, lambda: _pages(store, detail))
        closing = Closing(detail["cost_nanos"], detail["leg_cost_nanos"], PoolRates(**detail["rates"]))
        store.insert_period(
            detail["pool"],
            detail["period_start_unix_s"],
            detail["period_s"],
            detail["busy_us"],
            Totals(**detail["totals"]),
            closing,
            entry.entry_id,
        )
        self._entries.confirm(entry.entry_id)

    def _close_late(
        self,
        store: CorrectionStore,
        name: str,
        before_s: int,
        last_start_s: int,
        upto: int,
        stopping: threading.Event,
    ) -> bool:
        """Closes periods again of which legs have come since the last one was closed for the first time."""
        settings = self._pools[name]
        first = self._entries.find(_batch(name, last_start_s, 1))
        since = first.draft.detail["late_upto_entry"] if first is not None else 0
        for span in store.late(name, since, upto, before_s, settings.period_s):
            # Their neighbours too: a period may be longer than those of today's settings.
            closed = store.closed(name, span.first_s - 86_400, span.last_s + 1)
            for start_s, end_s in touched(span.first_s, span.last_s + 1, closed, settings.period_s):
                if stopping.is_set() or self._close(store, name, start_s, end_s, upto, since) is None:
                    return False
        return True

    def _close(
        self, store: CorrectionStore, name: str, start_s: int, end_s: int, upto: int, late_upto: int
    ) -> int | None:
        """Closes a period, or closes it again if it has changed.

        Returns:
            When it ends: another ledger may have closed it with another length. None if it must wait.
        """
        settings = self._pools[name]
        number, before = self._latest(name, start_s)
        if before is not None:
            end_s = start_s + before.draft.detail["period_s"]
            if not before.confirmed:
                self.complete(store, before)
            if before.draft.detail["upto_entry"] >= upto:
                return end_s
            if before.entry_id > upto:
                return None
        weight = before.draft.detail["output_weight"] if before else str(settings.output_weight)
        cost = (
            before.draft.detail["cost_nanos"]
            if before
            else cost_nanos(hourly_cost(settings).total, start_s, end_s)
        )
        detail: dict[str, Any] = {
            "pool": name,
            "period_start_unix_s": start_s,
            "period_s": end_s - start_s,
            "upto_entry": upto,
            "late_upto_entry": late_upto,
            "cost_nanos": cost,
            "output_weight": weight,
            "figures": before.draft.detail["figures"]
            if before
            else {field: str(getattr(settings, field)) for field in _FIGURES},
        }
        busy_us, totals = _measured(store, detail)
        measured = {"busy_us": busy_us, "totals": asdict(totals)}
        if before is not None and all(before.draft.detail[key] == measured[key] for key in measured):
            return end_s
        lines = Lines()

        def spend(rates: PoolRates) -> int:
            nonlocal lines
            lines, spent = Lines(), 0
            for booked, priced, made in _pages(store, detail | {"rates": asdict(rates)}):
                lines.add(booked, made)
                spent += int(priced.parts_nanos.sum())
            return spent

        closing = close(cost, busy_us, (end_s - start_s) * US_PER_S, totals, Decimal(weight), spend)
        detail |= measured | {
            "rates": asdict(closing.rates),
            "leg_cost_nanos": closing.leg_cost_nanos,
            "idle_nanos": closing.idle_nanos,
        }
        idle_before = before.draft.detail["idle_nanos"] if before else 0
        draft = book.draft(
            book.Kind.POOL_PERIOD,
            _batch(name, start_s, number + 1),
            lines.lines(),
            idle={name: closing.idle_nanos - idle_before},
            detail=detail,
        )
        # Another ledger may have been first: then it is that one's entry that is completed.
        entry = self._entries.append(draft, now_unix_us=self._clock())
        if not entry.confirmed:
            self.complete(store, entry)
        return start_s + int(entry.draft.detail["period_s"])

    def _latest(self, name: str, start_s: int) -> tuple[int, Entry | None]:
        """How often a period was closed, and the last time."""
        number, latest = 0, None
        while (entry := self._entries.find(_batch(name, start_s, number + 1))) is not None:
            number, latest = number + 1, entry
        return number, latest

    def _end_s(self, start_s: int, settings: PoolSettings) -> int:
        """When the period that begins then ends: at a multiple of its length since 1970."""
        return (start_s // settings.period_s + 1) * settings.period_s


def _batch(name: str, start_s: int, number: int) -> str:
    return f"pool/{name}/{_time(start_s)}/{number}"


def _time(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _scope(detail: Mapping[str, Any]) -> Scope:
    start_us = detail["period_start_unix_s"] * US_PER_S
    return Scope(start_us, start_us + detail["period_s"] * US_PER_S, pool=detail["pool"])


def _measured(store: CorrectionStore, detail: Mapping[str, Any]) -> tuple[int, Totals]:
    """How long the pool was busy in microseconds, and what its legs have consumed."""
    scope, upto = _scope(detail), detail["upto_entry"]
    busy, totals = BusyTime(scope.start_us, scope.end_us), Totals()
    for starts, latencies in store.times(scope.pool, scope.start_us, scope.end_us, upto):
        busy.add(starts, latencies)
    for page in store.pages(scope, upto):
        totals.add(page.legs.counts, page.legs.known, page.legs.billed)
    return busy.busy_us, totals


def _pages(store: CorrectionStore, detail: Mapping[str, Any]) -> Iterator[Page]:
    """The corrections of a period, as its entry says."""
    rates, version = PoolRates(**detail["rates"]), _time(detail["period_start_unix_s"])
    for booked in store.pages(_scope(detail), detail["upto_entry"]):
        priced = at_pool_rates(booked, rates, version)
        yield booked, priced, corrections(booked, priced)
