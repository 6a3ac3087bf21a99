"""What shadow has found, on its way to ClickHouse: a thread sends it in batches, and nothing waits for it.

The store keeps everything, and how far it was sent. What was sent and not noted is sent again, and replaces
itself: ClickHouse may be away for days, and shadow may be killed at any time, and each row counts once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from services.shadow.adapters.clickhouse import Book, ClosedWindow
from services.shadow.adapters.store import Count, Finished
from services.shadow.core.experiment import Experiment
from services.shadow.core.verdict import Window

log = logging.getLogger(__name__)

BATCH_ROWS = 5_000
"""Rows of one insert at most. Each insert is a part on ClickHouse's disk."""
INTERVAL_S = 1.0
"""Longest wait for company."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
"""After a failure; the pause doubles in between."""
VERDICT_LANES = ("", "cloud", "degraded")
"""`after` feeds the alarm, which has no windows."""

TRIPLETS, COUNTS, WINDOWS = "shipped triplets", "shipped counts", "shipped windows"
"""Names of the store's states that say how far was sent. Without them everything is sent anew."""


class Shelf(Protocol):
    """What of the store is read here."""

    def experiments(self) -> list[Experiment]:
        """All epochs."""

    def all_finished(self, since_rowid: int, limit: int) -> list[tuple[int, Finished]]:
        """The triplets after a number, each with its own."""

    def counts(self, since_seq: int, limit: int) -> list[tuple[int, Count]]:
        """Counts that changed after a number, each as it is now and with the number of its last change."""

    def get_state(self, name: str) -> bytes | None:
        """A small state; None if there is none."""

    def set_state(self, name: str, value: bytes) -> None:
        """Sets it for good."""


class Shipping:
    """The thread."""

    def __init__(
        self,
        store: Shelf,
        book: Book,
        evidence: Callable[[Experiment, str], Sequence[Window]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            store: where the rows are.
            book: where they go. This thread's alone from now on.
            evidence: the closed windows of an epoch and lane, oldest first. Called in the thread.
            clock: seconds since the epoch.
        """
        self._store = store
        self._book = book
        self._evidence = evidence
        self._clock = clock
        self._closing = threading.Event()
        # A daemon: a ClickHouse that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="shipping", daemon=True)

    def start(self) -> None:
        """Begins; ClickHouse need not be there yet."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Sends once more what is there, for `timeout_s` at most, and ends the thread."""
        self._closing.set()
        self._thread.join(timeout_s)

    def ship(self) -> int:
        """Sends all that is there. To be repeated; the number of rows.

        Raises:
            clickhouse_connect.driver.exceptions.Error, OSError: ClickHouse does not take it.
            DomainError: STORAGE_UNAVAILABLE, of the store.
        """
        self._book.connect()
        return _all(self._triplets) + _all(self._counts) + self._windows()

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        last = False
        while not last:
            last = self._closing.is_set()
            try:
                self.ship()
                pause_s, wait_s = FIRST_PAUSE_S, INTERVAL_S
            except Exception as error:
                if not isinstance(error, ClickHouseError | OSError):
                    log.exception("what shadow has found can't be sent to ClickHouse; it waits")
                elif pause_s == FIRST_PAUSE_S:
                    log.info("what shadow has found waits for ClickHouse: %s", str(error).split("\n")[0])
                self._book.close()
                wait_s, pause_s = pause_s, min(2 * pause_s, LONGEST_PAUSE_S)
            if not last:
                self._closing.wait(wait_s)
        self._book.close()

    def _triplets(self) -> int:
        rows = self._store.all_finished(self._sent(TRIPLETS), BATCH_ROWS)
        if rows:
            self._book.add_triplets([row for _, row in rows])
            self._note(TRIPLETS, rows[-1][0])
        return len(rows)

    def _counts(self) -> int:
        rows = self._store.counts(self._sent(COUNTS), BATCH_ROWS)
        if rows:
            workloads = {
                (item.experiment_id, item.epoch): item.workload for item in self._store.experiments()
            }
            # A router may count for an experiment that this store never had.
            self._book.add_counts(
                [(row, workloads.get((row.experiment_id, row.epoch), "")) for _, row in rows]
            )
            self._note(COUNTS, rows[-1][0])
        return len(rows)

    def _windows(self) -> int:
        now_us = int(self._clock() * 1e6)
        rows: list[ClosedWindow] = []
        for experiment in self._store.experiments():
            for lane in VERDICT_LANES:
                sent = self._sent(_name(experiment, lane), experiment.start_unix_us - experiment.window_us)
                if now_us < experiment.closes(sent + experiment.window_us):
                    continue
                rows += [
                    ClosedWindow(experiment, lane, window)
                    for window in self._evidence(experiment, lane)
                    if window.start_unix_us > sent
                ]
        for start in range(0, len(rows), BATCH_ROWS):
            batch = rows[start : start + BATCH_ROWS]
            self._book.add_windows(batch)
            # The last of each lane stands last.
            for name, start_us in {
                _name(row.experiment, row.lane): row.window.start_unix_us for row in batch
            }.items():
                self._note(name, start_us)
        return len(rows)

    def _sent(self, name: str, default: int = 0) -> int:
        value = self._store.get_state(name)
        return default if value is None else int(value)

    def _note(self, name: str, number: int) -> None:
        self._store.set_state(name, str(number).encode())


def _all(send: Callable[[], int]) -> int:
    """Sends batch after batch until one was not full."""
    sent = 0
    while True:
        rows = send()
        sent += rows
        if rows < BATCH_ROWS:
            return sent


def _name(experiment: Experiment, lane: str) -> str:
    return f"{WINDOWS} {experiment.experiment_id.hex()} {experiment.epoch} {lane}".rstrip()
