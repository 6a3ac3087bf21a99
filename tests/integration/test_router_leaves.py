"""A router that is told to stop lets the answers end that it has begun."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import pytest

from tests.support.stack import SECRETS, Stack

QUESTION = {"role": "user", "content": "Where is my card?"}
DONE = b"data: [DONE]"
SILENCE_S = 4
"""What its answer takes."""


@pytest.mark.parametrize("drain_s", [0.5, 60], ids=["longer than it may take", "within its time"])
async def test_answers_in_flight_end_within_the_time_that_is_set(tmp_path: Path, drain_s: float) -> None:
    limits = {"HOMEWARD_ROUTER__DRAIN_S": str(drain_s), "HOMEWARD_TIMEOUTS__SILENCE_S": "60"}
    stack = Stack(tmp_path, **limits)
    async with stack, aiohttp.ClientSession() as session:
        await stack.start()
        headers = {
            "Authorization": f"Bearer {SECRETS.api_key}",
            "x-stand-in-fault": f"silence={SILENCE_S}",
        }
        body = {"model": "stand-in-mini", "messages": [QUESTION], "stream": True}
        async with session.post(f"{stack.base_url}/chat/completions", json=body, headers=headers) as response:
            answered = await response.content.readuntil(b"\n\n")
            stopping = asyncio.create_task(stack.stop("router"))
            with contextlib.suppress(aiohttp.ClientError):
                answered += await response.content.read()
            assert (DONE in answered) is (drain_s > SILENCE_S)
        assert (await stopping)["router"] == 0
