"""The HTTP side: `POST /v1/traces` as OTLP has it, and `/healthz`."""

from __future__ import annotations

import zlib
from dataclasses import asdict

import orjson
from aiohttp import web

from deploy.local.collector import otlp
from deploy.local.collector.spans import BadBodyError
from deploy.local.collector.store import Store

BODY_BYTES = 16 * 1024 * 1024
"""The largest body, before and after decompression."""


class Door:
    """The handlers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def application(self) -> web.Application:
        """What listens."""
        # Bodies are unpacked here, with a limit: aiohttp itself has none on what a small body may become.
        application = web.Application(client_max_size=BODY_BYTES, handler_args={"auto_decompress": False})
        application.router.add_post("/v1/traces", self._traces)
        application.router.add_get("/healthz", self._health)
        return application

    async def _traces(self, request: web.Request) -> web.Response:
        kind = request.content_type
        if kind not in (otlp.JSON, otlp.PROTOBUF):
            return _refusal(
                415, otlp.JSON, f"Content-Type: expected {otlp.JSON} or {otlp.PROTOBUF}, got {kind}"
            )
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding not in ("identity", "gzip"):
            return _refusal(415, kind, f"Content-Encoding: expected gzip or none, got {encoding}")
        try:
            body = await request.read()
            if encoding == "gzip":
                body = _unzip(body)
            groups = otlp.parse(kind, body)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(413, kind, f"the body is over {BODY_BYTES} bytes")
        except BadBodyError as error:
            return _refusal(400, kind, str(error))
        shed = sum(self._store.put(group) for group in groups)
        why = "the queue is full: ClickHouse does not keep up" if shed else ""
        return web.Response(body=otlp.response(kind, shed, why), content_type=kind)

    async def _health(self, _: web.Request) -> web.Response:
        counts = {"queued": self._store.queued, **asdict(self._store.counts)}
        return web.Response(body=orjson.dumps(counts), content_type="application/json")


def _refusal(status: int, kind: str, message: str) -> web.Response:
    return web.Response(status=status, body=otlp.failure(kind, message), content_type=kind)


def _unzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = unpacker.decompress(body, BODY_BYTES)
    except zlib.error as error:
        raise BadBodyError(f"not gzip: {error}") from None
    if unpacker.unconsumed_tail:
        raise BadBodyError(f"the body unpacks to over {BODY_BYTES} bytes")
    if not unpacker.eof:
        raise BadBodyError("not gzip: it ends too early")
    return plain
