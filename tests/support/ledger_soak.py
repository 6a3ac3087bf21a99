"""The soak of the ledger: legs are booked while ledger and ClickHouse are killed at random moments."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.booking import Callers, Sent, assert_whole, ledger_stack
from tests.support.stack import Stack

VICTIMS = ("ledger", "clickhouse")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do."""

    legs: int
    kills: int
    callers: int = 4
    chunk_legs: int = 500
    seed: int = 1


@dataclass(slots=True)
class Soaked:
    """What came of it."""

    plan: Plan
    sent: Sent
    kills: Counter[str] = field(default_factory=Counter)
    booking_s: float = 0.0
    """Until the last leg was acknowledged."""
    whole_s: float = 0.0
    """From then until all was booked and proven."""
    rows: int = 0
    """In ClickHouse."""
    told: dict[str, Any] = field(default_factory=dict)
    """What verify says."""


async def soak(folder: Path, plan: Plan, progress: Callable[[Soaked], None] = lambda _: None) -> Soaked:
    """Books and kills, and checks that the book is whole.

    Args:
        folder: an empty one.
        plan: what to do.
        progress: called now and then.

    Raises:
        AssertionError: a leg is lost or there twice, a figure is wrong, or the book is not whole.
    """
    async with ledger_stack(folder) as stack:
        callers = Callers(stack, seed=plan.seed, callers=plan.callers)
        soaked = Soaked(plan, callers.sent)
        began = time.monotonic()
        sending = asyncio.create_task(callers.book(plan.legs, plan.chunk_legs))
        await _kill(stack, soaked, sending, progress)
        while not sending.done():
            progress(soaked)
            await asyncio.sleep(0.05)
        await sending
        soaked.booking_s = time.monotonic() - began
        soaked.told = await assert_whole(stack, soaked.sent)
        soaked.rows = int((await stack.query("SELECT count() FROM homeward.legs"))[0][0])
        soaked.whole_s = time.monotonic() - began - soaked.booking_s
    return soaked


async def _kill(
    stack: Stack, soaked: Soaked, sending: asyncio.Task[None], progress: Callable[[Soaked], None]
) -> None:
    plan = soaked.plan
    at_random = random.Random(plan.seed)
    moments = sorted(at_random.randrange(plan.legs) for _ in range(plan.kills))
    for moment in moments:
        while soaked.sent.acknowledged < moment and not sending.done():
            progress(soaked)
            await asyncio.sleep(0.01)
        victim = at_random.choice(VICTIMS)
        # Some milliseconds more or less: between a batch's seal, entry, rows and release.
        await asyncio.sleep(at_random.random() / 10)
        await stack.kill(victim)
        soaked.kills[victim] += 1
        await stack.start(victim)
