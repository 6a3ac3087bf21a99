"""Each leg is in ClickHouse exactly once, whoever is killed while it is on its way."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from tests.support.stack import SECRETS, Stack, until

REQUESTS = 40


async def ask(stack: Stack, count: int) -> set[str]:
    """Sends requests and gives the request ids of those that were answered."""
    body = {"model": "stand-in-mini", "messages": [{"role": "user", "content": "Where is my card?"}]}
    headers = {"Authorization": f"Bearer {SECRETS.api_key}"}
    answered: set[str] = set()
    async with aiohttp.ClientSession(headers=headers) as session:

        async def one() -> None:
            async with session.post(f"{stack.base_url}/chat/completions", json=body) as response:
                assert response.status == 200, await response.text()
                answered.add(response.headers["x-homeward-request-id"])

        await asyncio.gather(*(one() for _ in range(count)))
    return answered


async def in_the_router_queue(stack: Stack, count: int) -> None:
    """Waits until the router's queue on disk has taken that many legs, ever."""
    file = stack.folder / "router" / "0" / "legs.sqlite"

    async def taken() -> bool:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'item'").fetchone()
        return bool(row) and row[0] >= count

    await until(taken, f"{count} legs in the router's queue")


async def booked_once(stack: Stack, answered: set[str]) -> None:
    """Checks that the legs of the requests, and no others, are there, each once."""
    legs = await stack.legs(len(answered), "leg_id, request_id")
    assert len({leg["leg_id"] for leg in legs}) == len(legs)
    assert {str(leg["request_id"]) for leg in legs} == answered


@pytest.mark.parametrize("victim", ["router", "ledger", "clickhouse"])
async def test_a_leg_in_the_routers_queue_survives_kill_9(tmp_path: Path, victim: str) -> None:
    async with Stack(tmp_path) as stack:
        await stack.start()
        answered = await ask(stack, REQUESTS)
        await in_the_router_queue(stack, REQUESTS)
        await stack.kill(victim)
        if victim != "router":
            answered |= await ask(stack, REQUESTS)
            await in_the_router_queue(stack, 2 * REQUESTS)
        await stack.start(victim)
        answered |= await ask(stack, REQUESTS)
        await booked_once(stack, answered)


async def test_everything_killed_again_and_again_books_each_leg_once(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        await stack.start()
        answered: set[str] = set()
        for round_, victim in enumerate(("ledger", "clickhouse", "router", "clickhouse", "ledger"), 1):
            answered |= await ask(stack, REQUESTS)
            await in_the_router_queue(stack, round_ * REQUESTS)
            await stack.kill(victim)
            await stack.start(victim)
        await booked_once(stack, answered)


async def test_without_a_ledger_applications_are_answered_and_legs_wait_on_disk(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        await stack.start()
        await stack.kill("ledger")
        answered = await ask(stack, REQUESTS)
        await in_the_router_queue(stack, REQUESTS)
        codes = await stack.stop("router")
        assert codes == {"router": 0}
        await stack.start("ledger", "router")
        await booked_once(stack, answered)
