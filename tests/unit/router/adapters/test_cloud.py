"""What becomes of calls to an upstream that hesitates, breaks off or is away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from multidict import CIMultiDict

from services.common.errors import DomainError, Reason
from services.router.adapters.cloud import CloudAdapter, HttpExchange
from services.router.config import Timeouts
from services.router.core.catalog import Route, Upstream
from tests.support.stack import WAIT_S


class Hesitant:
    """A server that sends the headers of a stream, and never its first byte."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        """Set once the caller has closed its connection."""
        self.base_url = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with suppress(ConnectionError):
            assert await reader.read() == b""
        self.left.set()
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Hesitant]:
    made = Hesitant()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def waited_for(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once the headers have come and a piece of the answer is waited for."""
    waits = asyncio.Event()
    real = aiohttp.StreamReader.readany

    async def readany(stream: aiohttp.StreamReader) -> bytes:
        waits.set()
        return await real(stream)

    monkeypatch.setattr(aiohttp.StreamReader, "readany", readany)
    return waits


async def streamed(adapter: CloudAdapter, route: Route) -> HttpExchange:
    return await adapter.call(
        route,
        "/chat/completions",
        b"{}",
        CIMultiDict(),
        streamed=True,
        on_retry=lambda *_: pytest.fail("tried again"),
    )


@pytest.mark.parametrize("how", ["times out", "is cancelled"])
async def test_a_stream_that_has_not_begun_is_cut_when_nobody_waits_for_it(
    upstream: Callable[..., Upstream], server: Hesitant, waited_for: asyncio.Event, how: str
) -> None:
    cancelled = how == "is cancelled"
    adapter = CloudAdapter(Timeouts(first_token_s=WAIT_S if cancelled else 0.2), {})
    asking = asyncio.ensure_future(streamed(adapter, Route(upstream(base_url=server.base_url), "m")))
    try:
        if cancelled:
            await asyncio.wait_for(waited_for.wait(), WAIT_S)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        else:
            with pytest.raises(DomainError) as caught:
                await asking
            assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
        await asyncio.wait_for(server.left.wait(), WAIT_S)
    finally:
        await adapter.close()


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
LOST = b""
"""In the place of an answer: the connection is closed once the request is there."""


@asynccontextmanager
async def answering(answers: Sequence[bytes]) -> AsyncIterator[str]:
    """A server that gives these answers in turn and then listens no more, and its base URL."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n{}"):
                answer = left.pop(0)
                if not left:
                    listening.close()
                writer.write(answer)
                if answer != ANSWER:
                    break
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield f"http://127.0.0.1:{port}/v1"


async def tried(base_url: str, upstream: Callable[..., Upstream], timeouts: Timeouts, calls: int = 1) -> str:
    """How the last of some calls ended, and after how many tries."""
    adapter = CloudAdapter(timeouts, {})
    route = Route(upstream(base_url=base_url), "m")
    ended = ""
    try:
        for _ in range(calls):
            try:
                exchange = await adapter.call(
                    route,
                    "/chat/completions",
                    b"{}",
                    CIMultiDict(),
                    streamed=False,
                    on_retry=lambda *_: None,
                )
                await exchange.read()
                exchange.close(whole=True)
                ended = f"{exchange.status} {exchange.attempts}"
            except DomainError as error:
                ended = f"{error.reason} {error.metadata['attempts']}"
    finally:
        await adapter.close()
    return ended


@pytest.mark.parametrize(
    ("answers", "breaker_failures", "ended"),
    [
        pytest.param([LOST, LOST, LOST], 9, "UPSTREAM_BROKEN 3", id="it never answers"),
        pytest.param([LOST], 9, "UPSTREAM_BROKEN 3", id="it is gone after one try"),
        pytest.param([BUSY, LOST], 9, "UPSTREAM_BROKEN 3", id="it is gone after an error and a try"),
        pytest.param([BUSY], 9, "UPSTREAM_UNREACHABLE 3", id="it is gone after an error"),
        pytest.param([LOST, ANSWER], 9, "200 2", id="it answers the second try"),
        pytest.param([LOST, LOST], 1, "UPSTREAM_BROKEN 1", id="its breaker opens after a try"),
        pytest.param([BUSY, BUSY], 1, "BREAKER_OPEN 1", id="its breaker opens after an error"),
    ],
)
async def test_a_call_that_was_sent_and_got_no_answer_is_broken_and_not_unreachable(
    upstream: Callable[..., Upstream], answers: Sequence[bytes], breaker_failures: int, ended: str
) -> None:
    timeouts = Timeouts(retry_base_s=0.001, breaker_failures=breaker_failures)
    async with answering(answers) as base_url:
        assert await tried(base_url, upstream, timeouts) == ended


async def test_a_call_on_a_connection_that_has_gone_stale_is_tried_again(
    upstream: Callable[..., Upstream],
) -> None:
    async with answering([ANSWER, LOST, ANSWER]) as base_url:
        assert await tried(base_url, upstream, Timeouts(retry_base_s=0.001), calls=2) == "200 2"


@pytest.fixture
def full() -> Iterator[str]:
    """The base URL of a server that takes no more connections, without a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        for client in waiting:
            client.close()


async def test_a_server_that_takes_no_connection_is_unreachable(
    upstream: Callable[..., Upstream], full: str
) -> None:
    timeouts = Timeouts(connect_s=0.05, retry_base_s=0.001, answer_s=WAIT_S)
    assert await tried(full, upstream, timeouts) == "UPSTREAM_UNREACHABLE 3"
