"""The ledger as shadow sees it: the policy that is in force, and decisions that are proposed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc import aio
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.errors import DomainError, Reason
from services.common.interceptors import UnaryClientInterceptor, refusal, untraced
from services.common.policy_rows import sampling_from_proto
from services.common.sampling import Sampling
from services.common.server import channel
from services.common.stages import Place
from services.common.words import Stage, Target

log = logging.getLogger(__name__)

RECONNECT_S = 0.5
"""Pause before the policy's stream is opened again."""
DECIDE_TIMEOUT_S = 5.0
"""Longest wait for a decision. One whose answer is lost is found in the policy, or proposed again."""
PAGE = 1_000
"""Decisions that are asked for at once."""


@dataclass(frozen=True, slots=True)
class Row:
    """The policy's row for one workload."""

    place: Place
    sampling: Sampling | None
    allowed_targets: frozenset[Target]
    proto: policy_pb2.WorkloadPolicy
    """The row as it came; not to be changed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole table; version 0 is none."""

    version: int = 0
    rows: Mapping[str, Row] = field(default_factory=dict)


class LedgerAdapter:
    """Watches the ledger's policy, and decides."""

    def __init__(self, address: str) -> None:
        """Starts without a policy. Needs a running event loop."""
        self.policy = Policy()
        """The last one; stays while the ledger is away."""
        self.connected = False
        """Whether the ledger is there, as far as the watch knows."""
        self._left_s: float | None = None
        self._came = asyncio.Event()
        # Two: the client's span is a unary call's, and the watch belongs to no trace.
        self._channel = channel(address, [UnaryClientInterceptor()])
        self._quiet_channel = channel(address)
        self._stub = ledger_pb2_grpc.LedgerServiceStub(self._channel)
        self._watch = asyncio.create_task(self._keep())

    @property
    def age_s(self) -> int | None:
        """Seconds since the policy was known to be the last, at least 1; None while it is, or with none."""
        if self.connected or self._left_s is None:
            return None
        return max(1, math.ceil(time.monotonic() - self._left_s))

    async def decide(
        self,
        row: policy_pb2.WorkloadPolicy,
        expected_version: int,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any],
        request_id: bytes,
    ) -> ledger_pb2.Decision:
        """Proposes a workload's new row.

        Args:
            row: as it shall be.
            expected_version: the policy that the decision rests on.
            actor: who decides.
            reason: a sentence.
            evidence: what it rests on; JSON.
            request_id: 16 bytes; a decision that comes again under the same id is the one of before.

        Raises:
            DomainError: what the ledger says; STORAGE_UNAVAILABLE if it does not answer, and then the
                decision may have been made all the same.
        """
        request = ledger_pb2.DecideRequest(
            request_id=request_id,
            expected_policy_version=expected_version,
            actor=actor,
            reason=reason,
            after=row,
        )
        request.evidence.update(evidence)
        try:
            answer = await self._stub.Decide(request, timeout=DECIDE_TIMEOUT_S)
        except aio.AioRpcError as error:
            raise domain_error(error, "ledger") from None
        decision: ledger_pb2.Decision = answer.decision
        # It rests on the policy at hand, so the next one is this row and all others; the watch says the same
        # a moment later.
        if decision.policy_version == self.policy.version + 1:
            rows = {**self.policy.rows, decision.workload: row_from_proto(decision.after)}
            self._put(Policy(decision.policy_version, rows))
        return decision

    async def decisions(self, workload: str) -> AsyncIterator[ledger_pb2.Decision]:
        """The journal's decisions about a workload, the newest first.

        Raises:
            DomainError: what the ledger says; STORAGE_UNAVAILABLE if it does not answer.
        """
        token = ""
        while True:
            request = ledger_pb2.ListDecisionsRequest(workload=workload, page_size=PAGE, page_token=token)
            try:
                page = await self._stub.ListDecisions(request, timeout=DECIDE_TIMEOUT_S)
            except aio.AioRpcError as error:
                raise domain_error(error, "ledger") from None
            for decision in page.decisions:
                yield decision
            token = page.next_page_token
            if not token:
                return

    async def newer(self, version: int, timeout_s: float) -> bool:
        """Waits for a policy of another version; False if none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.policy.version == version:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stops watching."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._channel.close()
        await self._quiet_channel.close()

    def _put(self, policy: Policy) -> None:
        self.policy = policy
        self._came.set()

    async def _keep(self) -> None:
        stub = ledger_pb2_grpc.LedgerServiceStub(self._quiet_channel)
        while True:
            try:
                # 0, not the version at hand: a journal that was replaced may count anew.
                request = ledger_pb2.WatchPolicyRequest(known_version=0)
                async for update in stub.WatchPolicy(request, wait_for_ready=True, metadata=untraced()):
                    self.connected = True
                    self._put(_from_proto(update.policy))
                    log.info("policy %d is in force", self.policy.version)
            except aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    log.warning("the policy is not kept: %s", error.code().name)
            # A row that breaks its constraints must not end the watch.
            except ValueError as error:
                log.error("the ledger's policy can't be read: %s", error)
            if self.connected:
                self._left_s = time.monotonic()
            self.connected = False
            await asyncio.sleep(RECONNECT_S)


def row_from_proto(row: policy_pb2.WorkloadPolicy) -> Row:
    """The row as the cores read it.

    Raises:
        ValueError: a field breaks its constraint.
    """
    return Row(
        place=Place(Stage(row.stage), row.sovereign_share_ppm),
        sampling=sampling_from_proto(row),
        allowed_targets=frozenset(Target(item) for item in row.allowed_targets),
        proto=row,
    )


def _from_proto(policy: policy_pb2.Policy) -> Policy:
    return Policy(policy.version, {row.workload: row_from_proto(row) for row in policy.workloads})


def domain_error(error: aio.AioRpcError, who: str) -> DomainError:
    """What another service of Homeward said; STORAGE_UNAVAILABLE if it said nothing that has a reason."""
    return refusal(error) or DomainError(
        Reason.STORAGE_UNAVAILABLE,
        f"the {who} does not answer ({error.code().name})",
        store=who,
        detail=error.code().name,
    )
