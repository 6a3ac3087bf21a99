"""How the tour compares its two workloads: fixed before the first sample, as any comparison is."""

from __future__ import annotations

from dataclasses import dataclass

from homeward.shadow.v1 import shadow_pb2

from deploy.local.traffic import BANK, VOICE


@dataclass(frozen=True, slots=True)
class Plan:
    """How a workload is compared, and how much traffic it has."""

    margin: float
    per_second: float
    rate_ppm: int
    alpha: float = 0.05
    window_s: int = 5
    watermark_s: int = 10
    """Long beside the answers' second: what comes later counts as failed."""
    min_windows: int = 2
    scorer: str = "exact_match@1"

    def experiment(self, workload: str) -> shadow_pb2.Experiment:
        """As it is registered."""
        wanted = shadow_pb2.Experiment(
            workload=workload,
            scorer=self.scorer,
            margin=self.margin,
            alpha=self.alpha,
            min_windows=self.min_windows,
            rate_ppm=self.rate_ppm,
            reverse_rate_ppm=self.rate_ppm,
            cluster_by="conversation",
        )
        wanted.window.seconds = self.window_s
        wanted.watermark.seconds = self.watermark_s
        return wanted


PLANS = {
    # Wide, because its windows are seconds: 100 votes must do. docs/cutover.md has what a real margin takes.
    VOICE: Plan(margin=0.15, per_second=8, rate_ppm=500_000),
    # What a bank would ask for. The small model differs from the cloud in 14 of 100 messages.
    BANK: Plan(margin=0.01, per_second=4, rate_ppm=1_000_000),
}
