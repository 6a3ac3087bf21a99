"""A value that is watched: what changes is told, and who waits is let go at the end."""

from __future__ import annotations

import asyncio

import pytest

from services.common.board import Board


async def test_a_watcher_gets_the_value_and_each_change() -> None:
    board = Board("first", 1)
    watch = board.watch(0)
    assert await anext(watch) == "first"
    board.post("second", 2)
    assert await anext(watch) == "second"


@pytest.mark.parametrize("known_version", [0, 1])
async def test_a_board_that_closes_ends_every_watch(known_version: int) -> None:
    board = Board("first", 1)
    got: list[str] = []

    async def watch() -> None:
        async for value in board.watch(known_version):
            got.append(value)

    watching = [asyncio.create_task(watch()) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    board.close()
    await asyncio.gather(*watching)
    assert got == ["first"] * (0 if known_version else 3)
    # Who comes while the server closes is not kept either.
    assert [value async for value in board.watch(0)] == []
