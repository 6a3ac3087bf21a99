"""Experiments for tests of shadow: everything is sampled, and a window or two is enough for a verdict."""

from __future__ import annotations

from typing import Any

from services.shadow.core.experiment import Wanted

SECOND_US = 10**6


def wanted(workload: str, **changes: Any) -> Wanted:
    """What a test registers, but for what it changes. A margin of 0.3 is proven by a handful of samples."""
    usual: dict[str, Any] = {
        "scorer": "exact_match@1",
        "margin": 0.3,
        "alpha": 0.2,
        "window_us": 10 * SECOND_US,
        "watermark_us": 5 * SECOND_US,
        "min_windows": 1,
        "strata": (),
        "stratum_values": (),
        "rate_ppm": 1_000_000,
        "reverse_rate_ppm": 0,
        "daily_cost_cap_nanos": 0,
        "cluster_by": "conversation",
    }
    return Wanted(workload=workload, **{**usual, **changes})
