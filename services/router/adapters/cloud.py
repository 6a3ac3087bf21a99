"""The adapter to OpenAI- and Anthropic-compatible servers: HTTP over pooled connections.

It knows retries, time-outs and breakers, and nothing of what the bytes mean. A call is retried only
before the first byte of its answer has come, so the application never gets an answer twice. A retried
call may have been begun by the server, which may bill it; the leg's `attempts` shows that. So a call that
was sent and got no answer is broken, and its cost unknown; only one that was never sent is unreachable.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from services.common.errors import DomainError, Reason
from services.router.adapters.upstreams import OnRetry
from services.router.config import Timeouts
from services.router.core.breaker import Breaker
from services.router.core.catalog import ANTHROPIC, Route
from services.router.core.failures import broken, timed_out, unreachable
from services.router.core.retry import RETRIED_STATUSES, retry_after_s, wait_before_retry_s
from services.router.core.usage import UNKNOWN, Usage

POOL_PER_UPSTREAM = 1024
"""Connections to one upstream: as many as there may be requests in flight."""
POOL_IDLE_S = 25
"""How long an idle connection is kept: below the 30 s after which common proxies close theirs."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Largest answer that is not streamed: embeddings of a whole batch fit; a runaway server does not."""
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Failures to get a connection. After any other the server may have the request, and have run it."""
ANTHROPIC_VERSION = "2023-06-01"
"""Sent if the application named no version."""


class HttpExchange:
    """An answer that has begun."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        route: Route,
        attempts: int,
        first: bytes,
        silence_s: float,
    ) -> None:
        self.status = response.status
        self.headers: CIMultiDictProxy[str] = response.headers
        self.attempts = attempts
        self._response = response
        self._route = route
        self._first = first
        self._silence_s = silence_s

    def check(self) -> None:
        """Nothing: what an upstream says is passed on as it comes."""

    async def read(self) -> bytes:
        """The whole answer.

        Raises:
            DomainError: UPSTREAM_TIMEOUT or UPSTREAM_BROKEN.
        """
        content = self._response.content
        if content.is_eof() and not self._first:
            # The usual case: the answer came in one piece with its headers, and nothing is waited for.
            whole = content.read_nowait()
            if len(whole) <= MAX_ANSWER_BYTES:
                return whole
            raise broken(self._route, f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        pieces: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise broken(self._route, f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            pieces.append(chunk)
        return b"".join(pieces)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The answer's bytes as they come.

        Raises:
            DomainError: UPSTREAM_TIMEOUT or UPSTREAM_BROKEN.
        """
        if self._first:
            yield self._first
        content = self._response.content
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    chunk = await content.readany()
            except TimeoutError:
                raise timed_out(self._route, "silence", self._silence_s) from None
            except (aiohttp.ClientError, OSError) as error:
                raise broken(self._route, str(error) or type(error).__name__) from None
            if not chunk:
                return
            yield chunk

    def close(self, *, whole: bool) -> None:
        """Gives the connection back if the answer was read to its end, else cuts it, which cancels the
        call at the server."""
        if whole:
            self._response.release()
        else:
            self._response.close()

    def usage(self) -> Usage:
        """Nothing: only the server can count, and it reports at the end."""
        return UNKNOWN


class CloudAdapter:
    """Calls upstreams. One a process."""

    def __init__(self, timeouts: Timeouts, credentials: Mapping[str, str]) -> None:
        """`credentials` has the key of each upstream that needs one. Needs a running event loop."""
        self._timeouts = timeouts
        self._credentials = credentials
        self._breakers: dict[str, Breaker] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, limit_per_host=POOL_PER_UPSTREAM, keepalive_timeout=POOL_IDLE_S
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            skip_auto_headers=("User-Agent", "Accept"),
        )

    async def call(
        self,
        route: Route,
        path: str,
        body: bytes,
        headers: CIMultiDict[str],
        *,
        streamed: bool,
        on_retry: OnRetry,
    ) -> HttpExchange:
        """Sends a request and waits for the answer to begin.

        Returns:
            An exchange with any status; a retried one is returned when the tries are used up.

        Raises:
            DomainError: BREAKER_OPEN or UPSTREAM_UNREACHABLE if no try was sent; UPSTREAM_BROKEN or
                UPSTREAM_TIMEOUT.
        """
        upstream = route.upstream
        limit_s = self._timeouts.first_token_s if streamed else self._timeouts.answer_s
        breaker = self._breaker(upstream.name)
        self._authorise(route, headers)
        attempt = 0
        # Why a try that was sent got no answer.
        lost = ""
        while True:
            attempt += 1
            if not breaker.admit(time.monotonic()):
                if lost:
                    raise _tried(broken(route, lost), attempt - 1)
                raise self._breaker_open(route, breaker, attempt - 1)
            asked_s: float | None = None
            try:
                async with asyncio.timeout(limit_s):
                    response = await self._session.post(
                        _url(upstream.base_url, path),
                        data=body,
                        headers=headers,
                        allow_redirects=False,
                    )
                    status = response.status
                    first = b""
                    if streamed and status < 400:
                        first = await _first_piece(response)
            except (aiohttp.ClientError, OSError) as failure:
                breaker.failed(time.monotonic())
                problem = str(failure) or type(failure).__name__
                if not isinstance(failure, _NOT_SENT):
                    if isinstance(failure, TimeoutError):
                        phase = "first_token" if streamed else "answer"
                        raise _tried(timed_out(route, phase, limit_s), attempt) from None
                    lost = problem
                exchange = None
            else:
                exchange = HttpExchange(response, route, attempt, first, self._timeouts.silence_s)
                if status >= 500:
                    breaker.failed(time.monotonic())
                elif status >= 400:
                    # An upstream that judges requests works. One that answers has yet to do it whole.
                    breaker.succeeded()
                if status not in RETRIED_STATUSES:
                    return exchange
                problem = f"status {status}"
                asked_s = retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC))
            wait_s = wait_before_retry_s(
                attempt,
                max_attempts=self._timeouts.max_attempts,
                base_s=self._timeouts.retry_base_s,
                max_wait_s=self._timeouts.retry_max_wait_s,
                asked_s=asked_s,
                uniform=random.random(),
            )
            if wait_s is None:
                if exchange is not None:
                    return exchange
                if lost:
                    raise _tried(broken(route, lost), attempt)
                raise unreachable(route, problem, attempt)
            if exchange is not None:
                exchange.close(whole=False)
            on_retry(attempt, problem, wait_s)
            await asyncio.sleep(wait_s)

    def succeeded(self, route: Route) -> None:
        """Tells the breaker of an answer that came whole."""
        self._breaker(route.upstream.name).succeeded()

    def failed_late(self, route: Route) -> None:
        """Tells the breaker of an answer that broke off, fell silent or made no sense."""
        self._breaker(route.upstream.name).failed(time.monotonic())

    async def close(self) -> None:
        """Closes the pool."""
        await self._session.close()

    def _breaker(self, upstream: str) -> Breaker:
        breaker = self._breakers.get(upstream)
        if breaker is None:
            timeouts = self._timeouts
            breaker = Breaker(timeouts.breaker_failures, timeouts.breaker_cooldown_s)
            self._breakers[upstream] = breaker
        return breaker

    def _authorise(self, route: Route, headers: CIMultiDict[str]) -> None:
        secret = self._credentials.get(route.upstream.name)
        if route.upstream.protocol == ANTHROPIC:
            headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
            if secret:
                headers["x-api-key"] = secret
        elif secret:
            headers["Authorization"] = f"Bearer {secret}"

    def _breaker_open(self, route: Route, breaker: Breaker, attempts: int) -> DomainError:
        wait_s = breaker.retry_after_s(time.monotonic())
        name = route.upstream.name
        return DomainError(
            Reason.BREAKER_OPEN,
            f"upstream {name!r} has failed too often and is left alone for {wait_s} s",
            upstream=name,
            retry_after_s=wait_s,
            attempts=attempts,
        )


def _tried(error: DomainError, attempts: int) -> DomainError:
    error.metadata["attempts"] = str(attempts)
    return error


async def _first_piece(response: aiohttp.ClientResponse) -> bytes:
    try:
        first = await response.content.readany()
        if not first and response.content.at_eof():
            raise aiohttp.ServerDisconnectedError("an empty stream")
    except BaseException:
        # Nobody else has it yet, and aiohttp keeps the connection of a response that is merely dropped.
        response.close()
        raise
    return first


@lru_cache
def _url(base_url: str, path: str) -> URL:
    # Kept, because parsing it costs as much as the rest of a request's set-up.
    return URL(base_url + path)
