"""Corrects the book: closes the periods of GPU pools, prices legs again, and finishes what a crash cut off.

Every correction is written to the journal first, then to ClickHouse, then confirmed. A thread looks every
few seconds for entries that nobody has confirmed, of this or any other ledger, and for periods that are due.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial

from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from services.common.errors import DomainError, Reason
from services.common.settings import ClickHouse
from services.ledger.adapters import clickhouse
from services.ledger.adapters.corrections import CorrectionStore
from services.ledger.adapters.journal.budgets import Budgets
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.prices import PriceList
from services.ledger.closing import PoolCloser
from services.ledger.config import PoolSettings
from services.ledger.core.book import Kind
from services.ledger.core.booking import BookedOtherwiseError
from services.ledger.core.clock import steady
from services.ledger.core.corrections import Scope
from services.ledger.repricing import Repriced, Repricer

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often something to do is looked for."""

_AWAY = (ClickHouseError, OSError)


class Corrector:
    """The corrections of one ledger process."""

    def __init__(
        self,
        entries: Entries,
        prices: PriceList,
        budgets: Budgets | None,
        pools: Mapping[str, PoolSettings],
        settings: ClickHouse,
        clock: Callable[[], int],
    ) -> None:
        """
        Args:
            entries: the journal.
            prices: where rates come from when legs are priced again.
            budgets: told of what corrections change in the cloud.
            pools: whose periods are closed.
            settings: where ClickHouse is.
            clock: microseconds since 1970.
        """
        self._entries = entries
        self._pools = pools
        self._settings = settings
        # Nothing is taken back of a period that was closed before it was over.
        self._closer = PoolCloser(entries, pools, steady(clock, time.monotonic))
        # The thread and the callers of `reprice` take turns: each reads what the other has booked.
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._repricer = Repricer(entries, prices, budgets, clock, self._stopping)
        self._kept: CorrectionStore | None = None
        self._away = False
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="corrector", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread after the period that it is at."""
        self._stopping.set()
        self._thread.join()

    def reprice(self, scope: Scope, request_id: bytes, actor: str, validate_only: bool) -> Repriced:
        """Prices booked legs again, and books the differences.

        Args:
            scope: which legs; those of pools have no price list.
            request_id: 16 bytes; the same request is booked once.
            actor: who asks for it.
            validate_only: tells the differences and books nothing.

        Raises:
            DomainError: STORAGE_UNAVAILABLE; INVALID_REQUEST of a request_id that had another scope.
        """
        try:
            with self._turn, closing(CorrectionStore(clickhouse.connect(self._settings))) as store:
                if validate_only:
                    return self._repricer.preview(store, scope)
                return self._repricer.reprice(store, scope, request_id, actor)
        except _AWAY as error:
            raise DomainError(
                Reason.STORAGE_UNAVAILABLE,
                "ClickHouse does not answer; ask again with the same request_id",
                store="clickhouse",
                detail=_first_line(error),
            ) from error
        except BookedOtherwiseError as error:
            raise DomainError(Reason.INTERNAL, f"a correction can't be finished: {error}") from error

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                with self._turn:
                    self._look()
            except (*_AWAY, DomainError) as error:
                self._let_go()
                if not self._away:
                    self._away = True
                    log.warning("corrections wait: %s", _first_line(error))
            # A defect must not end the thread unseen: no period would ever be closed again.
            except Exception as error:
                self._tell(f"{type(error).__name__}: {error}", error)
            else:
                if self._away:
                    self._away = False
                    log.info("corrections go on")
        self._let_go()

    def _look(self) -> None:
        waiting = [
            (complete, entry)
            for kind, complete in (
                (Kind.REPRICING, self._repricer.complete),
                (Kind.POOL_PERIOD, self._closer.complete),
            )
            for entry in self._entries.unconfirmed(kind)
        ]
        if not waiting and not self._pools:
            return
        if self._kept is None:
            self._kept = CorrectionStore(clickhouse.connect(self._settings))
        for complete, entry in waiting:
            if self._stopping.is_set():
                return
            if self._done(partial(complete, self._kept, entry)):
                log.info("%s has its rows in ClickHouse now", entry.draft.batch)
        for name in self._pools:
            self._done(partial(self._closer.close_due, self._kept, name, self._stopping))

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _done(self, work: Callable[[], None]) -> bool:
        """Does it; if an entry can't be made again, that is told, and the others go on."""
        try:
            work()
        except BookedOtherwiseError as error:
            self._tell(str(error), error)
            return False
        return True

    def _tell(self, what: str, error: Exception) -> None:
        """Logs a problem once, not every few seconds."""
        if what not in self._told:
            self._told.add(what)
            log.error("a correction waits: %s", what, exc_info=error)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
