"""Shares the model among requests: some in work, turned in a circle token by token, the rest in a queue."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deploy.triton.cpu.serving.generation import Chunk, Generation, Lane

CANCEL_CHECK_NS = 2_000_000
"""A request is asked before each token whether it is cancelled, but not more often than this: to ask takes
Triton's process, 0.1 to 0.3 ms, and a small model makes a token in that time."""
POLL_S = 0.05
"""The longest nap while all that is in work is delayed: a new request is admitted after it."""


class Lanes(Protocol):
    """What the scheduler needs of the engine."""

    def take(self, prompt: Sequence[int]) -> Lane:
        """A free lane."""

    def give_back(self, lane: Any) -> None:
        """Takes back one that it gave."""


class Reply(Protocol):
    """Where the answer of one request goes."""

    def is_cancelled(self) -> bool:
        """True if nobody waits for it any more."""

    def send(self, generation: Generation, chunk: Chunk) -> None:
        """Sends a chunk; the one with a finish reason is the last."""

    def cancelled(self, generation: Generation) -> None:
        """Ends it unanswered: nobody waits."""

    def failed(self, generation: Generation, error: Exception) -> None:
        """Ends it with an error that is the server's."""


class FullError(Exception):
    """The queue is full; the message says how long it is."""


@dataclass(slots=True, eq=False)
class _Work:
    generation: Generation
    reply: Reply
    due_ns: int = 0
    checked_ns: int = 0


class Scheduler:
    """One thread that owns the model. Anyone may `submit`."""

    def __init__(self, lanes: Lanes, in_work: int, queued: int, token_delay_ms: float = 0.0) -> None:
        """Starts the thread.

        Args:
            in_work: how many requests are turned at a time; as many lanes there must be.
            queued: how many may wait.
            token_delay_ms: waits this long after each token of a request: a slow replica, for drills.
        """
        self._lanes = lanes
        self._in_work = in_work
        self._queued = queued
        self._delay_ns = round(token_delay_ms * 1e6)
        self._queue: deque[_Work] = deque()
        self._active: list[_Work] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation, reply: Reply) -> None:
        """Queues a request.

        Raises:
            FullError: too many wait.
        """
        with self._changed:
            if len(self._queue) >= self._queued:
                self._drop_cancelled()
            if len(self._queue) >= self._queued:
                raise FullError(f"{self._queued} requests wait already; try another replica, or later")
            self._queue.append(_Work(generation, reply))
            self._changed.notify()

    @property
    def load(self) -> tuple[int, int]:
        """How many are in work, and how many wait."""
        return len(self._active), len(self._queue)

    def close(self) -> None:
        """Ends the thread; what is still there is answered with an error."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        for work in (*self._active, *self._queue):
            work.reply.failed(work.generation, RuntimeError("the server stops"))

    def _run(self) -> None:
        while self._admit():
            self._turn_all()

    def _turn_all(self) -> None:
        now = time.time_ns()
        due = [work for work in self._active if work.due_ns <= now]
        for work in due:
            self._turn(work, time.time_ns())
        if not due:
            earliest = min(work.due_ns for work in self._active)
            time.sleep(min(POLL_S, max(0, earliest - now) / 1e9))

    def _admit(self) -> bool:
        """Waits for work, and takes from the queue what there is room for; false at the end."""
        with self._changed:
            while not (self._active or self._queue or self._closing):
                self._changed.wait()
            while len(self._active) < self._in_work and self._queue:
                work = self._queue.popleft()
                if work.reply.is_cancelled():
                    work.reply.cancelled(work.generation)
                    continue
                work.generation.start(self._lanes.take(work.generation.prompt), time.time_ns())
                self._active.append(work)
            return not self._closing

    def _turn(self, work: _Work, now_ns: int) -> None:
        try:
            if now_ns - work.checked_ns >= CANCEL_CHECK_NS:
                work.checked_ns = now_ns
                if work.reply.is_cancelled():
                    self._leave(work)
                    work.reply.cancelled(work.generation)
                    return
            chunk = work.generation.turn(time.time_ns)
            work.due_ns = time.time_ns() + self._delay_ns if self._delay_ns else 0
            if work.generation.finish_reason is not None:
                self._leave(work)
            if chunk is not None:
                work.reply.send(work.generation, chunk)
        # One request's trouble, whatever it is, must not end the thread that serves all.
        except Exception as error:
            self._leave(work)
            work.reply.failed(work.generation, error)

    def _leave(self, work: _Work) -> None:
        if work in self._active and work.generation.lane is not None:
            self._active.remove(work)
            self._lanes.give_back(work.generation.lane)

    def _drop_cancelled(self) -> None:
        for work in list(self._queue):
            if work.reply.is_cancelled():
                self._queue.remove(work)
                work.reply.cancelled(work.generation)
