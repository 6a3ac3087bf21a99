"""Prices booked legs again with the present price list, and books the differences.

A request becomes one entry for every page of legs in which something changes. Each entry says which legs it
has looked at and at which rates, so a request that comes again, or that a crash has cut off, goes on behind
its last entry.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from services.common.errors import DomainError, Reason, invalid_request
from services.ledger.adapters.corrections import CorrectionStore, Key, key_of
from services.ledger.adapters.journal.budgets import Budgets
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.journal.rows import ENTRIES, Entry
from services.ledger.adapters.prices import PriceList
from services.ledger.completion import Page, insert_rows
from services.ledger.core import book
from services.ledger.core.booking import Priced
from services.ledger.core.corrections import (
    BookedLegs,
    Corrections,
    Lines,
    Scope,
    at_list_rates,
    cloud_spend,
    corrections,
    recorded,
)

WAIT_S = 30.0
"""How long a request waits for the corrections of another to be in ClickHouse."""
_LOOK_S = 0.1


class OvertakenError(Exception):
    """Another request has booked corrections that this one has not seen."""

    def __init__(self, entry_id: int) -> None:
        super().__init__(f"entry {entry_id} came first")
        self.entry_id = entry_id


@dataclass(slots=True)
class Repriced:
    """What a request has changed."""

    entry_id: int = 0
    """The last of its entries; 0 if it has none."""
    leg_count: int = 0
    found_count: int = 0
    """Of them, those whose cost was unknown."""
    unknown_count: int = 0
    """Legs of its scope whose cost is still unknown."""
    difference_nanos: int = 0


@dataclass(frozen=True, slots=True)
class _Change:
    """A page of legs in which something changes."""

    after: Key | None
    booked: BookedLegs
    priced: Priced
    made: Corrections
    rates: Sequence[Mapping[str, Any]]
    unknown_count: int
    """Legs whose cost stays unknown, up to this page."""


class Repricer:
    """Serves requests, one at a time."""

    def __init__(
        self,
        entries: Entries,
        prices: PriceList,
        budgets: Budgets | None,
        clock: Callable[[], int],
        stopping: threading.Event,
    ) -> None:
        self._entries = entries
        self._prices = prices
        self._budgets = budgets
        self._clock = clock
        self._stopping = stopping

    def preview(self, store: CorrectionStore, scope: Scope) -> Repriced:
        """What a request would change now."""
        result = Repriced()
        for change in self._changes(store, scope, self._entries.whole_up_to(), None, 0):
            result.leg_count += len(change.made)
            result.found_count += int(change.made.found.sum())
            result.difference_nanos += int(change.made.parts_nanos.sum())
            result.unknown_count = change.unknown_count
        return result

    def reprice(self, store: CorrectionStore, scope: Scope, request_id: bytes, actor: str) -> Repriced:
        """Books a request; what it has booked before is not booked again.

        Raises:
            DomainError: INVALID_REQUEST, of a request_id that had another scope; STORAGE_UNAVAILABLE.
        """
        deadline = time.monotonic() + WAIT_S
        while True:
            done = self._done(store, scope, request_id)
            if done and done[-1].draft.detail["last"]:
                return _result(done)
            try:
                unknown_count = self._go_on(store, scope, request_id, actor, done)
            except OvertakenError as error:
                self._wait(store, error.entry_id, deadline)
                continue
            if unknown_count is not None:
                result = _result(done) if done else Repriced()
                result.unknown_count = unknown_count
                return result

    def complete(self, store: CorrectionStore, entry: Entry) -> None:
        """Brings an entry's rows to ClickHouse, and confirms it."""
        insert_rows(store, entry, lambda: _pages(store, entry.draft.detail))
        self._entries.confirm(entry.entry_id)

    def _done(self, store: CorrectionStore, scope: Scope, request_id: bytes) -> list[Entry]:
        """The entries that a request has so far, all of them complete."""
        done: list[Entry] = []
        while (entry := self._entries.find(_batch(request_id, len(done)))) is not None:
            if entry.draft.detail["scope"] != scope.to_dict():
                raise invalid_request("request_id", "another one for another scope", request_id.hex())
            if not entry.confirmed:
                self.complete(store, entry)
            done.append(entry)
        return done

    def _go_on(
        self, store: CorrectionStore, scope: Scope, request_id: bytes, actor: str, done: Sequence[Entry]
    ) -> int | None:
        """Books what a request has not booked yet. If there is nothing, how many legs stay unknown."""
        upto, number = self._entries.whole_up_to(), len(done)
        after = Key(*done[-1].draft.detail["through"]) if done else None
        unknown_count = done[-1].draft.detail["unknown_count"] if done else 0
        held: _Change | None = None
        for change in self._changes(store, scope, upto, after, unknown_count):
            unknown_count = change.unknown_count
            if not len(change.made):
                continue
            # An entry says whether it is the request's last: so each is held until there is another.
            if held is not None:
                self._book(store, scope, request_id, number, actor, upto, held, None)
                number += 1
            held = change
        if held is not None:
            self._book(store, scope, request_id, number, actor, upto, held, unknown_count)
        # Its last page had changes when it was looked at before, and has none now.
        return None if held is not None else unknown_count

    def _changes(
        self, store: CorrectionStore, scope: Scope, upto: int, after: Key | None, unknown_count: int
    ) -> Iterator[_Change]:
        for booked in store.pages(scope, upto, after):
            if self._stopping.is_set():
                raise _not_now("the ledger is about to stop", "ledger")
            priced, rates = at_list_rates(booked, self._prices.holding)
            made = corrections(booked, priced, unknown_only=scope.unknown_only)
            unknown_count += int((~booked.cost_known & ~priced.known).sum())
            yield _Change(after, booked, priced, made, rates, unknown_count)
            after = key_of(booked, -1)

    def _book(
        self,
        store: CorrectionStore,
        scope: Scope,
        request_id: bytes,
        number: int,
        actor: str,
        upto: int,
        change: _Change,
        unknown_at_last: int | None,
    ) -> None:
        lines = Lines()
        lines.add(change.booked, change.made)
        is_last = unknown_at_last is not None
        draft = book.draft(
            book.Kind.REPRICING,
            _batch(request_id, number),
            lines.lines(),
            detail={
                "scope": scope.to_dict(),
                "after": list(change.after) if change.after else None,
                "through": list(key_of(change.booked, -1)),
                "upto_entry": upto,
                "rates": list(change.rates),
                "actor": actor,
                "unknown_count": unknown_at_last if is_last else change.unknown_count,
                "last": is_last,
            },
        )

        def also(db: Connection) -> None:
            _check_not_overtaken(db, upto, request_id)
            if self._budgets is not None:
                self._budgets.settle(db, cloud_spend(change.booked, change.made))

        entry = self._entries.append(draft, now_unix_us=self._clock(), also=also)
        if not entry.confirmed:
            self.complete(store, entry)

    def _wait(self, store: CorrectionStore, entry_id: int, deadline: float) -> None:
        """Returns when all entries up to one are in ClickHouse."""
        while self._entries.whole_up_to() < entry_id:
            for entry in self._entries.unconfirmed(book.Kind.REPRICING):
                self.complete(store, entry)
            if time.monotonic() > deadline:
                raise _not_now(f"entries up to {entry_id} are not in ClickHouse yet", "clickhouse")
            self._stopping.wait(_LOOK_S)


def _check_not_overtaken(db: Connection, upto: int, request_id: bytes) -> None:
    """Two requests that did not see each other's corrections would both book the same difference.

    The journal's entries are appended one after the other, so there is none to come once this has looked.

    Raises:
        OvertakenError: there is one that this request has not seen.
    """
    other = sql.select(sql.func.max(ENTRIES.c.entry_id)).where(
        ENTRIES.c.entry_id > upto,
        ENTRIES.c.kind == book.Kind.REPRICING.value,
        ~ENTRIES.c.batch.startswith(f"{_PREFIX}{request_id.hex()}/"),
    )
    entry_id = db.execute(other).scalar_one()
    if entry_id is not None:
        raise OvertakenError(entry_id)


def _not_now(why: str, store: str) -> DomainError:
    return DomainError(
        Reason.STORAGE_UNAVAILABLE, f"{why}; ask again with the same request_id", store=store, detail=why
    )


_PREFIX = "reprice/"


def _batch(request_id: bytes, number: int) -> str:
    return f"{_PREFIX}{request_id.hex()}/{number}"


def _result(done: Sequence[Entry]) -> Repriced:
    drafts = [entry.draft for entry in done]
    return Repriced(
        entry_id=done[-1].entry_id,
        leg_count=sum(draft.leg_count for draft in drafts),
        found_count=-sum(draft.unknown_count for draft in drafts),
        unknown_count=drafts[-1].detail["unknown_count"],
        difference_nanos=sum(draft.cost_nanos for draft in drafts),
    )


def _pages(store: CorrectionStore, detail: Mapping[str, Any]) -> Iterator[Page]:
    """The corrections of an entry, as it says."""
    scope, look_up = Scope(**detail["scope"]), recorded(detail["rates"])
    after = Key(*detail["after"]) if detail["after"] else None
    for booked in store.pages(scope, detail["upto_entry"], after, Key(*detail["through"])):
        priced, _ = at_list_rates(booked, look_up)
        yield booked, priced, corrections(booked, priced, unknown_only=scope.unknown_only)
