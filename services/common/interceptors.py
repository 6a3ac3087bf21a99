"""The gRPC interceptors: tracing on both sides, and errors as google.rpc.Status.

OpenTelemetry's own leave a span unset on a server's exception or a deadline and never end it on a
cancellation (`docs/decisions/0003-own-grpc-interceptors.md`); these get the three right.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.errors import ERROR_DOMAIN, DomainError, Reason
from services.common.telemetry import attributes as names

log = logging.getLogger(__name__)
_propagator = TraceContextTextMapPropagator()
_OURS = "/homeward."

STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""Metadata in which gRPC carries a google.rpc.Status."""

MAX_MESSAGE_BYTES, MAX_DETAIL_BYTES, MAX_SHOWN_BYTES = 2_000, 500, 600
"""UTF-8 bytes of an error's message, of each of its metadata's values, and of `grpc-message`, which has the
message again for those who read no status. gRPC gives 8 KB to all of an error, and takes another code's place
for a larger one; a byte of `grpc-message` may take three, one of the status four thirds."""


def status_of(error: DomainError) -> status_pb2.Status:
    """The google.rpc.Status of a domain error, with its ErrorInfo and RetryInfo. Long texts are cut."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason.value,
        domain=ERROR_DOMAIN,
        metadata={key: _bounded(value, MAX_DETAIL_BYTES) for key, value in error.metadata.items()},
    )
    details = [any_pb2.Any()]
    details[0].Pack(info)
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.seconds = error.retry_after_s
        details.append(any_pb2.Any())
        details[1].Pack(retry)
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.meaning.grpc_code),
        message=_bounded(error.message, MAX_MESSAGE_BYTES),
        details=details,
    )


def _bounded(text: str, most_bytes: int) -> str:
    # A lone surrogate, which JSON can carry, has no UTF-8.
    return text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def refusal(error: aio.AioRpcError) -> DomainError | None:
    """What a Homeward service said when it refused a call: `status_of` read back; None if it said nothing.

    A reason of a later version is INTERNAL.
    """
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY:
            try:
                return _domain_error(status_pb2.Status.FromString(value))
            except DecodeError:
                return None
    return None


def _domain_error(status: status_pb2.Status) -> DomainError | None:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    if not any(item.Unpack(info) for item in status.details):
        return None
    metadata = dict(info.metadata)
    if any(item.Unpack(retry) for item in status.details):
        metadata["retry_after_s"] = str(retry.retry_delay.seconds)
    reason = Reason(info.reason) if info.reason in Reason.__members__ else Reason.INTERNAL
    return DomainError(reason, status.message, **metadata)


def untraced() -> tuple[tuple[str, str], ...]:
    """Metadata that keeps a call out of the traces: for long streams and for batches of many requests,
    which belong to no request's trace."""
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    return (("traceparent", f"00-{trace_id}-{span_id}-00"),)


class ServerInterceptor(aio.ServerInterceptor):
    """A server span for each call of a Homeward service, and every error as a typed status."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("homeward.grpc.server")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the two kinds of handler that the contract has."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary),
                _tolerant(handler.request_deserializer),
                handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                _tolerant(handler.request_deserializer),
                handler.response_serializer,
            )
        return handler

    def _unary(self, method: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            span = self._start(method, context)
            token = otel_context.attach(trace.set_span_in_context(span))
            try:
                return await inner(_parsed(request), context)
            except BaseException as error:
                await _fail(span, context, error)
            finally:
                otel_context.detach(token)
                span.end()

        return handle

    def _stream(self, method: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            span = self._start(method, context)
            # Never detached: the call has a task and so a context of its own, and a stream that its caller
            # leaves may be closed from another.
            otel_context.attach(trace.set_span_in_context(span))
            try:
                async with aclosing(inner(_parsed(request), context)) as responses:
                    async for response in responses:
                        yield response
            except BaseException as error:
                await _fail(span, context, error)
            finally:
                span.end()

        return handle

    def _start(self, method: str, context: aio.ServicerContext[Any, Any]) -> Span:
        carrier = dict(context.invocation_metadata() or ())
        return self._tracer.start_span(
            method.removeprefix("/"),
            context=_propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=_rpc(method),
        )


def _tolerant(parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    # An exception while gRPC parses would reach the caller untyped, and the log as a defect of ours.
    if parse is None:
        return None

    def tolerant(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            return error

    return tolerant


def _parsed(request: Any) -> Any:
    if isinstance(request, DecodeError):
        raise DomainError(
            Reason.INVALID_REQUEST,
            f"the request is not the message that the method takes: {request}",
            field="",
            expected="a message of the contract",
            got="other bytes",
        )
    return request


async def _fail(span: Span, context: aio.ServicerContext[Any, Any], error: BaseException) -> NoReturn:
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        remaining = context.time_remaining()
        late = remaining is not None and remaining <= 0
        _mark(span, "DEADLINE_EXCEEDED" if late else "CANCELLED", "the caller did not wait")
        raise error
    if isinstance(error, aio.AbortError):
        _mark(span, "ABORTED", str(error))
        raise error
    if not isinstance(error, DomainError):
        if not isinstance(error, Exception):
            _mark(span, "INTERNAL", type(error).__name__)
            raise error
        log.exception("a defect", exc_info=error)
        span.record_exception(error)
        error = DomainError(
            Reason.INTERNAL,
            "an internal error; the trace shows where",
            trace_id=f"{span.get_span_context().trace_id:032x}",
        )
    _mark(span, error.meaning.grpc_code, error.traced_message, error.reason)
    status = status_of(error)
    await context.abort(
        grpc.StatusCode[error.meaning.grpc_code],
        _bounded(error.message, MAX_SHOWN_BYTES),
        ((STATUS_DETAILS_KEY, status.SerializeToString()),),
    )
    raise AssertionError("abort raises")


class UnaryClientInterceptor(aio.UnaryUnaryClientInterceptor):
    """A client span for each unary call, and its context in the metadata.

    Of an error it has the code; what the server said stands in the server's own span, if it may be there.
    """

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("homeward.grpc.client")

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Waits for the end of the call, so that its status is the span's."""
        span, details = _start_client(self._tracer, client_call_details)
        call = None
        try:
            call = await continuation(details, request)
            code = await call.code()
            if code is not grpc.StatusCode.OK:
                _mark(span, code.name)
            else:
                span.set_attribute(names.RPC_STATUS_CODE, "OK")
            return call
        except asyncio.CancelledError:
            _mark(span, "CANCELLED", "the caller gave up")
            # Waiting for a call's code ends without the call, which the server would go on with.
            if call is not None:
                call.cancel()
            raise
        finally:
            span.end()


class StreamClientInterceptor(aio.UnaryStreamClientInterceptor):
    """A client span for each server-streaming call, which ends with the stream."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("homeward.grpc.client")

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Gives the responses on as they come."""
        span, details = _start_client(self._tracer, client_call_details)
        call = await continuation(details, request)

        async def responses() -> AsyncIterator[Any]:
            try:
                async for response in call:
                    yield response
                span.set_attribute(names.RPC_STATUS_CODE, "OK")
            except aio.AioRpcError as error:
                _mark(span, error.code().name)
                raise
            except (asyncio.CancelledError, GeneratorExit):
                _mark(span, "CANCELLED", "the caller gave up")
                call.cancel()
                raise
            finally:
                span.end()

        return responses()


def _start_client(tracer: trace.Tracer, details: Any) -> tuple[Span, Any]:
    method = details.method.decode() if isinstance(details.method, bytes) else details.method
    span = tracer.start_span(method.removeprefix("/"), kind=SpanKind.CLIENT, attributes=_rpc(method))
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span))
    metadata = aio.Metadata(*(details.metadata or ()), *carrier.items())
    return span, details._replace(metadata=metadata)


def _rpc(method: str) -> dict[str, str]:
    _, service, name = method.split("/")
    return {names.RPC_SYSTEM: "grpc", names.RPC_SERVICE: service, names.RPC_METHOD: name}


def _mark(span: Span, code: str, message: str = "", reason: str | None = None) -> None:
    span.set_attribute(names.RPC_STATUS_CODE, code)
    span.set_attribute(names.ERROR_TYPE, reason or code)
    span.set_status(StatusCode.ERROR, message)
