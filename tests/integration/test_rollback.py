"""A rollback is one policy version, in force on every router at once; what is under way is not disturbed.

`bench/rollback.py` measures how long it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import aiohttp
import orjson
import pytest
from aiohttp import web
from grpc import aio
from homeward.ledger.v1 import ledger_pb2_grpc

from services.common.stages import HOME, ROLLED_BACK, Place
from tests.support.anthropic_upstream import Received, Recorder
from tests.support.policy import bring_to
from tests.support.routers import (
    MODEL,
    PARTS,
    SETTINGS,
    Answered,
    Router,
    answered,
    headers,
    start,
    start_routers,
)
from tests.support.stack import Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKLOAD = "summaries"
DONE = b"data: [DONE]\n\n"


class Held:
    """A model at home that answers at once, but holds a stream after its first word until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def respond(self, request: web.Request, received: Received) -> web.StreamResponse:
        """Answers a chat."""
        if not received.document.get("stream"):
            message = {"role": "assistant", "content": "At home"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response(
                {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk({"content": "At "}, None))
        await self.go.wait()
        await response.write(chunk({"content": "home"}, "stop") + DONE)
        return response


def chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
    """An event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    document = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(document) + b"\n\n"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Two routers and their ledger, and an application that asks both."""

    stack: Stack
    routers: Sequence[Router]
    session: aiohttp.ClientSession
    held: Held

    async def decide(self, place: Place) -> int:
        """Has the ledger move the workload; gives the policy version that does it."""
        async with aio.insecure_channel(f"127.0.0.1:{self.stack.ports['ledger']}") as channel:
            return await bring_to(ledger_pb2_grpc.LedgerServiceStub(channel), WORKLOAD, place)

    async def ask(self) -> list[Answered]:
        """A request to each router."""
        return [await router.ask(self.session, WORKLOAD) for router in self.routers]

    async def answer(self, target: str, version: int) -> None:
        """Waits until all routers answer from a target under a policy; none may fail on the way."""
        wanted = [Answered(200, target, version)] * len(self.routers)

        async def all_do() -> bool:
            found = await self.ask()
            assert [item.status for item in found] == [200] * len(found)
            return found == wanted

        await until(all_do, f"all answer from the {target} under policy {version}")


@dataclass(slots=True)
class Stream:
    """An answer that is under way."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    said: bytes = b""
    answered: Answered | None = None

    async def read(self, router: Router, session: aiohttp.ClientSession) -> None:
        """Asks, and reads to the end."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        url = f"{router.base_url}/chat/completions"
        async with session.post(url, json=body, headers=headers(WORKLOAD)) as response:
            self.answered = answered(response)
            async for piece in response.content.iter_any():
                self.said += piece
                self.begun.set()


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    held = Held()
    # Streams are held for as long as a slow machine needs to decide.
    patience = {f"HOMEWARD_TIMEOUTS__{name}_S": "60" for name in ("FIRST_TOKEN", "SILENCE", "ANSWER")}
    async with Recorder(held.respond).running() as home:
        stack = Stack(tmp_path_factory.mktemp("fleet"), SETTINGS.format(home=home.base_url), **patience)
        async with stack, aiohttp.ClientSession() as session:
            await stack.start(*PARTS[:-1])
            yield Fleet(stack, await start_routers(stack, 2), session, held)


async def test_after_a_rollback_every_router_answers_from_the_cloud(fleet: Fleet) -> None:
    at_home = await fleet.decide(HOME)
    await fleet.answer("sovereign", at_home)
    back = await fleet.decide(ROLLED_BACK)
    assert back == at_home + 1
    await fleet.answer("cloud", back)


async def test_a_request_that_is_under_way_ends_well_where_it_began(fleet: Fleet) -> None:
    at_home = await fleet.decide(HOME)
    await fleet.answer("sovereign", at_home)
    streams = [Stream() for _ in fleet.routers]
    reading = [
        asyncio.create_task(stream.read(router, fleet.session))
        for stream, router in zip(streams, fleet.routers, strict=True)
    ]
    for stream in streams:
        await stream.begun.wait()
    await fleet.answer("cloud", await fleet.decide(ROLLED_BACK))
    assert not any(task.done() for task in reading)
    fleet.held.go.set()
    await asyncio.gather(*reading)
    for stream in streams:
        assert stream.answered == Answered(200, "sovereign", at_home)
        assert stream.said.endswith(DONE)
        assert stream.said.count(b'"content"') == 2


async def test_a_router_without_a_ledger_keeps_its_policy_and_follows_when_it_is_back(fleet: Fleet) -> None:
    at_home = await fleet.decide(HOME)
    await fleet.answer("sovereign", at_home)
    await fleet.stack.kill("ledger")
    assert await fleet.ask() == [Answered(200, "sovereign", at_home)] * 2
    # Also one that starts anew: it finds the policy on its disk.
    *_, last = fleet.routers
    await fleet.stack.kill(last.name)
    await start(fleet.stack, last)
    assert await fleet.ask() == [Answered(200, "sovereign", at_home)] * 2
    await fleet.stack.start("ledger")
    await fleet.answer("cloud", await fleet.decide(ROLLED_BACK))
