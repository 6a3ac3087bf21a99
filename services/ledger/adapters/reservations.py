"""Reservations in groups: what many callers ask for at once is decided and made durable with one commit."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from services.common.errors import DomainError, Reason
from services.ledger.adapters.journal.budgets import Budgets, Release, Reserve
from services.ledger.core.budgets import Decision

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Changes that may wait for their turn; a caller gives up long before that many have gone."""
GROUP_CHANGES = 1_000
"""Changes in one commit at the most, so that no caller waits long for the others."""
MAX_ENDED = 20_000
"""Legs that were given back and are remembered. A router may give back while its Reserve, on another
connection, has yet to be read."""
FULL_RETRY_S = 1
"""Seconds after which a caller may come back to a full queue."""

Change: TypeAlias = Reserve | Release


class Reservations:
    """The thread that changes the budgets, one a ledger process."""

    def __init__(self, budgets: Budgets) -> None:
        """Starts the thread. Needs a running event loop."""
        self.budgets = budgets
        self._loop = asyncio.get_running_loop()
        self._arrived = threading.Condition()
        self._waiting: list[tuple[Sequence[Change], asyncio.Future[list[Decision | None]]]] = []
        self._count = 0
        self._ended: OrderedDict[bytes, None] = OrderedDict()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reservations", daemon=True)
        self._thread.start()

    def ended(self, leg_id: bytes) -> bool:
        """True if the leg was given back: its Reserve comes too late, and nobody would give it back again."""
        return leg_id in self._ended

    async def put(self, changes: Sequence[Change]) -> list[Decision | None]:
        """Returns when the changes are durable.

        Returns:
            A decision for each Reserve, None for each Release.

        Raises:
            DomainError: QUEUE_FULL or STORAGE_UNAVAILABLE; nothing was changed.
        """
        future: asyncio.Future[list[Decision | None]] = self._loop.create_future()
        self._ended.update((item.leg_id, None) for item in changes if isinstance(item, Release))
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        with self._arrived:
            if self._count and self._count + len(changes) > MAX_WAITING:
                raise DomainError(
                    Reason.QUEUE_FULL,
                    f"{self._count} reservations wait for the journal; come back in {FULL_RETRY_S} s",
                    queue="reservations",
                    limit=MAX_WAITING,
                    retry_after_s=FULL_RETRY_S,
                )
            self._waiting.append((changes, future))
            self._count += len(changes)
            self._arrived.notify()
        return await future

    def close(self, timeout_s: float) -> None:
        """Does what waits, and stops."""
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                group, size = [], 0
                while self._waiting and size < GROUP_CHANGES:
                    item = self._waiting.pop(0)
                    size += len(item[0])
                    # Who has gone would not hear of it. (One that goes from now on gives it back: a router
                    # that got no answer either books the leg or settles it with 0.)
                    if not item[1].cancelled():
                        group.append(item)
                self._count -= size
            if group:
                self._commit(group)

    def _commit(self, group: list[tuple[Sequence[Change], asyncio.Future[list[Decision | None]]]]) -> None:
        result: list[Decision | None] | Exception
        try:
            result = self.budgets.change([item for asked, _ in group for item in asked], int(time.time()))
        except DomainError as problem:
            log.error("budgets are not changed: %s", problem.message)
            result = problem
        # A defect must not end the thread unseen: everybody behind would wait for good.
        except Exception as defect:
            log.exception("budgets are not changed")
            result = defect
        at = 0
        for changes, future in group:
            part = result if isinstance(result, Exception) else result[at : at + len(changes)]
            at += len(changes)
            self._loop.call_soon_threadsafe(_answer, future, part)


def _answer(future: asyncio.Future[list[Decision | None]], part: list[Decision | None] | Exception) -> None:
    if future.done():
        return
    if isinstance(part, Exception):
        future.set_exception(part)
    else:
        future.set_result(part)
