"""A whole migration while its parts are killed at random: the verdict is that of its triplets, and no
application notices."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from homeward.common.v1 import policy_pb2
from homeward.shadow.v1 import shadow_pb2

from services.shadow.adapters.store import Store
from services.shadow.core.verdict import windows
from tests.support.migration import Traffic, migration, parity_stack, register
from tests.support.stack import Stack, until

log = logging.getLogger(__name__)
PARTS = ("shadow", "ledger", "router", "router-1")
MARGIN = 0.5
"""What a kill makes late is a vote against; where a start takes longer than a window is waited for, it is
many votes. A narrow margin would have that REJECTED, as it should."""
LISTENS = '"message":"listening"'
"""What a router logs when it is up."""
FIRST = 5
"""Answers of applications before the first kill: fewer than the votes that READY needs."""
BETWEEN = (30, 150)
"""The same between two kills, at least and at most."""
LIMIT_S = 150.0


class Killer:
    """Kills a part at random again and again, and starts it anew, until it is told to end."""

    def __init__(self, stack: Stack, traffic: Traffic, seed: int) -> None:
        self._stack = stack
        self._traffic = traffic
        self._drawn = random.Random(seed)
        self._canary = asyncio.Event()
        self._ends = asyncio.Event()
        self.before: list[str] = []
        """Killed before the first canary was seen."""
        self.since: list[str] = []
        """Killed since."""
        self._kills = asyncio.create_task(self._kill())

    def sees_canary(self) -> None:
        """Some of the traffic has gone home: what is killed next is killed in the middle of it."""
        self._canary.set()

    async def end(self) -> None:
        """Ends with all parts up, having killed one since the first canary."""
        self._ends.set()
        await self._kills

    async def _kill(self) -> None:
        due = FIRST
        while not self._over():
            # At once when the first canary begins: it may be short.
            if len(self._traffic.answered) < due and (self.since or not self._canary.is_set()):
                await asyncio.sleep(0.02)
                continue
            part = self._drawn.choice(PARTS)
            (self.since if self._canary.is_set() else self.before).append(part)
            await self._restart(part)
            due = len(self._traffic.answered) + self._drawn.randint(*BETWEEN)

    async def _restart(self, part: str) -> None:
        starts = self._stack.log(part).count(LISTENS)
        await self._stack.kill(part)
        await self._stack.start(part)
        if part.startswith("router"):
            # They share a port, so that perhaps the other answered the probe. Were that killed now, nobody
            # would be there.
            async def listens() -> bool:
                return self._stack.log(part).count(LISTENS) > starts

            await until(listens, f"{part} listens")

    def _over(self) -> bool:
        return self._ends.is_set() and bool(self.since or not self._canary.is_set())


@pytest.mark.timeout(LIMIT_S + 120)
async def test_the_verdict_is_that_of_its_triplets_though_parts_are_killed_and_no_request_fails(
    tmp_path: Path,
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    stack = parity_stack(tmp_path, HOMEWARD_ROUTER__PROCESSES="2", HOMEWARD_SHADOW__CONTROL_SHARE="1")
    async with stack:
        await stack.start()
        experiment = await register(stack, margin=MARGIN)
        traffic = Traffic(stack, callers=2)
        try:
            killer = Killer(stack, traffic, seed)
            try:
                found = await _home(stack, killer)
            finally:
                await killer.end()
                log.warning(
                    "seed %d: killed %s, and since the first canary %s", seed, killer.before, killer.since
                )
        finally:
            await traffic.close()
        live = list(found.evidence.windows)
        controls = {item.lane: item.evidence.verdict for item in found.controls}
    assert not traffic.failed
    assert "sovereign" in traffic.answered
    assert killer.before
    assert killer.since
    assert controls["cloud"] == shadow_pb2.VERDICT_READY
    assert controls["degraded"] != shadow_pb2.VERDICT_READY

    store = Store(tmp_path / "shadow" / "shadow.sqlite", 1)
    try:
        epoch = store.experiment(experiment.experiment_id, 1)
        assert epoch is not None
        triplets = store.triplets(experiment.experiment_id, 1, "")
    finally:
        store.close()
    again = windows(triplets, epoch.rules, closed_by_unix_us=time.time_ns() // 1000)
    assert live[-1].verdict == shadow_pb2.VERDICT_READY
    assert [_of(item) for item in again[: len(live)]] == [_of_proto(item) for item in live]


async def _home(stack: Stack, killer: Killer) -> shadow_pb2.Migration:
    """Where the workload stands when it is at home and its control, the cloud against itself, is READY."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = await migration(stack)
        if found is not None and found.policy.stage in (policy_pb2.STAGE_CANARY, policy_pb2.STAGE_HOME):
            killer.sees_canary()
        if found is not None and found.policy.stage == policy_pb2.STAGE_HOME:
            lanes = {item.lane: item.evidence.verdict for item in found.controls}
            # It may come later: of samples that were taken before the cutover, windows close after it.
            if lanes.get("cloud") == shadow_pb2.VERDICT_READY:
                return found
        assert time.monotonic() < deadline, f"not at home within {LIMIT_S:g} s: {found}"
        await asyncio.sleep(0.1)


def _of(item: object) -> tuple[object, ...]:
    return tuple(
        getattr(item, name) for name in ("start_unix_us", "n", "log_k", "lower_bound", "histogram_sha256")
    )


def _of_proto(item: shadow_pb2.WindowEvidence) -> Iterable[object]:
    return (
        item.start_time.ToMicroseconds(),
        item.vote_count,
        item.log_k,
        item.lower_bound,
        item.histogram_sha256.hex(),
    )
