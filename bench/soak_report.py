"""What came of a soak, and how it is told."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

WARM_UP = 0.25
"""Share of the requests after which memory is expected to stay."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do."""

    requests: int = 20_000
    concurrency: int = 16
    kill_every: int = 1_000
    leave_share: float = 0.05
    """Share of the applications that leave."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one kind of process, in MiB."""

    what: str
    start_mib: float
    """After the first request."""
    end_mib: float
    growth_kib_per_1000: float
    """Least squares over the requests after the warm-up; a killed process starts anew."""


@dataclass(slots=True)
class Report:
    """What came of it."""

    plan: Plan
    replicas: int
    took_s: float = 0.0
    kills: int = 0
    reloads: int = 0
    aborts: int = 0
    """Servers that ended with a killed Python process, and were started again."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """As the applications saw them."""
    legs: dict[str, int] = field(default_factory=dict)
    """As the book has them."""
    attempts: dict[int, int] = field(default_factory=dict)
    """Replicas tried, over the legs."""
    memory: list[Memory] = field(default_factory=list)
    left: int = 0
    """Regions in /dev/shm after the servers' end."""
    broken_promises: list[str] = field(default_factory=list)

    def expect(self, kept: bool, promise: str) -> None:
        """Notes a promise that was not kept."""
        if not kept:
            self.broken_promises.append(promise)


def memory(samples: Mapping[str, Sequence[tuple[int, int]]], total: int) -> list[Memory]:
    """The table of memory."""
    found = []
    for kind, points in samples.items():
        late = [(done, size) for done, size in points if done >= total * WARM_UP]
        slope = 0.0
        if len({done for done, _ in late}) >= 2:
            slope = statistics.linear_regression(*zip(*late, strict=True)).slope
        found.append(Memory(kind, points[0][1] / 2**20, points[-1][1] / 2**20, slope * 1000 / 1024))
    return found


def raw(report: Report) -> dict[str, Any]:
    """The report for programs."""
    document = {item.name: getattr(report, item.name) for item in fields(report)}
    return {
        **document,
        "plan": asdict(report.plan),
        "memory": [asdict(row) for row in report.memory],
    }


def table(report: Report) -> str:
    """The report for people."""
    plan = report.plan
    lines = [
        "# The soak of the model at home",
        "",
        f"{plan.requests:,} requests, {plan.concurrency} at a time, to {report.replicas} replicas, in"
        f" {report.took_s:,.0f} s; {report.kills} kills, {report.reloads} reloads under load,"
        f" {report.aborts} servers that ended with their Python process."
        f" `python -m bench.soak_sovereign --requests {plan.requests}`, {datetime.now(UTC):%Y-%m-%d},"
        f" {os.cpu_count()} cores of {platform.machine()}.",
        "",
        "| what applications saw | requests |",
        "|---|--:|",
        *(f"| {name} | {count:,} |" for name, count in sorted(report.outcomes.items())),
        f"| **all** | **{sum(report.outcomes.values()):,}** |",
        "",
        "| what the book says | legs |",
        "|---|--:|",
        *(f"| {name} | {count:,} |" for name, count in sorted(report.legs.items())),
        f"| **all** | **{sum(report.legs.values()):,}** |",
        "",
        "A leg may be missing only for an application that left before the router had read its request.",
        "Replicas tried for a request: "
        + ", ".join(f"{tries}: {count:,}" for tries, count in sorted(report.attempts.items()))
        + ".",
        "",
        "| resident memory | start, MiB | end, MiB | growth after the warm-up, KiB per 1,000 requests |",
        "|---|--:|--:|--:|",
        *(
            f"| {row.what} | {row.start_mib:.0f} | {row.end_mib:.0f} | {row.growth_kib_per_1000:+.0f} |"
            for row in report.memory
        ),
        "",
        f"Regions in /dev/shm after the servers' end: {report.left}.",
        "",
        "Broken promises: " + ("; ".join(report.broken_promises) or "none") + ".",
    ]
    return "\n".join(lines) + "\n"
