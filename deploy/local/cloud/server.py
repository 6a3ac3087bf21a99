"""The HTTP server: routes, keys, faults and counts around the APIs."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from opentelemetry.trace import Span

from deploy.local.cloud import chat, completions, embeddings, models, responses, sending, spans
from deploy.local.cloud.cache import PrefixCache
from deploy.local.cloud.errors import INVALID, ApiError
from deploy.local.cloud.faults import HEADER, FaultPlan
from deploy.local.cloud.generate import Generator
from deploy.local.cloud.pace import Pace
from deploy.local.cloud.reply import Reply
from deploy.local.cloud.watch import Watch

log = logging.getLogger(__name__)

SERVER = "homeward-stand-in-cloud"
"""The `server` header of every answer."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Largest request body."""

_APIS: dict[str, Callable[[dict[str, Any], Generator], Awaitable[Reply]]] = {
    "/v1/chat/completions": chat.reply,
    "/v1/completions": completions.reply,
    "/v1/embeddings": embeddings.reply,
    "/v1/responses": responses.reply,
}


class StandIn:
    """The stand-in cloud."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._cache = PrefixCache()
        self._generator = Generator(self._cache)
        self._plan = FaultPlan()
        self._watch = Watch()

    def application(self) -> web.Application:
        """The application. Its runner must have `handler_cancellation`, or no cancellation is seen."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.on_response_prepare.append(_sign)
        application.router.add_get("/stand-in/stats", self._stats)
        application.router.add_get("/stand-in/last", self._last)
        application.router.add_post("/stand-in/reset", self._reset)
        application.router.add_route("*", "/v1/{rest:.*}", self._counted)
        application.router.add_route("*", "/{rest:.*}", _nowhere)
        return application

    async def _stats(self, _request: web.Request) -> web.StreamResponse:
        return sending.json_response(self._watch.counts())

    async def _last(self, _request: web.Request) -> web.StreamResponse:
        return sending.json_response(self._watch.last())

    async def _reset(self, _request: web.Request) -> web.StreamResponse:
        self._watch.reset()
        self._plan.clear()
        self._cache.clear()
        return sending.json_response(self._watch.counts())

    async def _counted(self, request: web.Request) -> web.StreamResponse:
        counts = self._watch.begin()
        cancelled = True
        try:
            with spans.generating(request) as span:
                response = await self._answered(request, span)
                # Sent here and not by aiohttp, so that a client that leaves meanwhile is counted.
                await response.prepare(request)
                await response.write_eof()
            cancelled = False
            return response
        except sending.CutError:
            cancelled = False
        finally:
            self._watch.end(counts, cancelled=cancelled)
        await sending.gone(request)
        return web.Response()

    async def _answered(self, request: web.Request, span: Span) -> web.StreamResponse:
        try:
            response = await self._answer(request, span)
        except ApiError as error:
            response = sending.json_response(error.document(), error.status)
        except (sending.CutError, ConnectionError):
            raise
        except Exception:
            log.exception("a defect")
            defect = ApiError(500, "The stand-in cloud has a defect; its log says which.", "server_error")
            response = sending.json_response(defect.document(), defect.status)
        spans.answered(span, response.status)
        return response

    async def _answer(self, request: web.Request, span: Span) -> web.StreamResponse:
        body = await _body(request)
        self._watch.keep(request.method, request.path_qs, request.headers, body)
        faults = self._plan.read(request.headers.get(HEADER, ""))
        if faults.refuse:
            raise sending.close(request)
        if faults.slow_first_s:
            await asyncio.sleep(faults.slow_first_s)
        failure = sending.instead(faults)
        if failure is not None:
            return failure
        _authenticate(request)
        api = _APIS.get(request.path)
        if api is None or request.method != "POST":
            return sending.json_response(_models(request))
        reply = await api(_parsed(body), self._generator)
        spans.describe(span, reply)
        send = sending.whole if reply.events is None else sending.stream
        return await send(request, reply, self._pace, faults)


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.") from None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ApiError(
            400, "We could not parse the JSON body of your request. The API expects a JSON object."
        )
    return document


def _authenticate(request: web.Request) -> None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise ApiError(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header"
            " using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). The stand-in takes any.",
            INVALID,
        )


def _models(request: web.Request) -> dict[str, Any]:
    known = request.path in _APIS or request.path.startswith("/v1/models")
    if known and (request.path in _APIS or request.method != "GET"):
        raise ApiError(
            405, f"Not allowed to {request.method} on {request.path}.", INVALID, None, "method_not_supported"
        )
    if request.path == "/v1/models":
        return models.listed()
    if request.path.startswith("/v1/models/"):
        return models.card(request.path.removeprefix("/v1/models/"))
    raise _no_such_url(request)


async def _nowhere(request: web.Request) -> web.StreamResponse:
    return sending.json_response(_no_such_url(request).document(), 404)


def _no_such_url(request: web.Request) -> ApiError:
    return ApiError(404, f"Invalid URL ({request.method} {request.path[:100]})", INVALID)


async def _sign(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER
    response.headers["x-request-id"] = f"req_{secrets.token_hex(16)}"
