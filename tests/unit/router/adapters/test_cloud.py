"""Connections to an upstream whose answer nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

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
