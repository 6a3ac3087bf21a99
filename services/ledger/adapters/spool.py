"""The ledger's spool: legs are durable here before `Record` answers, and leave when ClickHouse has them.

Two threads share the outbox under a lock. The writer makes everything that has come in durable with one
commit (group commit) and then answers all callers at once; the shipper sends sealed batches to
ClickHouse, each under a token by which ClickHouse knows a batch that comes again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from homeward.common.v1 import leg_pb2

from services.common.errors import DomainError, Reason
from services.common.outbox import Outbox, OutboxFullError, Put
from services.common.settings import ClickHouse
from services.common.words import Outcome
from services.ledger.adapters import clickhouse
from services.ledger.adapters.prices import PriceList, utc
from services.ledger.core.pricing import NOT_BILLED, Price, Tokens, price

log = logging.getLogger(__name__)

BATCH_LEGS = 20_000
"""Legs in one insert: about 2 MB, and one part in ClickHouse."""
GATHER_S = 0.2
"""How long legs are gathered for an insert when there are few: five small parts a second at the most."""
RETRY_S = 0.5
"""Pause after ClickHouse has failed."""
GROUP_LEGS = 50_000
"""Legs in one commit at the most, so that no caller waits long for the others."""

FULL_RETRY_S = 5
"""Seconds after which a caller may come back to a full spool."""

_UNBILLED = frozenset({Outcome.REJECTED.value, Outcome.UNREACHABLE.value})


class Spool:
    """The spool of one ledger process."""

    def __init__(
        self, state_dir: Path, prices: PriceList, settings: ClickHouse, *, max_rows: int, remember_s: int
    ) -> None:
        """Opens the spool and goes on with what waits there. Needs a running event loop.

        Raises:
            sqlite3.OperationalError: the file can't be opened.
        """
        self._outbox = Outbox(
            state_dir / "spool.sqlite",
            max_rows=max_rows,
            remember_s=remember_s,
            outbox_id=os.urandom(16),
        )
        self._prices = prices
        self._settings = settings
        self._max_rows = max_rows
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._arrived = threading.Condition()
        self._pending: list[tuple[Sequence[leg_pb2.Leg], asyncio.Future[Put]]] = []
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._client: Client | None = None
        self._away = False
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
            self._pending.append((legs, future))
            self._arrived.notify()
        return await future

    def close(self, timeout_s: float) -> None:
        """Gives ClickHouse a last chance, and stops. What waits is still there."""
        self._stopping.set()
        self._ready.set()
        with self._arrived:
            self._arrived.notify()
        for thread in self._threads:
            thread.join(timeout_s)

    def _write(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._pending or self._stopping.is_set())
                if not self._pending:
                    return
                group, size = [], 0
                while self._pending and size < GROUP_LEGS:
                    group.append(self._pending.pop(0))
                    size += len(group[-1][0])
            self._commit(group)
            self._ready.set()

    def _commit(self, group: list[tuple[Sequence[leg_pb2.Leg], asyncio.Future[Put]]]) -> None:
        items = [[(leg.leg_id, leg.SerializeToString()) for leg in legs] for legs, _ in group]
        results: Sequence[Put | OutboxFullError | sqlite3.Error]
        try:
            with self._lock:
                results = self._outbox.put_groups(items, int(time.time()))
        except sqlite3.Error as problem:
            log.error("legs are not taken: %s", problem)
            results = [problem] * len(group)
        for (_, future), result in zip(group, results, strict=True):
            self._loop.call_soon_threadsafe(self._answer, future, result)

    def _answer(self, future: asyncio.Future[Put], result: Put | OutboxFullError | sqlite3.Error) -> None:
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
            sent = self._connect() and self._send_next()
            if sent is None:
                if stopping and not writer.is_alive():
                    break
                # Nothing waits: until something arrives, and then a moment for more to come.
                self._ready.wait(RETRY_S)
                self._ready.clear()
                self._stopping.wait(GATHER_S)
            elif not sent and self._stopping.wait(RETRY_S):
                break
        if self._client is not None:
            self._client.close()
        writer.join()
        self._outbox.close()

    def _connect(self) -> bool:
        if self._client is not None:
            return True
        try:
            client = clickhouse.connect(self._settings)
            for name in clickhouse.migrate(client):
                log.info("migrated: %s", name)
        except (ClickHouseError, clickhouse.MigrationError, OSError) as error:
            self._note_away(error)
            return False
        self._client = client
        return True

    def _send_next(self) -> bool | None:
        """True if a batch is in ClickHouse, False if it is not, None if nothing waits."""
        assert self._client is not None
        try:
            with self._lock:
                batch = self._outbox.next_batch(BATCH_LEGS)
            if batch is None:
                return None
            legs = [leg_pb2.Leg.FromString(payload) for payload in batch.payloads]
            clickhouse.insert_legs(self._client, legs, [self._price(leg) for leg in legs], batch.token)
            with self._lock:
                self._outbox.acknowledge(batch.number, int(time.time()))
        # Whatever it is, the batch stays, and is tried again under the same token.
        except (ClickHouseError, OSError, sqlite3.Error) as error:
            self._client = None
            self._note_away(error)
            return False
        # A defect must not end the thread unseen: everything behind this batch would wait for good.
        except Exception:
            log.exception("a batch can't be sent; it waits")
            return False
        if self._away:
            self._away = False
            log.info("ClickHouse takes legs again; %d wait", self._outbox.waiting)
        return True

    def _note_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            log.warning("ClickHouse does not take legs: %s", str(error).split("\n")[0])

    def _price(self, leg: leg_pb2.Leg) -> Price:
        if leg.outcome in _UNBILLED:
            return NOT_BILLED
        usage = leg.usage
        tokens = Tokens(
            input=usage.input_tokens if usage.HasField("input_tokens") else None,
            cached_input=usage.cached_input_tokens if usage.HasField("cached_input_tokens") else None,
            cache_write=usage.cache_write_tokens if usage.HasField("cache_write_tokens") else None,
            output=usage.output_tokens if usage.HasField("output_tokens") else None,
            reasoning=usage.reasoning_tokens if usage.HasField("reasoning_tokens") else None,
        )
        return price(tokens, self._prices.rates(leg.provider, leg.model, utc(leg.start_time.seconds)))
