"""A span that came from elsewhere, in the shape of those that our own exporter inserts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import StatusCode

Event = tuple[int, str, dict[str, Any]]
"""Time in nanoseconds since the epoch, name, attributes."""

TRITON_SCOPE = "triton-server"
TRITON_ENTRY = "InferRequest"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_KINDS = {2: SpanKind.SERVER, 3: SpanKind.CLIENT, 4: SpanKind.PRODUCER, 5: SpanKind.CONSUMER}
_STATUS = {1: StatusCode.OK, 2: StatusCode.ERROR}


class BadBodyError(Exception):
    """A body is not what it says it is; the message says where."""


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span that has ended. Its fields are those of `RecordedSpan` that the exporter reads."""

    scope: str
    name: str
    context: SpanContext
    parent: SpanContext | None
    kind: SpanKind
    attributes: Mapping[str, Any]
    events: tuple[Event, ...]
    start_ns: int
    end_ns: int
    status: StatusCode
    message: str


@dataclass(frozen=True, slots=True)
class Received:
    """Spans of one process."""

    resource: Mapping[str, str]
    """Its attributes; `service.name` is always there."""
    spans: tuple[ReceivedSpan, ...]


def kind(number: int) -> SpanKind:
    """A kind by OTLP's number; an unknown one is internal."""
    return _KINDS.get(number, SpanKind.INTERNAL)


def status(number: int) -> StatusCode:
    """A status by OTLP's number."""
    return _STATUS.get(number, StatusCode.UNSET)


def context(trace_id: bytes, span_id: bytes, state: str = "") -> SpanContext:
    """The identity of a span.

    Raises:
        BadBodyError: an id has the wrong length, or is all zeros.
    """
    if len(trace_id) != 16 or len(span_id) != 8 or not any(trace_id) or not any(span_id):
        raise BadBodyError(f"not a trace and span id: {trace_id.hex()!r}, {span_id.hex()!r}")
    return SpanContext(
        int.from_bytes(trace_id), int.from_bytes(span_id), True, _SAMPLED, TraceState.from_header([state])
    )


def received(resource: Mapping[str, Any], spans: Iterable[ReceivedSpan]) -> Received:
    """Spans with their resource, tidied."""
    texts = {key: str(value) for key, value in resource.items()}
    texts.setdefault("service.name", "unknown_service")
    return Received(texts, tuple(map(tidy, spans)))


def tidy(span: ReceivedSpan) -> ReceivedSpan:
    """Triton's spans as a waterfall can show them; all others unchanged.

    Triton calls every one of its spans a server, and notes two events for each token that it sends, and when
    it began to wait for the request: kept are the first of each name within the span's own time.
    """
    if span.scope != TRITON_SCOPE:
        return span
    first: dict[str, Event] = {}
    for event in span.events:
        if span.start_ns <= event[0] <= span.end_ns:
            first.setdefault(event[1], event)
    inner = span.name != TRITON_ENTRY
    return replace(span, kind=SpanKind.INTERNAL if inner else span.kind, events=tuple(first.values()))
