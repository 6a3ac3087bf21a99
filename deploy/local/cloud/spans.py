"""Continues the trace of a request that has one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from deploy.local.cloud.models import OWNER
from deploy.local.cloud.reply import Reply
from services.common.telemetry import attributes as names

_propagator = TraceContextTextMapPropagator()


@contextmanager
def generating(request: web.Request) -> Iterator[Span]:
    """A span for the time of a request; one that is not recorded if the request is in no trace."""
    if "traceparent" not in request.headers:
        yield INVALID_SPAN
        return
    span = trace.get_tracer("homeward.stand-in").start_span(
        "stand-in generate",
        context=_propagator.extract(request.headers),
        kind=SpanKind.SERVER,
        attributes={
            names.HTTP_REQUEST_METHOD: request.method,
            names.HTTP_ROUTE: request.path,
            names.GEN_AI_PROVIDER_NAME: OWNER,
        },
    )
    try:
        yield span
    except BaseException as error:
        span.set_attribute(names.ERROR_TYPE, type(error).__name__)
        span.set_status(StatusCode.ERROR, "the answer did not come to its end")
        raise
    finally:
        span.end()


def describe(span: Span, reply: Reply) -> None:
    """Says on the span what is being answered."""
    span.set_attribute(names.GEN_AI_OPERATION_NAME, reply.operation)
    span.set_attribute(names.GEN_AI_REQUEST_MODEL, reply.model)
    span.set_attribute(names.GEN_AI_RESPONSE_MODEL, reply.model)
    span.set_attribute(names.GEN_AI_USAGE_INPUT_TOKENS, reply.usage.prompt)
    span.set_attribute(names.GEN_AI_USAGE_CACHED_INPUT_TOKENS, reply.usage.cached)
    span.set_attribute(names.GEN_AI_USAGE_OUTPUT_TOKENS, reply.usage.completion)


def answered(span: Span, status: int) -> None:
    """Says on the span with which HTTP status it ended."""
    span.set_attribute(names.HTTP_STATUS_CODE, status)
    if status >= 400:
        span.set_attribute(names.ERROR_TYPE, str(status))
        span.set_status(StatusCode.ERROR)
