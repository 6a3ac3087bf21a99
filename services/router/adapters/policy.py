"""The policy as the router keeps it: from the ledger while it is there, from disk while it is not.

While no ledger answers, the last policy stays in force, and everybody is told how old it is: nobody knows
then whether another has been made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.interceptors import untraced
from services.common.policy_rows import sampling_from_proto
from services.common.sampling import Sampling
from services.common.server import channel
from services.common.words import Stage, Target
from services.router.core.policy import Policy, WorkloadPolicy

log = logging.getLogger(__name__)

RECONNECT_S = 0.5
"""Pause before the policy's stream is opened again: a rollback must reach a router within a second."""
PROBE_S = 1.0
"""Pause between two questions whether the ledger is alive: a stream alone is silent for days, and says
nothing if the machine at its other end is gone."""
PROBE_TIMEOUT_S = 1.0
FAILURES = 2
"""Probes without an answer after which the ledger is away; one may be a moment of load."""


class PolicyAdapter:
    """Watches the ledger's policy and keeps the last one on disk."""

    def __init__(self, address: str, file: Path) -> None:
        """Starts from the file's policy, if there is one. Needs a running event loop."""
        self._file = file
        self.policy: Policy = self._load()
        """The policy in force."""
        self._alive = False
        """True while the stream is open and the ledger answers: then no other policy can be in force."""
        self._alive_unix_s = self._last_kept()
        """When that was last so; None if never."""
        self._told = False
        self._streaming = False
        self._failures = 0
        self._channel = channel(address)
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._probe_all())]
        self.has_policy = asyncio.Event()
        """Set once the ledger has sent a policy."""

    @property
    def age_s(self) -> int | None:
        """Seconds since the policy was known to be the last, at least 1; None while it is and without one."""
        if self._alive or self._alive_unix_s is None:
            return None
        return max(1, math.ceil(time.time() - self._alive_unix_s))

    async def close(self) -> None:
        """Stops watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def _keep(self) -> None:
        stub = ledger_pb2_grpc.LedgerServiceStub(self._channel)
        while True:
            try:
                # 0, not the version at hand: a journal that was replaced may count anew.
                request = ledger_pb2.WatchPolicyRequest(known_version=0)
                async for update in stub.WatchPolicy(request, wait_for_ready=True, metadata=untraced()):
                    try:
                        self.policy = from_proto(update.policy)
                    except ValueError as error:
                        # The watch must go on: the next version may be one that can be read.
                        self._unreadable(update.policy.version, error)
                        continue
                    self._save(update.policy)
                    self._streaming, self._failures = True, 0
                    self._heard()
                    self.has_policy.set()
                    log.info("policy %d is in force", self.policy.version)
                self._lost("its stream ended")
            except aio.AioRpcError as error:
                self._lost(error.code().name)
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    log.warning("the policy is not kept: %s", error.code().name)
            self._streaming = False
            await asyncio.sleep(RECONNECT_S)

    async def _probe_all(self) -> None:
        stub = health_pb2_grpc.HealthStub(self._channel)
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                await stub.Check(  # type: ignore[attr-defined]  # the stubs lack it
                    health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S, metadata=untraced()
                )
            except aio.AioRpcError as error:
                self._failures += 1
                if self._failures >= FAILURES:
                    self._lost(error.code().name)
            else:
                self._failures = 0
                if self._streaming:
                    self._heard()

    def _heard(self) -> None:
        self._alive_unix_s = time.time()
        self._alive = True
        if self._told:
            self._told = False
            log.warning("the last policy is known again: %d", self.policy.version)
        # A router that starts without a ledger learns from it how old its policy is.
        with contextlib.suppress(OSError):
            os.utime(self._file)

    def _lost(self, why: str) -> None:
        self._alive = False
        if not self._told:
            self._told = True
            age = "never known" if self.age_s is None else f"known to be the last {self.age_s} s ago"
            log.warning(
                "the last policy is not known (%s); policy %d stays in force, %s",
                why,
                self.policy.version,
                age,
            )

    def _unreadable(self, version: int, error: ValueError) -> None:
        log.error("the ledger's policy %d can't be read: %s; is it a newer version's?", version, error)
        # Another policy is in force, so the one at hand ages though the ledger answers.
        self._streaming = False
        self._lost(f"its policy {version} can't be read")

    def _last_kept(self) -> float | None:
        try:
            return self._file.stat().st_mtime if self.policy.version else None
        except OSError:
            return None

    def _load(self) -> Policy:
        try:
            return from_proto(policy_pb2.Policy.FromString(self._file.read_bytes()))
        except FileNotFoundError:
            return Policy()
        except (DecodeError, OSError, ValueError) as error:
            log.warning("the policy on disk can't be read (%s); starting without one", error)
            return Policy()

    def _save(self, policy: policy_pb2.Policy) -> None:
        # Replaced as a whole, so that a crash leaves the old one or the new one.
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_bytes(policy.SerializeToString())
            os.replace(fresh, self._file)
        except OSError as error:
            log.warning("the policy can't be kept on disk: %s", error)


def from_proto(policy: policy_pb2.Policy) -> Policy:
    """The policy as the core reads it."""
    return Policy(
        version=policy.version,
        workloads={
            row.workload: WorkloadPolicy(
                stage=Stage(row.stage),
                sovereign_share_ppm=row.sovereign_share_ppm,
                allowed_targets=frozenset(Target(item) for item in row.allowed_targets),
                allowed_regions=frozenset(row.allowed_regions),
                fallback_allowed=row.fallback_allowed,
                sampling=_sampling(row),
            )
            for row in policy.workloads
        },
    )


def _sampling(row: policy_pb2.WorkloadPolicy) -> Sampling | None:
    try:
        return sampling_from_proto(row)
    except ValueError as error:
        # Where requests run matters more than whether they are compared.
        log.error("%r is not sampled: %s", row.workload, error)
        return None
