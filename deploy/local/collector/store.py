"""Stores spans from a thread of its own: a bounded queue, batches, another try when ClickHouse is away."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from deploy.local.collector.spans import Received, ReceivedSpan
from services.common.settings import ClickHouse
from services.common.telemetry.recorder import RecordedSpan
from services.common.telemetry.span_exporter import ClickHouseSpanExporter

log = logging.getLogger(__name__)

QUEUE_SPANS = 20_000
BATCH_SPANS = 512
EVERY_S = 0.25
"""How long a span waits for others."""
RETRY_S = 0.5
RETRY_MOST_S = 2.0
TRIES = 45
"""After so many a batch is given up: about a minute and a half."""
EXPORTERS = 16
"""How many processes keep a connection of their own."""


@dataclass(slots=True)
class Counts:
    """What became of the spans, since the start."""

    received: int = 0
    stored: int = 0
    shed: int = 0
    """Not taken: the queue was full."""
    lost: int = 0
    """Taken, and given up."""


class Store:
    """The queue and its thread."""

    def __init__(self, clickhouse: ClickHouse, queue_spans: int = QUEUE_SPANS) -> None:
        """Starts the thread; connects when the first span comes."""
        self.counts = Counts()
        self._clickhouse = clickhouse
        self._room = queue_spans
        self._queue: deque[tuple[Mapping[str, str], ReceivedSpan]] = deque()
        self._exporters: dict[tuple[tuple[str, str], ...], ClickHouseSpanExporter] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._queue)

    def put(self, received: Received) -> int:
        """Takes what there is room for; never blocks.

        Returns:
            How many spans it did not take.
        """
        room = max(0, self._room - len(self._queue))
        self._queue.extend((received.resource, span) for span in received.spans[:room])
        shed = max(0, len(received.spans) - room)
        self.counts.received += len(received.spans)
        self.counts.shed += shed
        return shed

    def close(self) -> None:
        """Stores what waits, with one try a batch, and ends the thread."""
        self._stopping.set()
        self._thread.join()
        for exporter in self._exporters.values():
            exporter.close()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH_SPANS, len(self._queue)))]
            groups: dict[tuple[tuple[str, str], ...], list[ReceivedSpan]] = {}
            for resource, span in batch:
                groups.setdefault(tuple(sorted(resource.items())), []).append(span)
            for key, spans in groups.items():
                if self._insert(key, spans):
                    self.counts.stored += len(spans)
                else:
                    self.counts.lost += len(spans)
                    log.warning("%d spans are given up", len(spans))

    def _insert(self, key: tuple[tuple[str, str], ...], spans: Sequence[ReceivedSpan]) -> bool:
        wait_s = RETRY_S
        for _ in range(TRIES):
            # The exporter reads just the fields that a received span has too.
            if self._exporter(key).export(cast(Sequence[RecordedSpan], spans)):
                return True
            if self._stopping.wait(wait_s):
                return False
            wait_s = min(RETRY_MOST_S, wait_s * 2)
        return False

    def _exporter(self, key: tuple[tuple[str, str], ...]) -> ClickHouseSpanExporter:
        if key not in self._exporters:
            if len(self._exporters) >= EXPORTERS:
                self._exporters.pop(next(iter(self._exporters))).close()
            self._exporters[key] = ClickHouseSpanExporter(self._clickhouse, dict(key))
        return self._exporters[key]
