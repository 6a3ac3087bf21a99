"""Observations on their way to ClickHouse: a thread sends them in batches, and nothing waits for it.

They are a sample. Those that are lost, in an outage or a crash, only make it smaller, so they are kept in
memory and not on disk: what is booked goes through the ledger.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from services.common.clickhouse import connect
from services.common.settings import ClickHouse
from services.common.words import Evidence, TaskType, label

log = logging.getLogger(__name__)

QUEUE_ROWS = 50_000
"""Observations that may wait: some 20 MB, and at ten a second more than an hour of ClickHouse being away."""
BATCH_ROWS = 1_000
"""Observations in one insert at most. Each insert is a part on ClickHouse's disk."""
INTERVAL_S = 1.0
"""Longest wait for company."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
"""After a failure; the pause doubles in between."""
LOG_EVERY_S = 60.0
"""Least time between two lines about lost observations."""
CONNECT_TIMEOUT_S = 3
INSERT_TIMEOUT_S = 30
_NO_ID = bytes(16)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the classifier made of one request. It has no text."""

    observe_unix_ms: int
    """Milliseconds since the epoch."""
    request_id: bytes
    """16 bytes, or none."""
    workload: str
    """Empty if it was not named."""
    evidence: Evidence
    confidence: float
    """0 to 1."""
    task_type: TaskType
    task_type_confidence: float
    """0 to 1."""
    likeness: float | None
    """0 to 1: share of the workload's examples that fit it no better; None if it has none."""
    language_known: bool
    input_chars: int
    workload_version: int = 0
    """Of the workload that it was compared with; 0 without one."""
    example_count: int | None = None
    """How many examples that workload has; None if unknown."""


_COLUMNS: tuple[tuple[str, Callable[[Observation], Any]], ...] = (
    ("observe_time", lambda item: item.observe_unix_ms),
    # What a caller sends for an id must not stop the batch that it is in.
    ("request_id", lambda item: uuid.UUID(bytes=item.request_id if len(item.request_id) == 16 else _NO_ID)),
    ("workload", lambda item: item.workload),
    ("workload_version", lambda item: item.workload_version),
    ("evidence", lambda item: label(item.evidence)),
    ("confidence", lambda item: item.confidence),
    ("task_type", lambda item: label(item.task_type)),
    ("task_type_confidence", lambda item: item.task_type_confidence),
    ("likeness", lambda item: item.likeness),
    ("example_count", lambda item: item.example_count),
    ("language_known", lambda item: item.language_known),
    ("input_chars", lambda item: item.input_chars),
)


class Observations:
    """The queue and its thread. `add` may be called from any thread."""

    def __init__(self, settings: ClickHouse, *, queue_rows: int = QUEUE_ROWS) -> None:
        """Starts the thread; ClickHouse need not be there yet.

        Args:
            settings: where the rows go.
            queue_rows: rows that may wait; beyond them the oldest are dropped.
        """
        self._settings = settings
        self._queue: deque[Observation] = deque()
        self._queue_rows = queue_rows
        self._in_flight = 0
        self._lock = threading.Lock()
        self._full_batch = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._client: Client | None = None
        self.shed = 0
        """Observations that were dropped."""
        self._shed_logged = 0
        self._log_after = 0.0
        # A daemon: a ClickHouse that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="observations", daemon=True)
        self._thread.start()

    def add(self, observation: Observation) -> None:
        """Takes in one. Never waits for anything outside; after `close` it does nothing."""
        with self._lock:
            if self._closing.is_set():
                return
            if len(self._queue) >= self._queue_rows:
                self._queue.popleft()
                self.shed += 1
            self._queue.append(observation)
            if len(self._queue) >= BATCH_ROWS:
                self._full_batch.set()

    def close(self, timeout_s: float) -> None:
        """Sends what waits, for `timeout_s` at most, and ends the thread."""
        with self._lock:
            self._deadline = time.monotonic() + timeout_s
            self._closing.set()
        self._full_batch.set()
        self._thread.join(timeout_s)
        with self._lock:
            self.shed += len(self._queue) + self._in_flight
            self._queue.clear()
            self._in_flight = 0
        self._tell(at_once=True)

    def _work(self) -> None:
        closing = False
        while not closing:
            self._full_batch.wait(INTERVAL_S)
            self._full_batch.clear()
            closing = self._closing.is_set()
            self._tell()
            while batch := self._take():
                if not self._sent(batch):
                    return
                with self._lock:
                    self._in_flight = 0
                if len(batch) < BATCH_ROWS and not closing:
                    break
        self._forget_client()

    def _take(self) -> list[Observation]:
        with self._lock:
            self._in_flight = min(BATCH_ROWS, len(self._queue))
            return [self._queue.popleft() for _ in range(self._in_flight)]

    def _sent(self, batch: Sequence[Observation]) -> bool:
        """Sends a batch, again and again; False if the end came first."""
        # The same token each time: a batch whose answer was lost is not counted twice.
        token = uuid.uuid4().hex
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._insert(batch, token)
                return True
            except (ClickHouseError, OSError) as error:
                if pause_s == FIRST_PAUSE_S:
                    log.info("observations wait for ClickHouse: %s", str(error).split("\n")[0])
            except Exception:
                log.exception("a batch of observations can't be sent; it waits")
            self._forget_client()
            self._tell()
            # The end wakes it: there may be time for a few more tries.
            if self._closing.wait(pause_s):
                if time.monotonic() + FIRST_PAUSE_S > self._deadline:
                    return False
                time.sleep(FIRST_PAUSE_S)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _insert(self, batch: Sequence[Observation], token: str) -> None:
        if self._client is None:
            self._client = connect(
                self._settings, connect_s=CONNECT_TIMEOUT_S, answer_s=INSERT_TIMEOUT_S, durable=True
            )
        self._client.insert(
            "homeward.observations",
            [[read(item) for item in batch] for _, read in _COLUMNS],
            column_names=[name for name, _ in _COLUMNS],
            column_oriented=True,
            settings={"insert_deduplication_token": token},
        )

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _tell(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        with self._lock:
            lost = self.shed - self._shed_logged
            if not lost or (now < self._log_after and not at_once):
                return
            self._shed_logged = self.shed
            self._log_after = now + LOG_EVERY_S
        log.warning("observations were lost: ClickHouse did not take them in time", extra={"shed": lost})
