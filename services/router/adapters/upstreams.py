"""One way to call any server of models: the request's bytes in, the answer's bytes out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from multidict import CIMultiDict, CIMultiDictProxy

from services.router.core.catalog import TRITON, Route
from services.router.core.usage import Usage

OnRetry = Callable[[int, str, float], None]
"""Told of each failed try: its number, why it failed, and the seconds until the next."""


class Exchange(Protocol):
    """An answer that has begun, in the bytes of OpenAI's or Anthropic's protocol."""

    status: int
    """The HTTP status."""
    headers: CIMultiDictProxy[str]
    attempts: int
    """Tries that it took."""

    def check(self) -> None:
        """Raises DomainError if what has come is known to be wrong; before `read` and `chunks`."""

    async def read(self) -> bytes:
        """The whole answer. Raises DomainError if it does not come."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The answer's bytes as they come. Raises DomainError if no more do, or they are wrong."""

    def close(self, *, whole: bool) -> None:
        """Ends it; the server stops working at an answer that is not whole."""

    def usage(self) -> Usage:
        """What is known of the usage of an answer that did not get to report it."""


class Adapter(Protocol):
    """Calls servers that speak one protocol."""

    async def call(
        self,
        route: Route,
        path: str,
        body: bytes,
        headers: CIMultiDict[str],
        *,
        streamed: bool,
        on_retry: OnRetry,
    ) -> Exchange:
        """Sends a request and waits for the answer to begin. Raises DomainError if nobody answers."""

    def succeeded(self, route: Route) -> None:
        """Told of an answer that came whole."""

    def failed_late(self, route: Route) -> None:
        """Told of an answer that broke off, fell silent or made no sense."""

    async def close(self) -> None:
        """Closes the connections."""


class Upstreams:
    """All servers of models. One a process."""

    def __init__(self, http: Adapter, triton: Adapter) -> None:
        self._http = http
        self._triton = triton

    def of(self, route: Route) -> Adapter:
        """The adapter that calls a route's server."""
        return self._triton if route.upstream.protocol == TRITON else self._http

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()
        await self._triton.close()
