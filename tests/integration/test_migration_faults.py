"""A whole migration while its parts are killed at random: the verdict is that of its triplets, and no
application notices."""

from __future__ import annotations

import asyncio
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

PARTS = ("shadow", "ledger", "router", "router-1")
KILLS = 4
BETWEEN = 30
"""Answers of applications between two kills."""
LIMIT_S = 90.0


@pytest.mark.timeout(240)
async def test_the_verdict_is_that_of_its_triplets_though_parts_are_killed_and_no_request_fails(
    tmp_path: Path,
) -> None:
    drawn = random.Random(7)
    stack = parity_stack(tmp_path, HOMEWARD_ROUTER__PROCESSES="2", HOMEWARD_SHADOW__CONTROL_SHARE="0.5")
    async with stack:
        await stack.start()
        experiment = await register(stack)
        traffic = Traffic(stack, callers=2)
        try:
            for _ in range(KILLS):
                enough = len(traffic.answered) + BETWEEN

                async def answered(enough: int = enough) -> bool:
                    return len(traffic.answered) >= enough

                await until(answered, f"{enough} answers")
                part = drawn.choice(PARTS)
                await stack.kill(part)
                await stack.start(part)
            found = await _home(stack)
        finally:
            await traffic.close()
        live = list(found.evidence.windows)
        controls = {item.lane: item.evidence.verdict for item in found.controls}
    assert not traffic.failed
    assert "sovereign" in traffic.answered
    assert controls.get("degraded") != shadow_pb2.VERDICT_READY

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


async def _home(stack: Stack) -> shadow_pb2.Migration:
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = await migration(stack)
        if found is not None and found.policy.stage == policy_pb2.STAGE_HOME:
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
