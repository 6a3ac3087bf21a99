"""Micro-batches: what waits while the model is busy goes into its next call together.

Nothing waits for company. An idle model takes a request at once; a busy one finds a few when it is done.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.common.errors import DomainError, Reason

Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(slots=True)
class _Waiting(Generic[Q, R]):
    request: Q
    deadline: float
    """On the monotonic clock: nobody wants the reading after it."""
    reading: asyncio.Future[R]


class Batcher(Generic[Q, R]):
    """Hands requests to the model in batches. One a process; needs a running event loop."""

    def __init__(
        self,
        read: Callable[[Sequence[Q]], list[R]],
        *,
        workers: int,
        batch_requests: int,
        queue_requests: int,
    ) -> None:
        """Starts the workers.

        Args:
            read: reads a batch; is called from `workers` threads.
            workers: batches that are read at once.
            batch_requests: requests in one batch at most.
            queue_requests: requests that may wait; more are refused.
        """
        self._read = read
        self._batch_requests = batch_requests
        self._queue_requests = queue_requests
        self._queue: deque[_Waiting[Q, R]] = deque()
        self._arrived = asyncio.Semaphore(0)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="read")
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]
        self.late = 0
        """Requests that nobody waited for any more when their turn came."""
        self.refused = 0
        """Requests that found the queue full."""

    async def read(self, request: Q, timeout_s: float | None) -> R:
        """The reading of one request.

        Raises:
            DomainError: QUEUE_FULL.
            TimeoutError: it was not its turn within `timeout_s`.
        """
        if len(self._queue) >= self._queue_requests:
            self.refused += 1
            raise DomainError(
                Reason.QUEUE_FULL,
                "more requests wait for the classifier than [classifier] queue_requests allows",
                queue="classify",
                limit=self._queue_requests,
                retry_after_s=1,
            )
        deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
        waiting: _Waiting[Q, R] = _Waiting(request, deadline, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._arrived.release()
        return await waiting.reading

    async def close(self) -> None:
        """Stops the workers; who still waits is cancelled."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for waiting in self._queue:
            waiting.reading.cancel()
        await asyncio.to_thread(self._threads.shutdown)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.acquire()
            batch = self._take()
            if not batch:
                continue
            try:
                readings = await loop.run_in_executor(
                    self._threads, self._read, [item.request for item in batch]
                )
            except Exception as error:
                for item in batch:
                    if not item.reading.done():
                        item.reading.set_exception(error)
                continue
            except asyncio.CancelledError:
                for item in batch:
                    item.reading.cancel()
                raise
            for item, reading in zip(batch, readings, strict=True):
                if not item.reading.done():
                    item.reading.set_result(reading)

    def _take(self) -> list[_Waiting[Q, R]]:
        batch: list[_Waiting[Q, R]] = []
        now = time.monotonic()
        while self._queue and len(batch) < self._batch_requests:
            item = self._queue.popleft()
            if item.reading.done():
                self.late += 1
            elif item.deadline < now:
                self.late += 1
                item.reading.set_exception(TimeoutError("it was not its turn in time"))
            else:
                batch.append(item)
        return batch
