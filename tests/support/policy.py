"""Decisions for tests: a workload walks the stage table as it does in life, each step with its evidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.sampling import ID_BYTES
from services.common.stages import MOVES, SHADOWED, Place
from services.common.words import Stage
from tests.support.stack import WAIT_S

Stub: TypeAlias = "ledger_pb2_grpc.LedgerServiceAsyncStub"

EXPERIMENT = b"e" * ID_BYTES
SALT = b"s" * ID_BYTES
_SAMPLED = {Stage.SHADOWED: False, Stage.CANARY: True, Stage.HOME: True}
"""The stages with a sampling, and whether it is reversed."""


async def bring_to(
    stub: Stub,
    workload: str,
    place: Place,
    experiment_id: bytes = EXPERIMENT,
    *,
    epoch: int = 1,
    rate_ppm: int = 0,
) -> int:
    """Walks a workload to a place by the shortest way.

    Args:
        experiment_id: of a comparison that begins on the way; one that runs goes on.
        epoch: likewise.
        rate_ppm: what is sampled. By default nothing is: legs of a comparison would disturb most tests.

    Returns:
        The version of the policy that has it there.
    """
    policy = await policy_of(stub)
    version = policy.version
    (row,) = (item for item in policy.workloads if item.workload == workload)
    for step in way(Place(Stage(row.stage), row.sovereign_share_ppm), place):
        row = moved(row, step, experiment_id, epoch=epoch, rate_ppm=rate_ppm)
        made = (await stub.Decide(proposal(row, version), timeout=WAIT_S)).decision
        version, row = made.policy_version, made.after
    return version


async def policy_of(stub: Stub, known_version: int = 0) -> policy_pb2.Policy:
    """The first policy that a watcher gets."""
    watch = stub.WatchPolicy(ledger_pb2.WatchPolicyRequest(known_version=known_version), timeout=WAIT_S)
    first = await watch.read()
    assert isinstance(first, ledger_pb2.WatchPolicyResponse)
    watch.cancel()
    return first.policy


def way(start: Place, goal: Place) -> list[Place]:
    """The places between two, the goal included; none if they are one."""
    ways: dict[Place, list[Place]] = {start: []}
    todo = [start]
    while goal not in ways:
        at = todo.pop(0)
        for before, after in MOVES:
            if before == at and after not in ways:
                ways[after] = [*ways[at], after]
                todo.append(after)
    return ways[goal]


def moved(
    row: policy_pb2.WorkloadPolicy,
    place: Place,
    experiment_id: bytes = EXPERIMENT,
    *,
    epoch: int = 1,
    rate_ppm: int = 0,
) -> policy_pb2.WorkloadPolicy:
    """A workload's row at another place."""
    after = policy_pb2.WorkloadPolicy()
    after.CopyFrom(row)
    after.stage = policy_pb2.Stage.ValueType(place.stage)
    after.sovereign_share_ppm = place.share_ppm
    after.ClearField("sampling")
    if (is_reversed := _SAMPLED.get(place.stage)) is not None:
        # What a comparison begins with, it keeps to the end.
        runs = row.HasField("sampling") and place != SHADOWED
        fresh = policy_pb2.Sampling(experiment_id=experiment_id, epoch=epoch, salt=SALT)
        after.sampling.CopyFrom(row.sampling if runs else fresh)
        after.sampling.rate_ppm, after.sampling.reversed = rate_ppm, is_reversed
    return after


def proposal(
    after: policy_pb2.WorkloadPolicy | None, version: int, **changes: Any
) -> ledger_pb2.DecideRequest:
    """A decision for a row, with all the evidence that any move needs, but for the changes."""
    evidence = changes.pop("evidence", ready(after))
    request = ledger_pb2.DecideRequest(
        **{
            "request_id": os.urandom(16),
            "expected_policy_version": version,
            "actor": "tests",
            "reason": "to see what follows",
            "after": after,
            **changes,
        }
    )
    request.evidence.update(evidence)
    return request


def ready(after: policy_pb2.WorkloadPolicy | None) -> Mapping[str, Any]:
    """What shadow says of an experiment that is READY; nothing for a row without one."""
    if after is None or not after.HasField("sampling"):
        return {}
    return {
        "verdict": "READY",
        "experiment_id": after.sampling.experiment_id.hex(),
        "epoch": after.sampling.epoch,
        "window_start": "2026-11-29T00:00:00Z",
        "histogram_sha256": "5e" * 32,
        "votes": 400,
        "log_k": 3.25,
        "lower_bound": -0.01,
        "upper_bound": 0.03,
    }
