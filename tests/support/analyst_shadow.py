"""What shadow has put into the book of the analysts' pages: triplets, counts and windows of two workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from services.common.settings import ClickHouse
from services.shadow.adapters import clickhouse
from services.shadow.adapters.clickhouse import ClosedWindow
from services.shadow.adapters.store import Count, Finished
from services.shadow.core.experiment import Experiment
from services.shadow.core.verdict import windows
from tests.support.stack import SECRETS, Stack

DAY_US = 86_400 * 10**6
MINUTE_US = 60 * 10**6
WORKLOADS = ("summaries", "ticket-triage")
DAYS = 21
LOSSES = (("ineligible", "shape"), ("shed", "queue"), ("shed", "away"), ("lost", "cost_cap"))


@dataclass
class Shadow:
    """What is in it."""

    finished: list[Finished] = field(default_factory=list)
    counts: list[tuple[Count, str]] = field(default_factory=list)
    windows: list[ClosedWindow] = field(default_factory=list)


def make(rng: Random, now: datetime) -> Shadow:
    """Three weeks of two experiments; of the second, control triplets too."""
    made = Shadow()
    now_us = int(now.timestamp() * 10**6)
    for workload in WORKLOADS:
        experiment = _experiment(rng, workload, now_us - DAYS * DAY_US)
        for _ in range(400):
            made.finished += _finished(rng, experiment, now_us)
        for day in range(DAYS):
            for step, reason in (("eligible", ""), ("sampled", ""), ("sent", ""), *LOSSES):
                minute_us = (now_us - day * DAY_US - rng.randrange(DAY_US // 2)) // MINUTE_US * MINUTE_US
                count = Count(experiment.experiment_id, 1, minute_us, step, reason, rng.randrange(1, 1000))
                made.counts.append((count, workload))
        for lane in ("", "cloud"):
            triplets = [
                item.triplet
                for item in made.finished
                if item.lane == lane and item.experiment_id == experiment.experiment_id
            ]
            made.windows += [
                ClosedWindow(experiment, lane, window)
                for window in windows(triplets, experiment.rules, now_us)
            ]
    return made


def write(stack: Stack, shadow: Shadow) -> None:
    """Writes it as shadow does: the counts twice, since they grow, and some triplets twice."""
    url = f"http://127.0.0.1:{stack.ports['clickhouse']}"
    book = clickhouse.Book(ClickHouse(url=url, user="homeward", password=SECRETS.clickhouse_password))
    try:
        book.add_counts([(_smaller(count), workload) for count, workload in shadow.counts])
        book.add_triplets(shadow.finished[:50])
        book.add_triplets(shadow.finished)
        book.add_counts(shadow.counts)
        book.add_windows(shadow.windows)
    finally:
        book.close()


def day_of(unix_us: int, now: datetime) -> datetime:
    """Midnight of the day."""
    return datetime.fromtimestamp(unix_us / 10**6, now.tzinfo).replace(
        hour=0, minute=0, second=0, microsecond=0
    )


def time_of(unix_us: int, now: datetime) -> datetime:
    """As ClickHouse shows it."""
    return datetime.fromtimestamp(unix_us // 10**6, now.tzinfo) + timedelta(microseconds=unix_us % 10**6)


def _experiment(rng: Random, workload: str, start_us: int) -> Experiment:
    return Experiment(
        experiment_id=rng.randbytes(16),
        workload=workload,
        scorer="exact_match@1",
        margin=0.1,
        alpha=0.05,
        window_us=DAY_US,
        watermark_us=3600 * 10**6,
        min_windows=5,
        strata=(),
        stratum_values=(),
        rate_ppm=100_000,
        reverse_rate_ppm=10_000,
        daily_cost_cap_nanos=0,
        cluster_by="conversation",
        epoch=1,
        register_unix_us=start_us,
        start_unix_us=start_us,
        salt=bytes(16),
    )


def _finished(rng: Random, experiment: Experiment, now_us: int) -> Sequence[Finished]:
    asked_us = now_us - rng.randrange(DAYS * DAY_US)
    reason = rng.choice(("",) * 18 + ("timeout", "late"))
    lanes = ("", "cloud") if rng.random() < 0.2 else ("",)
    sample_id = rng.randbytes(16)
    return [
        Finished(
            sample_id=sample_id,
            lane=lane,
            experiment_id=experiment.experiment_id,
            epoch=1,
            workload=experiment.workload,
            request_unix_us=asked_us,
            arrival_unix_us=None if reason == "late" else asked_us + 10**6,
            cluster="",
            stratum="",
            sovereign_millionths=None if reason else rng.choice((10**6, 10**6, 10**6, 0)),
            noise_millionths=rng.choice((10**6, 10**6, 0)),
            scorer=experiment.scorer,
            reason=reason,
        )
        for lane in lanes
    ]


def _smaller(item: Count) -> Count:
    return Count(item.experiment_id, item.epoch, item.minute_unix_us, item.step, item.reason, item.count // 2)
