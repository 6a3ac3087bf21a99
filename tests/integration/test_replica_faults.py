"""Replicas die and hang: each request has one outcome, and the dead come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from tests.support.replicas import ANSWER_TOKENS, PAIR, House, booked, open_house, tokens

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOADED = "successfully loaded"
ABORTED = "lock_exception"
"""What Triton logs when a model is there, and when a process died that held a lock."""


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with open_house(tmp_path_factory.mktemp("faults"), *PAIR) as house:
        yield house


async def hurt_in_mid_flight(house: House, hurt: Callable[[], None]) -> None:
    """Has many requests in flight, half of them at each server of the pair, and hurts one server.

    Checks that each request has one outcome, which is the book's, and that what could be saved was.
    """
    # Two of each model at each server: they take turns.
    wholes = [house.ask(("home", "home-two")[seed // 2 % 2], seed=seed) for seed in range(8)]
    tasks = [asyncio.create_task(item.whole()) for item in wholes]
    streams = [house.ask("home", seed=seed) for seed in range(8)]
    tasks += [asyncio.create_task(item.streamed()) for item in streams]
    await asyncio.gather(*(item.begun.wait() for item in streams))
    hurt()
    late = [house.ask("home", seed=seed) for seed in range(8)]
    tasks += [asyncio.create_task(item.streamed()) for item in late]
    await asyncio.gather(*tasks)
    asked = [*streams, *wholes, *late]
    legs = await booked(house, asked)
    assert [leg["outcome"] for leg in legs] == [item.outcome for item in asked]
    assert {item.outcome for item in (*wholes, *late)} == {"ok"}, "what had not begun is answered elsewhere"
    assert {item.outcome for item in streams} == {"ok", "broken"}
    for item, leg in zip(asked, legs, strict=True):
        if item.outcome == "broken":
            assert item.code == "upstream_broken"
            assert leg["error_reason"] == "UPSTREAM_BROKEN"
            assert (leg["output_tokens"], leg["usage_source"]) == (tokens(item.text), "upstream")
    assert any(leg["attempts"] == 2 for leg in legs)


@pytest.mark.parametrize("versions", [(1,), (1, 2)], ids=["one", "both"])
async def test_killed_python_processes_lose_no_request_and_come_back(
    house: House, versions: Sequence[int]
) -> None:
    first, ups, loads = house.servers["first"], house.ups("first"), house.said("first", LOADED)
    router = house.stack.pid("router")

    def kill() -> None:
        for version in versions:
            first.kill(version)

    await hurt_in_mid_flight(house, kill)
    await house.well("first", ups)
    assert house.said("first", LOADED) > loads
    assert house.stack.pid("router") == router
    await house.anew("first")


async def test_a_hanging_python_process_loses_no_request_and_is_replaced(house: House) -> None:
    second, ups, loads = house.servers["second"], house.ups("second"), house.said("second", LOADED)
    stopped = second.stubs()[1]
    try:
        await hurt_in_mid_flight(house, lambda: second.kill(1, signal.SIGSTOP))
        await house.well("second", ups)
        assert house.said("second", LOADED) > loads
    finally:
        await house.anew("second")
        # It could not see that its server is gone.
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)


async def test_a_version_that_dies_takes_no_answer_of_another_along(house: House) -> None:
    first, ups, aborts = house.servers["first"], house.ups("first"), house.said("first", ABORTED)
    healthy = [house.ask("home", max_tokens=3 * ANSWER_TOKENS) for _ in range(4)]
    tasks = [asyncio.create_task(item.streamed()) for item in healthy]
    await asyncio.gather(*(item.begun.wait() for item in healthy))
    dying = [house.ask("home-two", seed=seed) for seed in range(4)]
    tasks += [asyncio.create_task(item.whole()) for item in dying]
    first.kill(2)
    await asyncio.gather(*tasks)
    assert {item.outcome for item in dying} == {"ok"}
    await booked(house, [*healthy, *dying])
    await house.well("first", ups)
    if house.said("first", ABORTED) == aborts:
        assert {item.outcome for item in healthy} == {"ok"}
    await house.anew("first")


async def test_a_killed_server_that_starts_again_is_taken_back_as_it_is(house: House) -> None:
    second, ups, loads = house.servers["second"], house.ups("second"), house.said("second", LOADED)
    hurt = [house.ask("home", seed=seed) for seed in range(8)]
    tasks = [asyncio.create_task(item.whole()) for item in hurt]
    os.kill(second.pid, signal.SIGKILL)
    await asyncio.gather(*tasks)
    assert {item.outcome for item in hurt} == {"ok"}
    await booked(house, hurt)
    await house.well("second", ups)
    assert house.said("second", LOADED) == loads + 1, "a model that is well is not loaded again"


async def test_a_stopped_server_is_left_out_until_it_goes_on(house: House) -> None:
    second, ups, loads = house.servers["second"], house.ups("second"), house.said("second", LOADED)
    os.kill(second.pid, signal.SIGSTOP)
    try:
        asked = await asyncio.gather(*(house.ask("home", max_tokens=4).whole() for _ in range(8)))
        assert {item.outcome for item in asked} == {"ok"}
        await booked(house, asked)
    finally:
        os.kill(second.pid, signal.SIGCONT)
    await house.well("second", ups)
    assert house.said("second", LOADED) == loads
