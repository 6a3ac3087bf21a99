"""What Triton's /metrics shows of the generation: its own counters miss cancels and errors of such models."""

from __future__ import annotations

import triton_python_backend_utils as pb_utils

from deploy.triton.cpu.serving.generation import Generation

OUTCOMES = ("ok", "cancelled", "refused", "full", "failed")
TTFT_BUCKETS_MS = (2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


class Metrics:
    """The metrics of one model version."""

    def __init__(self, version: str) -> None:
        family = pb_utils.MetricFamily
        labels = {"model": "tensorrt_llm", "version": version}
        # The families must outlive their metrics.
        self._requests_family = family(
            name="homeward_generate_requests_total",
            description="Requests by outcome",
            kind=family.COUNTER,
        )
        self._tokens_family = family(
            name="homeward_generate_tokens_total",
            description="Tokens read, read from the cache, and made",
            kind=family.COUNTER,
        )
        self._ttft_family = family(
            name="homeward_generate_ttft_ms",
            description="Milliseconds from arrival to the first token",
            kind=family.HISTOGRAM,
        )
        self._requests = {
            outcome: self._requests_family.Metric(labels={**labels, "outcome": outcome})
            for outcome in OUTCOMES
        }
        self._tokens = {
            kind: self._tokens_family.Metric(labels={**labels, "kind": kind})
            for kind in ("input", "cached", "output")
        }
        self._ttft = self._ttft_family.Metric(labels=labels, buckets=list(TTFT_BUCKETS_MS))

    def ended(self, outcome: str, generation: Generation | None) -> None:
        """Counts a request that has ended; without a generation it never began."""
        self._requests[outcome].increment(1)
        if generation is None or not generation.times.first_scheduled_ns:
            return
        self._tokens["input"].increment(len(generation.prompt))
        self._tokens["cached"].increment(generation.reused_tokens)
        self._tokens["output"].increment(generation.output_tokens)
        times = generation.times
        if times.first_token_ns:
            self._ttft.observe((times.first_token_ns - times.arrival_ns) / 1e6)
