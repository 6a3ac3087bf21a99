"""The policy as the router keeps it: from the ledger while it is there, from disk while it is not."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.interceptors import untraced
from services.common.server import channel
from services.common.words import Stage, Target
from services.router.core.policy import Policy, WorkloadPolicy

log = logging.getLogger(__name__)

RECONNECT_S = 0.5
"""Pause before the policy's stream is opened again: a rollback must reach a router within a second."""


class PolicyAdapter:
    """Watches the ledger's policy and keeps the last one on disk."""

    def __init__(self, address: str, file: Path) -> None:
        """Starts from the file's policy, if there is one. Needs a running event loop."""
        self._file = file
        self.policy: Policy = self._load()
        """The policy in force."""
        self._channel = channel(address)
        self._watch = asyncio.create_task(self._keep())
        self.has_policy = asyncio.Event()
        """Set once the ledger has sent a policy."""

    async def close(self) -> None:
        """Stops watching."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._channel.close()

    async def _keep(self) -> None:
        stub = ledger_pb2_grpc.LedgerServiceStub(self._channel)
        while True:
            try:
                # 0, not the version at hand: a journal that was replaced may count anew.
                request = ledger_pb2.WatchPolicyRequest(known_version=0)
                async for update in stub.WatchPolicy(request, wait_for_ready=True, metadata=untraced()):
                    self.policy = from_proto(update.policy)
                    self._save(update.policy)
                    self.has_policy.set()
                    log.info("policy %d is in force", self.policy.version)
            except aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    log.warning("the policy is not kept: %s", error.code().name)
            await asyncio.sleep(RECONNECT_S)

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
            )
            for row in policy.workloads
        },
    )
