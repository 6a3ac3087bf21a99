"""A finished leg, as the book wants it."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.words import Evidence, Outcome, Purpose, Target, TaskType
from services.router.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Leg:
    """One call to one target; the fields are those of `homeward.common.v1.Leg`."""

    leg_id: bytes
    request_id: bytes
    trace_id: bytes
    span_id: bytes
    trace_sampled: bool
    start_unix_ns: int
    workload: str
    evidence: Evidence
    task_type: TaskType
    key_name: str
    purpose: Purpose
    target: Target
    upstream: str
    provider: str
    region: str
    model_requested: str
    model: str
    api: str
    streamed: bool
    usage: Usage
    latency_us: int
    ttft_us: int | None
    outcome: Outcome
    http_status: int
    error_reason: str
    attempts: int
    policy_version: int
    sample_id: bytes
