"""A router keeps its last policy, and says how old it is while it can't know whether it is the last."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from deploy.local.ports import free_ports
from services.common.policy_rows import sampling_to_proto
from services.common.sampling import Sampling
from services.common.server import Server
from services.router.adapters import policy as adapter
from services.router.adapters.policy import PolicyAdapter, from_proto
from tests.support.stack import until

SAMPLING = Sampling(b"e" * 16, 2, 10_000, b"s" * 16, reversed=True)
ROW = policy_pb2.WorkloadPolicy(
    workload="triage",
    stage=policy_pb2.STAGE_SHADOWED,
    allowed_targets=[1, 2],
    sampling=sampling_to_proto(SAMPLING),
)


class Ledger(ledger_pb2_grpc.LedgerServiceServicer):
    """Sends its policy, and another when it is decided."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.policy = policy_pb2.Policy(version=7, workloads=[ROW])
        self.watchers = 0
        self._changed = asyncio.Event()
        self._server: Server | None = None

    async def start(self) -> None:
        self._server = Server("homeward.ledger.v1.LedgerService")
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(self, self._server.grpc)
        await self._server.start(self.address)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.grpc.stop(0)
            self._server = None

    async def WatchPolicy(self, request: Any, context: Any) -> AsyncIterator[ledger_pb2.WatchPolicyResponse]:
        self.watchers += 1
        while True:
            self._changed.clear()
            yield ledger_pb2.WatchPolicyResponse(policy=self.policy)
            await self._changed.wait()

    def decide(self, version: int, *rows: policy_pb2.WorkloadPolicy) -> None:
        """Puts another policy in force, which the open streams tell."""
        self.policy = policy_pb2.Policy(version=version, workloads=rows)
        self._changed.set()


@pytest.fixture
async def ledger(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    for name in ("RECONNECT_S", "PROBE_S"):
        monkeypatch.setattr(adapter, name, 0.02)
    made = Ledger()
    yield made
    await made.stop()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if record.name == adapter.__name__]
    return [record.getMessage() for record in found if record.levelno >= logging.WARNING]


async def aged(policy: PolicyAdapter, aged: bool = True) -> None:
    async def right() -> bool:
        return (policy.age_s is not None) is aged

    await until(right, "old" if aged else "known to be the last")


async def test_the_age_is_told_while_the_ledger_is_away_and_only_then(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.start()
    policy = PolicyAdapter(ledger.address, tmp_path / "policy.binpb")
    await policy.has_policy.wait()
    assert (policy.policy.version, policy.age_s) == (7, None)
    assert told(caplog) == []
    await ledger.stop()
    await aged(policy)
    age = policy.age_s
    assert age is not None
    assert age >= 1
    assert policy.policy.version == 7
    ledger.policy.version = 8
    await ledger.start()
    await aged(policy, False)
    assert policy.policy.version == 8
    first, last = told(caplog)
    assert "policy 7 stays in force" in first
    assert last == "the last policy is known again: 8"
    await policy.close()


async def test_a_ledger_that_hangs_is_noticed_though_its_stream_stays_open(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.start()
    policy = PolicyAdapter(ledger.address, tmp_path / "policy.binpb")
    await policy.has_policy.wait()
    # The service's health is asked for, which a deadline of nothing never hears.
    monkeypatch.setattr(adapter, "PROBE_TIMEOUT_S", 0.0)
    await aged(policy)
    monkeypatch.setattr(adapter, "PROBE_TIMEOUT_S", 5.0)
    await aged(policy, False)
    assert ledger.watchers == 1
    assert len(told(caplog)) == 2
    await policy.close()


async def test_a_router_that_starts_without_a_ledger_has_the_policy_and_its_age_from_disk(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "policy.binpb"
    file.write_bytes(ledger.policy.SerializeToString())
    os.utime(file, (0, time.time() - 1000))
    policy = PolicyAdapter(ledger.address, file)
    assert policy.age_s is not None
    assert policy.age_s >= 1000
    assert policy.policy.row("triage").sampling == SAMPLING

    async def warned() -> bool:
        return bool(told(caplog))

    await until(warned, "a warning")
    assert policy.age_s >= 1000
    await ledger.start()
    await aged(policy, False)
    assert time.time() - file.stat().st_mtime < 1000
    await policy.close()


@pytest.mark.parametrize("fields", [{"stage": 99}, {"allowed_targets": [1, 99]}], ids=["a stage", "a target"])
async def test_a_policy_that_can_not_be_read_ages_the_last_one_and_ends_no_watch(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture, fields: dict[str, Any]
) -> None:
    await ledger.start()
    policy = PolicyAdapter(ledger.address, tmp_path / "policy.binpb")
    await policy.has_policy.wait()
    ledger.decide(8, policy_pb2.WorkloadPolicy(**{"workload": "triage", "stage": 1, **fields}))
    await aged(policy)
    assert policy.policy.version == 7
    unread, _ = told(caplog)
    assert unread.startswith("the ledger's policy 8 can't be read")
    # The next probe takes it back.
    policy._failures = 1

    async def probed() -> bool:
        return policy._failures == 0

    await until(probed, "the ledger said that it is alive")
    assert policy.age_s is not None
    ledger.decide(9, ROW)
    await aged(policy, False)
    assert (policy.policy.version, ledger.watchers) == (9, 1)
    await policy.close()


async def test_the_age_of_no_policy_is_unknown(ledger: Ledger, tmp_path: Path) -> None:
    policy = PolicyAdapter(ledger.address, tmp_path / "policy.binpb")
    assert (policy.policy.version, policy.age_s) == (0, None)
    await policy.close()


def test_a_sampling_that_breaks_its_contract_costs_the_comparison_and_not_the_policy() -> None:
    row = policy_pb2.WorkloadPolicy()
    row.CopyFrom(ROW)
    row.sampling.salt = b"short"
    policy = from_proto(policy_pb2.Policy(version=1, workloads=[row]))
    assert policy.row("triage").sampling is None
    assert len(policy.row("triage").allowed_targets) == 2
