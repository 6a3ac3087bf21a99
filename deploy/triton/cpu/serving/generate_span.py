"""What the `generate` span says of a request."""

from __future__ import annotations

import time
from typing import Any

from deploy.triton.cpu.serving.generation import Generation
from deploy.triton.cpu.serving.spans import Parent, span
from services.common.telemetry import attributes as names


def describe(parent: Parent, version: str, outcome: str, generation: Generation) -> dict[str, Any]:
    """The span of a request that has ended."""
    times = generation.times
    now_ns = time.time_ns()
    attributes: dict[str, str | int | float] = {
        names.GEN_AI_OPERATION_NAME: "text_completion",
        names.GEN_AI_PROVIDER_NAME: "triton",
        names.GEN_AI_REQUEST_MODEL: "tensorrt_llm",
        names.GEN_AI_RESPONSE_MODEL: f"tensorrt_llm/{version}",
        names.GEN_AI_USAGE_INPUT_TOKENS: len(generation.prompt),
        names.GEN_AI_USAGE_CACHED_INPUT_TOKENS: generation.reused_tokens,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: generation.output_tokens,
        names.OUTCOME: outcome,
        names.QUEUED_US: ((times.first_scheduled_ns or now_ns) - times.arrival_ns) // 1000,
    }
    if times.first_token_ns:
        attributes[names.TTFT_US] = (times.first_token_ns - times.arrival_ns) // 1000
    if generation.finish_reason is not None:
        attributes[names.GEN_AI_RESPONSE_FINISH_REASONS] = generation.finish_reason
    error = None if outcome in ("ok", "cancelled") else outcome
    return span(parent, "generate", times.arrival_ns, now_ns, attributes, error)
