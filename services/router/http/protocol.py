"""The HTTP server's connections: their limits, and typed errors where no request could be read."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

from services.common.errors import DomainError, Reason
from services.router.config import Limits
from services.router.core import dialects

log = logging.getLogger(__name__)


LINGER_S = 2.0
"""How long the rest of a refused body is read and thrown away: a client that sends everything before it
reads would get a reset instead of the answer."""


class Server(web.Server):
    """Makes connections that keep to the limits."""

    def __init__(self, handler: Any, limits: Limits) -> None:
        self.limits = limits
        loop = asyncio.get_running_loop()

        def make_request(
            message: Any, payload: Any, protocol: Any, writer: Any, task: Any
        ) -> web.BaseRequest:
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=limits.body_bytes
            )

        super().__init__(
            handler,
            request_factory=make_request,
            # An application that disconnects cancels its request, and so the upstream's call.
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=limits.keepalive_s,
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            lingering_time=LINGER_S,
            # Bodies are passed on as they come; a compressed one could grow past every limit.
            auto_decompress=False,
        )

    def __call__(self) -> RequestHandler:
        """One connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


class Connection(RequestHandler):
    """One connection."""

    __slots__ = ("_owner",)

    def __init__(self, owner: Server, **kwargs: Any) -> None:
        super().__init__(owner, **kwargs)
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuses a connection too many, and gives the others a limited time to say something."""
        super().connection_made(transport)
        limits = self._owner.limits
        if len(self._owner.connections) > limits.connections:
            error = DomainError(
                Reason.OVERLOADED,
                "too many connections; retry after 1 s",
                limit=limits.connections,
                retry_after_s=1,
            )
            self._refuse(error)
            return
        self._loop.call_later(limits.header_timeout_s, self._check_headers)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A typed error for what could not be read as a request."""
        if isinstance(exc, LineTooLong):
            error = DomainError(
                Reason.BODY_TOO_LARGE,
                f"a request line or header is larger than {self._owner.limits.header_bytes} bytes",
                limit_bytes=self._owner.limits.header_bytes,
            )
        elif isinstance(exc, BadHttpMessage) or status == 400:
            text = (message or "").split("\n")[0].strip(" :")
            error = DomainError(
                Reason.INVALID_REQUEST,
                f"not a valid HTTP request: {text}",
                field="",
                expected="HTTP/1.1",
                got=text,
            )
        else:
            # Of a connection that is gone the request's own span tells.
            if not isinstance(exc, ConnectionError):
                log.error("a request failed outside its handler", exc_info=exc)
            error = DomainError(Reason.INTERNAL, "an internal error", trace_id="")
        response = web.Response(
            status=error.meaning.http_status,
            body=dialects.openai_error(error),
            content_type="application/json",
        )
        response.force_close()
        return response

    def _check_headers(self) -> None:
        if self._request_count == 0 and self.transport is not None:
            limit_s = self._owner.limits.header_timeout_s
            error = DomainError(
                Reason.REQUEST_TIMEOUT,
                f"no request within {limit_s:g} s",
                limit_s=f"{limit_s:g}",
            )
            self._refuse(error)

    def _refuse(self, error: DomainError) -> None:
        transport = self.transport
        if transport is None:
            return
        body = dialects.openai_error(error)
        retry = f"Retry-After: {error.retry_after_s}\r\n" if error.retry_after_s else ""
        head = (
            f"HTTP/1.1 {error.meaning.http_status} {error.reason.value}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"{retry}Connection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        self.force_close()
