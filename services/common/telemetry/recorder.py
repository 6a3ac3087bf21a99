"""Records spans through OpenTelemetry's API, with less work on the path than its SDK does.

A request has two spans in the router. The SDK's take about 100 µs of it (locks, bounded and cleaned
attributes, a copy at the end); these take a third of that, and leave the rest to the exporter's thread
(`docs/decisions/0002-spans-straight-to-clickhouse.md`). Instrumented code sees OpenTelemetry's API alone.

Context follows W3C Trace Context; a parent's decision to sample is kept, a root is sampled by its trace id
as the SDK's TraceIdRatioBased does, so that all services of all languages decide alike.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
    TraceState,
)

log = logging.getLogger(__name__)

QUEUE_SPANS = 16_384
"""Spans that may wait for export: eight seconds' worth at a thousand requests a second. More are dropped
and counted."""
BATCH_SPANS = 512
"""Spans in one export; larger ones hold the interpreter longer than they save."""
EXPORT_EVERY_S = 0.5
"""Longest wait of a span: a trace can be opened about a second after its request."""
SHUTDOWN_S = 10.0
"""How long the last export may take."""
MAX_MESSAGE_CHARS = 1_000
"""Characters of a status that are kept."""

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)
_LOW_64_BITS = (1 << 64) - 1
_NO_STATE = TraceState()
_random = random.Random()

Attributes = Mapping[str, Any] | None
Event = tuple[int, str, dict[str, Any]]
"""Time in nanoseconds since the epoch, name, attributes."""


class RecordedSpan(Span):
    """A span that is being recorded. Owned by one task: unlike the SDK's, it takes no lock."""

    __slots__ = (
        "_recorder",
        "attributes",
        "context",
        "end_ns",
        "events",
        "kind",
        "message",
        "name",
        "parent",
        "scope",
        "start_ns",
        "status",
    )

    def __init__(
        self,
        recorder: Recorder,
        scope: str,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        start_ns: int,
    ) -> None:
        self._recorder = recorder
        self.scope = scope
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.attributes: dict[str, Any] = dict(attributes) if attributes else {}
        self.events: list[Event] = []
        self.start_ns = start_ns
        self.end_ns = 0
        self.status = StatusCode.UNSET
        self.message = ""

    def end(self, end_time: int | None = None) -> None:
        """Ends the span and hands it to the exporter; a second time changes nothing."""
        if not self.end_ns:
            self.end_ns = end_time or time.time_ns()
            self._recorder.ended(self)

    def get_span_context(self) -> SpanContext:
        """Its identity."""
        return self.context

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Adds attributes; values are texts, numbers or truths."""
        self.attributes.update(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        """Adds one attribute."""
        self.attributes[key] = value

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Adds something that happened at a time."""
        self.events.append((timestamp or time.time_ns(), name, dict(attributes) if attributes else {}))

    def update_name(self, name: str) -> None:
        """Renames it."""
        self.name = name

    def is_recording(self) -> bool:
        """True until it has ended."""
        return not self.end_ns

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Says how it went; OK is final, as the specification has it."""
        if self.status is StatusCode.OK:
            return
        if isinstance(status, Status):
            self.status, description = status.status_code, status.description
        else:
            self.status = status
        self.message = (description or "")[:MAX_MESSAGE_CHARS]

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Adds an exception as an event, with its stack but without its message: that may quote a prompt."""
        known = {
            "exception.type": type(exception).__qualname__,
            "exception.stacktrace": "".join(traceback.format_tb(exception.__traceback__)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**known, **(attributes or {})}, timestamp)


Export = Callable[[Sequence[RecordedSpan]], bool]
"""Takes a batch in the exporter's thread; false if it was lost. Must not raise."""


class Recorder(TracerProvider):
    """The tracer provider of a process, with the thread that exports."""

    def __init__(self, export: Export, sample_ratio: float, close: Callable[[], None]) -> None:
        """`close` is called after the last export."""
        self._export = export
        self._close = close
        self._bound = round(sample_ratio * (1 << 64))
        self._queue: deque[RecordedSpan] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self.dropped = 0
        """Spans that were dropped because the queue was full."""
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """A tracer whose name is the scope of its spans."""
        return RecordingTracer(self, instrumenting_module_name)

    def samples(self, trace_id: int) -> bool:
        """Whether a trace that begins here is recorded."""
        return trace_id & _LOW_64_BITS < self._bound

    def ended(self, span: RecordedSpan) -> None:
        """Takes a span that has ended; never blocks."""
        queue = self._queue
        if len(queue) >= QUEUE_SPANS:
            if not self.dropped:
                log.warning("spans are dropped: the export does not keep up")
            self.dropped += 1
            return
        queue.append(span)
        if len(queue) == BATCH_SPANS:
            self._wake.set()

    def shutdown(self) -> None:
        """Exports what waits, and ends the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(SHUTDOWN_S)

    def _run(self) -> None:
        queue = self._queue
        while True:
            stopping = self._stopping
            if not stopping:
                self._wake.wait(EXPORT_EVERY_S)
                self._wake.clear()
            while queue:
                self._export([queue.popleft() for _ in range(min(len(queue), BATCH_SPANS))])
            if stopping:
                break
        self._close()


class RecordingTracer(Tracer):
    """Starts spans."""

    def __init__(self, recorder: Recorder, scope: str) -> None:
        self._recorder = recorder
        self._scope = scope

    def start_span(
        self,
        name: str,
        context: otel_context.Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Any = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """A span under the context's, or a new trace. Links are not kept: nothing here makes any."""
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is not None and parent.is_valid:
            trace_id, state = parent.trace_id, parent.trace_state
            sampled = parent.trace_flags.sampled
        else:
            parent, state = None, _NO_STATE
            trace_id = _random.getrandbits(128) or 1
            sampled = self._recorder.samples(trace_id)
        own = SpanContext(
            trace_id, _random.getrandbits(64) or 1, False, _SAMPLED if sampled else _NOT_SAMPLED, state
        )
        if not sampled:
            return NonRecordingSpan(own)
        began = start_time or time.time_ns()
        return RecordedSpan(self._recorder, self._scope, name, own, parent, kind, attributes, began)

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # its own type of context manager is private
        self,
        name: str,
        context: otel_context.Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Any = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        """The same, as the current span of a block."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ):
            yield span
