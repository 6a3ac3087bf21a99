"""Calls between services: who gives up is heard, errors keep their code, and traces nobody's text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from opentelemetry import trace

from services.common.errors import DomainError, Reason
from services.common.interceptors import StreamClientInterceptor, UnaryClientInterceptor, refusal
from services.common.server import Server, channel
from services.common.telemetry.recorder import MAX_MESSAGE_CHARS, RecordedSpan, Recorder
from tests.support.stack import until

MARKER = "the zebra's password is xylophone"
LONG = 30_000


class Failing(classifier_pb2_grpc.ClassifierServiceServicer):
    """Fails as it is told, or never answers."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def Classify(self, request: Any, context: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def WatchWorkloads(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield classifier_pb2.WatchWorkloadsResponse(version=1)
        assert self.error is not None
        raise self.error


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RecordedSpan]]:
    """The spans of both sides that have ended."""
    ended: list[RecordedSpan] = []
    recorder = Recorder(lambda batch: True, 1.0, lambda: None)
    monkeypatch.setattr(recorder, "ended", ended.append)
    monkeypatch.setattr(trace, "get_tracer", recorder.get_tracer)
    yield ended
    recorder.shutdown()


@asynccontextmanager
async def serving(servicer: Failing) -> AsyncIterator[classifier_pb2_grpc.ClassifierServiceStub]:
    server = Server()
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(servicer, server.grpc)
    port = await server.start("127.0.0.1:0")
    try:
        async with channel(
            f"127.0.0.1:{port}", [UnaryClientInterceptor(), StreamClientInterceptor()]
        ) as opened:
            yield classifier_pb2_grpc.ClassifierServiceStub(opened)
    finally:
        await server.stop(0)


async def failed(stub: Any, streamed: bool, spans: list[RecordedSpan]) -> aio.AioRpcError:
    """How a call fails, once both sides' spans have ended: the server's may be the last."""

    async def call() -> None:
        if streamed:
            async for _ in stub.WatchWorkloads(classifier_pb2.WatchWorkloadsRequest()):
                pass
        else:
            await stub.Classify(classifier_pb2.ClassifyRequest())

    with pytest.raises(aio.AioRpcError) as caught:
        await call()

    async def both() -> bool:
        return {span.kind for span in spans} == {trace.SpanKind.SERVER, trace.SpanKind.CLIENT}

    await until(both, "both spans have ended")
    return caught.value


@pytest.mark.parametrize("how", ["the task", "the call"])
async def test_a_call_that_is_given_up_ends_at_the_server(how: str, spans: list[RecordedSpan]) -> None:
    servicer = Failing()
    async with serving(servicer) as stub:
        call = stub.Classify(classifier_pb2.ClassifyRequest())

        async def answer() -> None:
            await call

        waiting = asyncio.create_task(answer())
        await servicer.began.wait()
        (waiting if how == "the task" else call).cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await servicer.cancelled.wait()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("sign", ["a", "ж", "龍", "😀", "\ud800", "\n", "%"], ids=ascii)
async def test_an_error_with_long_texts_keeps_its_code_and_reason(
    sign: str, streamed: bool, spans: list[RecordedSpan]
) -> None:
    text = sign * LONG
    details = {f"detail_{index}": text for index in range(4)}
    servicer = Failing(DomainError(Reason.BUDGET_EXHAUSTED, text, **details, retry_after_s=3))
    async with serving(servicer) as stub:
        error = await failed(stub, streamed, spans)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    heard = refusal(error)
    assert heard is not None
    assert (heard.reason, heard.retry_after_s) == (Reason.BUDGET_EXHAUSTED, 3)
    readable = text.replace("\ud800", "?")
    assert 0 < len(heard.message) < LONG
    assert readable.startswith(heard.message)
    assert all(readable.startswith(heard.metadata[key]) and heard.metadata[key] for key in details)
    assert all(len(span.message) <= MAX_MESSAGE_CHARS for span in spans)


async def test_a_short_error_arrives_as_it_was_said(spans: list[RecordedSpan]) -> None:
    said = DomainError(Reason.INVALID_REQUEST, "`x` must be a ž, not 1", field="x", expected="a ž", got=1)
    async with serving(Failing(said)) as stub:
        error = await failed(stub, False, spans)
    heard = refusal(error)
    assert heard is not None
    assert (heard.message, heard.metadata, error.details()) == (said.message, said.metadata, said.message)
    server = next(span for span in spans if span.kind is trace.SpanKind.SERVER)
    assert (server.message, server.attributes["error.type"]) == (said.message, "INVALID_REQUEST")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("reason", [Reason.UPSTREAM_REJECTED, Reason.UPSTREAM_BROKEN])
async def test_no_span_has_what_a_model_server_said(
    reason: Reason, streamed: bool, spans: list[RecordedSpan]
) -> None:
    said = DomainError(reason, f"upstream 'vllm' answered 400: input: {MARKER}", message=MARKER)
    async with serving(Failing(said)) as stub:
        error = await failed(stub, streamed, spans)
    assert MARKER in (error.details() or "")
    for span in spans:
        assert MARKER not in repr((span.message, span.attributes, span.events))
    assert reason in {span.attributes["error.type"] for span in spans}
