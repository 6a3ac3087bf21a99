"""The part of homeward.ledger.v1.LedgerService that is about decisions and the policy: protos ↔ core."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeAlias

from google.protobuf import json_format, struct_pb2
from grpc import aio
from homeward.common.v1 import leg_pb2, policy_pb2
from homeward.ledger.v1 import ledger_pb2

from services.common.board import Board
from services.common.errors import DomainError, Reason, invalid_request
from services.common.policy_rows import sampling_from_proto, sampling_to_proto
from services.common.sampling import Sampling
from services.common.words import Stage, Target
from services.ledger.adapters.journal.decisions import Decision, Decisions
from services.ledger.core.policy import Policy, Row, replace_row

Context: TypeAlias = aio.ServicerContext[Any, Any]

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_TOKEN_DIGITS = 18


class PolicyServicer:
    """Serves WatchPolicy, Decide and ListDecisions."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self.board = Board(_current(decisions), decisions.policy.version)

    def post(self) -> None:
        """Sends the policy to its watchers, if it is another than they have."""
        version = self._decisions.policy.version
        if version != self.board.version:
            self.board.post(_current(self._decisions), version)

    async def WatchPolicy(
        self, request: ledger_pb2.WatchPolicyRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.WatchPolicyResponse]:
        """Sends the policy now and after each change."""
        async for policy in self.board.watch(request.known_version):
            yield ledger_pb2.WatchPolicyResponse(policy=policy)

    async def Decide(self, request: ledger_pb2.DecideRequest, context: Context) -> ledger_pb2.DecideResponse:
        """Appends a decision."""
        if len(request.request_id) != 16:
            raise invalid_request("request_id", "16 bytes", f"{len(request.request_id)} bytes")
        for field in ("actor", "reason"):
            if not getattr(request, field):
                raise invalid_request(field, "some text", "nothing")
        after = _core_row(request.after)
        evidence = json_format.MessageToDict(request.evidence) if _finite(request.evidence) else None
        if evidence is None:
            raise invalid_request("evidence", "finite numbers", "NaN or infinity")

        decision = await asyncio.to_thread(
            self._decisions.decide,
            lambda policy: replace_row(policy, after, request.reason, evidence),
            request_id=request.request_id,
            expected_version=request.expected_policy_version,
            actor=request.actor,
            evidence=evidence,
            now_unix_us=time.time_ns() // 1000,
        )
        self.post()
        return ledger_pb2.DecideResponse(decision=_decision(decision))

    async def ListDecisions(
        self, request: ledger_pb2.ListDecisionsRequest, context: Context
    ) -> ledger_pb2.ListDecisionsResponse:
        """Reads the journal."""
        size = min(request.page_size or DEFAULT_PAGE, MAX_PAGE)
        token = request.page_token
        if token and not (token.isdecimal() and len(token) <= MAX_TOKEN_DIGITS):
            raise invalid_request("page_token", "a next_page_token", request.page_token[:20])
        before = int(token) if token else None
        # One more than asked for, to know whether there is another page.
        found = await asyncio.to_thread(self._decisions.decisions, request.workload, before, size + 1)
        page = found[:size]
        return ledger_pb2.ListDecisionsResponse(
            decisions=map(_decision, page),
            next_page_token=str(page[-1].decision_id) if len(found) > size else "",
        )


def _core_row(row: policy_pb2.WorkloadPolicy) -> Row:
    if not row.workload:
        raise invalid_request("after.workload", "the name of a workload", "nothing")
    if row.stage not in {stage.value for stage in Stage}:
        raise invalid_request("after.stage", "a stage", str(row.stage))
    if not row.allowed_targets:
        raise invalid_request("after.allowed_targets", "at least one target", "none")
    known = {target.value for target in Target}
    for target in row.allowed_targets:
        if target not in known:
            raise invalid_request("after.allowed_targets", "targets", str(target))
    if row.sovereign_share_ppm > 1_000_000:
        raise invalid_request("after.sovereign_share_ppm", "0 to 1000000", str(row.sovereign_share_ppm))
    return Row(
        workload=row.workload,
        stage=Stage(row.stage),
        sovereign_share_ppm=row.sovereign_share_ppm,
        allowed_targets=tuple(Target(item) for item in row.allowed_targets),
        allowed_regions=tuple(row.allowed_regions),
        fallback_allowed=row.fallback_allowed,
        sampling=_core_sampling(row),
    )


def _core_sampling(row: policy_pb2.WorkloadPolicy) -> Sampling | None:
    try:
        return sampling_from_proto(row)
    except ValueError as error:
        expected, _, got = str(error).partition(", got ")
        raise DomainError(
            Reason.INVALID_REQUEST,
            f"`after.sampling`: {error}",
            field="after.sampling",
            expected=expected,
            got=got,
        ) from None


def _finite(struct: struct_pb2.Struct) -> bool:
    def values(value: struct_pb2.Value) -> Iterable[float]:
        if value.HasField("number_value"):
            yield value.number_value
        for item in value.list_value.values:
            yield from values(item)
        for item in value.struct_value.fields.values():
            yield from values(item)

    return all(math.isfinite(number) for item in struct.fields.values() for number in values(item))


def _proto_row(row: Row | None) -> policy_pb2.WorkloadPolicy | None:
    if row is None:
        return None
    return policy_pb2.WorkloadPolicy(
        workload=row.workload,
        stage=policy_pb2.Stage.ValueType(row.stage),
        sovereign_share_ppm=row.sovereign_share_ppm,
        allowed_targets=[leg_pb2.Target.ValueType(item) for item in row.allowed_targets],
        allowed_regions=row.allowed_regions,
        fallback_allowed=row.fallback_allowed,
        sampling=sampling_to_proto(row.sampling),
    )


def _current(decisions: Decisions) -> policy_pb2.Policy:
    policy: Policy = decisions.policy
    rows: Iterable[Row] = (policy.rows[name] for name in sorted(policy.rows))
    message = policy_pb2.Policy(
        version=policy.version, workloads=[row for item in rows if (row := _proto_row(item))]
    )
    message.effective_time.FromMicroseconds(decisions.policy_unix_us)
    return message


def _decision(decision: Decision) -> ledger_pb2.Decision:
    message = ledger_pb2.Decision(
        decision_id=decision.decision_id,
        actor=decision.actor,
        reason=decision.change.reason,
        workload=decision.change.workload,
        before=_proto_row(decision.change.before),
        after=_proto_row(decision.change.after),
        policy_version=decision.policy_version,
        entry_sha256=decision.entry_sha256,
    )
    message.decide_time.FromMicroseconds(decision.decide_unix_us)
    message.evidence.update(decision.evidence)
    return message
