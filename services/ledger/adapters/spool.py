"""The ledger's spool: legs are durable here before `Record` answers, and leave when ClickHouse has them.

Two threads share the outbox under a lock. The writer makes everything that has come in durable with one
commit (group commit) and then answers all callers at once; the other seals batches and has them shipped, each
under a token by which the journal and ClickHouse know a batch that comes again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import NoReturn

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from homeward.common.v1 import leg_pb2

from services.common.errors import DomainError, Reason
from services.common.outbox import Outbox, OutboxFullError, Put
from services.common.settings import ClickHouse
from services.ledger.adapters import clickhouse
from services.ledger.adapters.journal.budgets import Budgets
from services.ledger.adapters.journal.claims import Claims
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.shipper import Shipper

log = logging.getLogger(__name__)

BATCH_LEGS = 20_000
"""Legs in one insert: about 2 MB, and one part in ClickHouse."""
GATHER_S = 0.2
"""How long legs are gathered for an insert when there are few: five small parts a second at the most."""
RETRY_S = 0.5
"""Pause after ClickHouse or the journal has failed."""
AHEAD_S = 5.0
"""How long legs are gathered for an entry while ClickHouse is away: budgets are late by so much, and each
entry is an insert when it is back."""
REMIND_S = 60.0
"""How often the log is told that legs still wait."""
GROUP_LEGS = 50_000
"""Legs in one commit at the most, so that no caller waits long for the others."""
MAX_PENDING_LEGS = 200_000
"""Legs that may wait for their commit: the largest batches of a hundred routers, about 100 MB. More are sent
back, and their routers keep them."""

FULL_RETRY_S = 5
"""Seconds after which a caller may come back to a full spool."""


class Spool:
    """The spool of one ledger process."""

    def __init__(
        self,
        state_dir: Path,
        prices: PriceList,
        settings: ClickHouse,
        entries: Entries,
        budgets: Budgets | None,
        claims: Claims | None,
        pools: Mapping[str, str],
        *,
        max_rows: int,
        remember_s: int,
    ) -> None:
        """Opens the spool and goes on with what waits there. Needs a running event loop.

        Args:
            state_dir: the folder of its file.
            prices: where rates come from.
            settings: of ClickHouse.
            entries: the journal.
            budgets: settled as legs are booked.
            claims: what other ledgers on the journal have booked; None if there are none.
            pools: the GPU pool of each upstream that belongs to one.
            max_rows: legs that may wait.
            remember_s: seconds for which the id of a leg that has left still counts as booked.

        Raises:
            sqlite3.OperationalError: the file can't be opened.
        """
        self._outbox = Outbox(
            state_dir / "spool.sqlite",
            max_rows=max_rows,
            remember_s=remember_s,
            outbox_id=os.urandom(16),
        )
        self._shipper = Shipper(prices, entries, budgets, claims, pools)
        self._settings = settings
        self._max_rows = max_rows
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._arrived = threading.Condition()
        self._pending: deque[tuple[Sequence[leg_pb2.Leg], asyncio.Future[Put]]] = deque()
        self._pending_legs = 0
        self.sent_back = 0
        """Legs that came while too many waited for their commit; each counts again when it comes again."""
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._client: Client | None = None
        self._ahead = 0
        """The last batch that is in the journal because ClickHouse was away."""
        self._ahead_s = 0.0
        self._failing = _Failing()
        self._threads = [
            threading.Thread(target=self._write, name="spool-writer", daemon=True),
            threading.Thread(target=self._ship, name="spool-shipper", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    async def put(self, legs: Sequence[leg_pb2.Leg]) -> Put:
        """Returns when the legs are durable.

        Raises:
            DomainError: QUEUE_FULL or STORAGE_UNAVAILABLE; none was taken.
        """
        future: asyncio.Future[Put] = self._loop.create_future()
        with self._arrived:
            if self._pending and self._pending_legs + len(legs) > MAX_PENDING_LEGS:
                self._send_back(len(legs))
            self._pending.append((legs, future))
            self._pending_legs += len(legs)
            self._arrived.notify()
        return await future

    def _send_back(self, legs: int) -> NoReturn:
        if not self.sent_back:
            log.warning("legs come faster than the disk takes them; routers keep what is sent back")
        self.sent_back += legs
        raise DomainError(
            Reason.QUEUE_FULL,
            f"{self._pending_legs} legs wait for the disk; keep yours and come back",
            queue="commits",
            limit=MAX_PENDING_LEGS,
            retry_after_s=FULL_RETRY_S,
        )

    def close(self, timeout_s: float) -> None:
        """Gives ClickHouse a last chance, and stops. What waits is still there."""
        self._stopping.set()
        self._ready.set()
        with self._arrived:
            self._arrived.notify()
        for thread in self._threads:
            thread.join(timeout_s)
        if self.sent_back:
            log.info("%d legs were sent back because the disk was behind", self.sent_back)

    def _write(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._pending or self._stopping.is_set())
                if not self._pending:
                    return
                group, size = [], 0
                while self._pending and size < GROUP_LEGS:
                    group.append(self._pending.popleft())
                    size += len(group[-1][0])
                self._pending_legs -= size
            self._commit(group)
            self._ready.set()

    def _commit(self, group: list[tuple[Sequence[leg_pb2.Leg], asyncio.Future[Put]]]) -> None:
        items = [[(leg.leg_id, leg.SerializeToString()) for leg in legs] for legs, _ in group]
        results: Sequence[Put | Exception]
        try:
            with self._lock:
                results = self._outbox.put_groups(items, int(time.monotonic()))
        # A defect must not end the thread either: all callers would wait for good.
        except Exception as problem:
            defect = not isinstance(problem, sqlite3.Error)
            log.error("legs are not taken: %s", problem, exc_info=defect)
            results = [problem] * len(group)
        for (_, future), result in zip(group, results, strict=True):
            self._loop.call_soon_threadsafe(self._answer, future, result)

    def _answer(self, future: asyncio.Future[Put], result: Put | Exception) -> None:
        if future.done():
            return
        if isinstance(result, Put):
            future.set_result(result)
        elif isinstance(result, OutboxFullError):
            future.set_exception(
                DomainError(
                    Reason.QUEUE_FULL,
                    f"the spool is full ({result}); keep your legs and come back",
                    queue="legs",
                    limit=self._max_rows,
                    retry_after_s=FULL_RETRY_S,
                )
            )
        else:
            future.set_exception(
                DomainError(
                    Reason.STORAGE_UNAVAILABLE,
                    f"the spool can't be written: {result}",
                    store="spool",
                    detail=result,
                )
            )

    def _ship(self) -> None:
        writer = self._threads[0]
        while True:
            stopping = self._stopping.is_set()
            outcome = self._send_next()
            if outcome is _Sent.NOTHING:
                if stopping and not writer.is_alive():
                    break
                # Nothing waits: until something arrives, and then a moment for more to come.
                self._ready.wait(RETRY_S)
                self._ready.clear()
                self._stopping.wait(GATHER_S)
            elif outcome is not _Sent.BATCH and self._stopping.wait(outcome.value):
                break
        if self._client is not None:
            self._client.close()
        writer.join()
        self._outbox.close()

    def _connected(self) -> Client:
        if self._client is None:
            client = clickhouse.connect(self._settings)
            for name in clickhouse.migrate(client):
                log.info("migrated: %s", name)
            self._client = client
        return self._client

    def _send_next(self) -> _Sent:
        batch = None
        try:
            client = self._connected()
            with self._lock:
                batch = self._outbox.next_batch(BATCH_LEGS)
            if batch is None:
                return _Sent.NOTHING
            self._shipper.ship(client, batch)
            with self._lock:
                self._outbox.acknowledge(batch.number, int(time.monotonic()))
        # Whatever it is, the batch stays, and is tried again under the same token.
        except (ClickHouseError, clickhouse.MigrationError, OSError) as error:
            self._client = None
            self._failing.note(f"ClickHouse does not take legs: {_first_line(error)}", self._outbox.waiting)
            self._book_ahead()
            return _Sent.RETRY
        except (DomainError, sqlite3.Error) as error:
            self._failing.note(f"legs can't be booked: {_first_line(error)}", self._outbox.waiting)
            return _Sent.RETRY
        # A defect must not end the thread unseen: everything behind this batch would wait for good.
        except Exception as error:
            name = "the next batch" if batch is None else f"batch {batch.token}"
            self._failing.note(
                f"{name} can't be booked, and all legs behind it wait; this is a defect, please report it"
                f" with this log ({type(error).__name__}: {_first_line(error)})",
                self._outbox.waiting,
                error,
            )
            return _Sent.DEFECT
        self._failing.over(self._outbox.waiting)
        return _Sent.BATCH

    def _book_ahead(self) -> None:
        """Brings what waits into the journal: budgets go by it, not by the analysts' database."""
        if not self._stopping.is_set() and time.monotonic() - self._ahead_s < AHEAD_S:
            return
        self._ahead_s = time.monotonic()
        try:
            while True:
                with self._lock:
                    batch = self._outbox.batch_after(self._ahead, BATCH_LEGS)
                if batch is None:
                    return
                self._shipper.book(batch)
                self._ahead = batch.number
        # `ship` meets it again, and tells which it is.
        except Exception as error:
            self._failing.note(f"legs can't be booked: {_first_line(error)}", self._outbox.waiting)


class _Sent(Enum):
    """What came of sending a batch; the value is the pause in seconds before the next attempt."""

    BATCH = 0.0
    NOTHING = -1.0
    RETRY = RETRY_S
    DEFECT = 10.0


class _Failing:
    """Tells the log when legs stop leaving, that they still wait, and when they leave again."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = 0.0
        self._defect = False

    def note(self, what: str, waiting: int, defect: Exception | None = None) -> None:
        """Legs can't leave now."""
        now = time.monotonic()
        if self._since is None or (defect is not None and not self._defect):
            self._since, self._told, self._defect = self._since or now, now, defect is not None
            log.log(logging.WARNING if defect is None else logging.ERROR, "%s", what, exc_info=defect)
        elif now - self._told >= REMIND_S:
            self._told = now
            log.error("%s; %d legs wait since %d s", what, waiting, now - self._since, exc_info=defect)

    def over(self, waiting: int) -> None:
        """Legs leave."""
        if self._since is not None:
            log.info("legs leave again after %d s; %d wait", time.monotonic() - self._since, waiting)
            self._since, self._defect = None, False


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]
