"""A leg as the router has it, to be varied."""

from __future__ import annotations

from services.common.words import Evidence, Outcome, Purpose, Target, TaskType
from services.router.core.leg import Leg
from services.router.core.usage import UNKNOWN

LEG = Leg(
    leg_id=bytes(16),
    request_id=bytes(16),
    trace_id=bytes(16),
    span_id=bytes(8),
    trace_sampled=False,
    start_unix_ns=0,
    workload="triage",
    evidence=Evidence.DECLARED,
    task_type=TaskType.UNSPECIFIED,
    key_name="crm",
    purpose=Purpose.PRODUCTION,
    target=Target.CLOUD,
    upstream="u",
    provider="p",
    region="",
    model_requested="m",
    model="m",
    api="chat.completions",
    streamed=False,
    usage=UNKNOWN,
    latency_us=1000,
    ttft_us=100,
    outcome=Outcome.OK,
    http_status=200,
    error_reason="",
    attempts=1,
    policy_version=1,
    sample_id=b"",
)
"""An answered request of an application, in the cloud."""
