"""Spans through OpenTelemetry's API: who is sampled, what is kept, and that nothing blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.telemetry import recorder as recorder_module
from services.common.telemetry.otlp import OtlpExporter
from services.common.telemetry.recorder import MAX_MESSAGE_CHARS, RecordedSpan, Recorder


class Kept:
    """An exporter that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []
        self.closed = False

    def export(self, spans: Sequence[RecordedSpan]) -> bool:
        self.spans += spans
        return True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kept() -> Kept:
    return Kept()


def recorder(kept: Kept, ratio: float = 1.0) -> Recorder:
    return Recorder(kept.export, ratio, kept.close)


def context(flags: str) -> Any:
    carrier = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flags}", "tracestate": "vendor=1"}
    return TraceContextTextMapPropagator().extract(carrier)


@pytest.mark.parametrize(
    ("flags", "ratio", "recorded"), [("01", 0.0, True), ("00", 1.0, False), ("01", 1.0, True)]
)
def test_a_parents_decision_is_kept(kept: Kept, flags: str, ratio: float, recorded: bool) -> None:
    spans = recorder(kept, ratio)
    span = spans.get_tracer("t").start_span("x", context(flags))
    own = span.get_span_context()
    assert (own.trace_id, own.trace_flags.sampled) == (int("a" * 32, 16), recorded)
    assert own.trace_state.get("vendor") == "1"
    assert own.span_id != int("b" * 16, 16)
    span.end()
    spans.shutdown()
    assert [item.parent.span_id for item in kept.spans if item.parent] == [int("b" * 16, 16)] * recorded


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 1.0])
def test_a_root_is_sampled_as_the_sdk_would(kept: Kept, ratio: float) -> None:
    spans = recorder(kept, ratio)
    theirs = TraceIdRatioBased(ratio)
    for _ in range(2000):
        own = spans.get_tracer("t").start_span("x", trace.set_span_in_context(trace.INVALID_SPAN))
        trace_id = own.get_span_context().trace_id
        decided = theirs.should_sample(None, trace_id, "x").decision.is_sampled()
        assert own.get_span_context().trace_flags.sampled is decided
    spans.shutdown()


@pytest.mark.parametrize(
    "wrap", [lambda text: (Status(StatusCode.ERROR, text),), lambda text: (StatusCode.ERROR, text)]
)
def test_of_a_long_status_the_beginning_is_kept(kept: Kept, wrap: Callable[[str], Any]) -> None:
    spans = recorder(kept)
    with spans.get_tracer("scope").start_as_current_span("x") as span:
        span.set_status(*wrap("ab" * 30_000))
    spans.shutdown()
    (only,) = kept.spans
    assert (only.status, only.message) == (StatusCode.ERROR, "ab" * (MAX_MESSAGE_CHARS // 2))


def test_what_is_set_is_kept_and_the_end_counts_once(kept: Kept) -> None:
    spans = recorder(kept)
    span = spans.get_tracer("scope").start_span("x", attributes={"a": 1})
    span.set_attributes({"b": "2"})
    span.set_attribute("c", True)
    span.add_event("retry", {"attempt": 1})
    try:
        int("my secret")
    except ValueError as error:
        span.record_exception(error)
    span.set_status(StatusCode.ERROR, "broken")
    assert span.is_recording()
    span.end()
    span.end()
    assert not span.is_recording()
    spans.shutdown()
    (only,) = kept.spans
    assert only.attributes == {"a": 1, "b": "2", "c": True}
    assert [name for _, name, _ in only.events] == ["retry", "exception"]
    told = only.events[1][2]
    assert told["exception.type"] == "ValueError"
    assert __file__ in str(told["exception.stacktrace"])
    assert "invalid literal" not in str(told), "what was wrong with a value may quote it"
    assert (only.status, only.message, only.scope) == (StatusCode.ERROR, "broken", "scope")
    assert only.end_ns >= only.start_ns
    assert kept.closed


def test_a_block_that_raises_ends_its_span_as_an_error(kept: Kept) -> None:
    spans = recorder(kept)
    with pytest.raises(KeyError), spans.get_tracer("t").start_as_current_span("x"):
        raise KeyError("gone")
    spans.shutdown()
    assert kept.spans[0].status is StatusCode.ERROR


def test_a_full_queue_drops_and_counts_and_never_blocks(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "QUEUE_SPANS", 10)
    monkeypatch.setattr(recorder_module, "BATCH_SPANS", 1)
    held, entered = threading.Event(), threading.Event()

    def stuck(spans: Sequence[RecordedSpan]) -> bool:
        entered.set()
        held.wait(30)
        return kept.export(spans)

    spans = Recorder(stuck, 1.0, kept.close)
    tracer = spans.get_tracer("t")
    tracer.start_span("first").end()
    assert entered.wait(30)
    for _ in range(15):
        tracer.start_span("x").end()
    assert spans.dropped == 5
    held.set()
    spans.shutdown()
    assert len(kept.spans) == 11


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector's trace service."""

    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def test_otlp_brings_the_same_spans_to_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    add: Callable[..., None] = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    exporter = OtlpExporter(Resource.create({"service.name": "router"}))
    spans = Recorder(exporter.export, 1.0, exporter.close)
    span = spans.get_tracer("scope").start_span("x", context("01"), attributes={"a": 1})
    span.add_event("retry", {"attempt": 1})
    span.set_status(StatusCode.ERROR, "broken")
    span.end()
    spans.shutdown()
    server.stop(None)
    (resource,) = collector.requests[0].resource_spans
    (sent,) = resource.scope_spans[0].spans
    assert (sent.name, sent.trace_id.hex(), sent.parent_span_id.hex()) == ("x", "a" * 32, "b" * 16)
    assert (sent.status.message, sent.events[0].name) == ("broken", "retry")
    assert {item.key: item.value.int_value for item in sent.attributes} == {"a": 1}
