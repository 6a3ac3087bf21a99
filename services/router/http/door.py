"""The OpenAI-compatible door: HTTP in, an `Ask` on, HTTP out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Collection
from contextlib import aclosing
from typing import Any

import orjson
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.errors import DomainError, Reason
from services.common.ids import uuid_text
from services.common.telemetry import attributes as names
from services.common.words import label
from services.router.attempt import Opened
from services.router.call import Ask, Decided
from services.router.config import Limits
from services.router.core import catalog, dialects, wire
from services.router.core.keys import Key, KeyRing
from services.router.core.limits import Gate, Limiter
from services.router.dispatch import Dispatcher

log = logging.getLogger(__name__)

_APIS = {f"/v1{path}": api for api, path in wire.PATHS.items()}
_propagator = TraceContextTextMapPropagator()
_NO_CONTEXT = otel_context.Context()

_KEPT_BACK = frozenset(
    {
        "accept",
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "openai-organization",
        "openai-project",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "traceparent",
        "tracestate",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-api-key",
        "x-goog-api-key",
    }
)
"""Request headers that stay here: the connection's, the application's secrets, whose account they are of, and
what the leg sets."""
_KEPT_BACK_PREFIXES = ("x-homeward-", "x-forwarded-")

_NOT_RETURNED = frozenset(
    {
        "alt-svc",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "server",
        "set-cookie",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
    }
)
"""Answer headers of the upstream that are about its connection, not about the answer."""


class Door:
    """Handles every request of the HTTP server."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        keys: KeyRing,
        limiter: Limiter,
        gate: Gate,
        limits: Limits,
        *,
        answer_as_asked: bool,
    ) -> None:
        self._dispatcher = dispatcher
        self._keys = keys
        self._limiter = limiter
        self._limits = limits
        self._answer_as_asked = answer_as_asked
        self._gate = gate
        self._tracer = trace.get_tracer("homeward.http")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; nothing but a lost connection escapes."""
        path = request.path
        api = _APIS.get(path)
        if api is None or request.method != "POST":
            return await self._other(request, path)
        span = self._tracer.start_span(
            f"POST {path}",
            context=_propagator.extract(request.headers) if "traceparent" in request.headers else _NO_CONTEXT,
            kind=SpanKind.SERVER,
            attributes={names.HTTP_REQUEST_METHOD: "POST", names.HTTP_ROUTE: path},
        )
        try:
            response = await self._serve(request, api, span)
            span.set_attribute(names.HTTP_STATUS_CODE, response.status)
            return response
        except DomainError as error:
            _mark(span, error)
            return _error(api, error, span)
        except (asyncio.CancelledError, ConnectionError):
            span.set_attribute(names.ERROR_TYPE, Reason.CANCELLED)
            span.set_status(StatusCode.ERROR, "the application disconnected")
            raise
        except Exception as defect:
            log.exception("a defect", extra={"trace_id": _trace_id(span)})
            span.record_exception(defect)
            internal = DomainError(
                Reason.INTERNAL,
                f"an internal error; the trace {_trace_id(span)} shows where",
                trace_id=_trace_id(span),
            )
            _mark(span, internal)
            return _error(api, internal, span)
        finally:
            span.end()

    async def _serve(self, request: web.BaseRequest, api: str, span: Span) -> web.StreamResponse:
        key = self._authenticate(request)
        with self._gate:
            return await self._admitted(request, api, span, key)

    async def _admitted(self, request: web.BaseRequest, api: str, span: Span, key: Key) -> web.StreamResponse:
        self._limiter.admit(key, time.monotonic())
        parsed = wire.parse_request(api, await self._body(request))
        headers = request.headers
        ask = Ask(
            request=parsed,
            key=key,
            span=span,
            answer_as=parsed.model if self._answer_as_asked else None,
            headers=_forwarded(request),
            workload=headers.get("x-homeward-workload", ""),
            conversation=headers.get("x-homeward-conversation", "")[:128],
        )
        opened = await self._dispatcher.open(ask)
        if opened.body is None:
            return await self._stream(request, opened, span)
        return web.Response(
            status=opened.status, body=opened.body, headers=_headers(opened, "application/json")
        )

    async def _stream(self, request: web.BaseRequest, opened: Opened, span: Span) -> web.StreamResponse:
        assert opened.events is not None
        response = web.StreamResponse(
            status=opened.status, headers=_headers(opened, "text/event-stream; charset=utf-8")
        )
        async with aclosing(opened.events) as events:
            await response.prepare(request)
            async for data in events:
                await self._taken(request, response.write(data))
        if opened.call.error_reason:
            span.set_attribute(names.ERROR_TYPE, opened.call.error_reason)
            span.set_status(StatusCode.ERROR, "the stream broke")
        await self._taken(request, response.write_eof())
        return response

    async def _taken(self, request: web.BaseRequest, writing: Awaitable[None]) -> None:
        """Waits until there is room for more; an application that makes none is taken to have gone."""
        try:
            async with asyncio.timeout(self._limits.write_timeout_s):
                await writing
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the application does not read") from None

    async def _body(self, request: web.BaseRequest) -> bytes:
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise DomainError(
                Reason.INVALID_REQUEST,
                f"Content-Encoding {encoding[:40]!r} is not supported; send the body as it is",
                field="Content-Encoding",
                expected="identity",
                got=encoding[:40],
            )
        too_large = DomainError(
            Reason.BODY_TOO_LARGE,
            f"the body is larger than {self._limits.body_bytes} bytes",
            limit_bytes=self._limits.body_bytes,
        )
        # Refused by its announcement, before a byte of it is kept.
        if (request.content_length or 0) > self._limits.body_bytes:
            raise too_large
        expects = request.headers.get("Expect", "").lower() == "100-continue"
        if expects and request.version >= HttpVersion11 and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        limit_s = self._limits.body_timeout_s
        try:
            if request.content.is_eof():
                return await request.read()
            async with asyncio.timeout(limit_s):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large from None
        except TimeoutError:
            raise DomainError(
                Reason.REQUEST_TIMEOUT,
                f"the body did not arrive within {limit_s:g} s",
                limit_s=f"{limit_s:g}",
            ) from None
        except web.RequestPayloadError as error:
            raise DomainError(
                Reason.INVALID_REQUEST,
                f"the body is not what its headers announce: {error}",
                field="",
                expected="a whole body",
                got=str(error),
            ) from None

    def _authenticate(self, request: web.BaseRequest) -> Key:
        header = request.headers.get("Authorization", "")
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            secret = request.headers.get("x-api-key", "")
        return self._keys.authenticate(secret.strip())

    def _health(self) -> dict[str, Any]:
        version, age_s = self._dispatcher.policy_version, self._dispatcher.policy_age_s
        return {
            "status": "ok",
            "service": "homeward-router",
            "policy_version": version,
            # 0 while it is known to be the last; nobody knows the age of none.
            "policy_age_s": age_s or (0 if version else None),
        }

    async def _other(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if request.method == "GET" and path in ("/healthz", "/"):
            return web.json_response(self._health())
        api = catalog.MESSAGES if "anthropic-version" in request.headers else catalog.CHAT
        try:
            self._authenticate(request)
            if request.method == "GET" and path == "/v1/models":
                models = [_model(name) for name, _ in self._dispatcher.models.listed()]
                return _json({"object": "list", "data": models, "has_more": False})
            if request.method == "GET" and path.startswith("/v1/models/"):
                name = path.removeprefix("/v1/models/")
                self._dispatcher.models.routes(name)
                return _json(_model(name))
            raise DomainError(
                Reason.ROUTE_NOT_FOUND,
                f"there is no {request.method} {path[:100]}; this API has POST"
                f" {', '.join(_APIS)} and GET /v1/models",
                method=request.method,
                path=path[:100],
            )
        except DomainError as error:
            return _error(api, error, None)


def _forwarded(request: web.BaseRequest) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    named = _of_this_connection(request.headers)
    for name, value in request.headers.items():
        lower = name.lower()
        if lower not in _KEPT_BACK and lower not in named and not lower.startswith(_KEPT_BACK_PREFIXES):
            headers.add(name, value)
    return headers


def _of_this_connection(headers: CIMultiDictProxy[str]) -> Collection[str]:
    # What a Connection header names is about the connection too (RFC 9110, 7.6.1).
    connection = headers.getall("Connection", ())
    return {item.strip().lower() for line in connection for item in line.split(",")}


def _headers(opened: Opened, default_type: str) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    named = _of_this_connection(opened.headers)
    for name, value in opened.headers.items():
        lower = name.lower()
        if lower not in _NOT_RETURNED and lower not in named:
            headers.add(name, value)
    json_body = opened.body is not None
    upstream_type = opened.headers.get("Content-Type", default_type)
    headers["Content-Type"] = "application/json" if json_body else upstream_type
    headers.update(route_headers(opened.decided))
    return headers


def route_headers(decided: Decided) -> dict[str, str]:
    """The headers that tell an application what became of its request."""
    age = {} if decided.policy_age_s is None else {"x-homeward-policy-age-s": str(decided.policy_age_s)}
    return age | {
        "x-homeward-workload": decided.name.workload,
        "x-homeward-evidence": label(decided.name.evidence),
        "x-homeward-target": label(decided.target),
        "x-homeward-upstream": decided.upstream,
        # A server's own words: what a header can't carry is left out.
        "x-homeward-model": "".join(sign for sign in decided.model if " " <= sign <= "~"),
        "x-homeward-policy-version": str(decided.policy_version),
        "x-homeward-request-id": uuid_text(decided.request_id),
        "x-homeward-trace-id": decided.trace_id,
    }


def _model(name: str) -> dict[str, Any]:
    # Both SDKs read this list; each takes the fields that it knows.
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "homeward",
        "type": "model",
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    }


def _json(document: object) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")


def _error(api: str, error: DomainError, span: Span | None) -> web.Response:
    headers = {}
    if span is not None:
        headers["x-homeward-trace-id"] = _trace_id(span)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    response = web.Response(
        status=error.meaning.http_status,
        body=dialects.error_body(api, error),
        content_type="application/json",
        headers=headers,
    )
    if error.reason in (Reason.BODY_TOO_LARGE, Reason.REQUEST_TIMEOUT):
        # The rest of the body is still on its way; nobody will read it.
        response.force_close()
    return response


def _mark(span: Span, error: DomainError) -> None:
    span.set_attribute(names.ERROR_TYPE, error.reason)
    span.set_attribute(names.HTTP_STATUS_CODE, error.meaning.http_status)
    span.set_status(StatusCode.ERROR, error.traced_message)


def _trace_id(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"
