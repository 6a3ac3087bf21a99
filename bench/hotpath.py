"""`make bench-hotpath`: what a request costs on its way through, side by side on one upstream.

Subjects: a direct call of the upstream (nginx), Homeward's router with everything on, and LiteLLM's proxy;
and, to say where the time goes, Homeward without traces and a bare hop in aiohttp. The subject runs on one
core, everything else on the other. Each measurement is the median of interleaved rounds. Writes a table, the
raw figures and a picture to bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the choice of the backend

from bench import homeward, litellm_proxy, load, nginx, process
from deploy.local.ports import free_ports

RESULTS = Path("bench/results")
SUBJECT_CPUS, OTHER_CPUS = "0", "1"
CONNECTIONS = (1, 32)

DIRECT, HOP, NO_TRACES, HOMEWARD, LITELLM = (
    "direct",
    "bare aiohttp hop",
    "Homeward, traces off",
    "Homeward",
    "LiteLLM",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured."""

    name: str
    base_url: str
    key: str
    pids: Sequence[int]
    requests: int
    """Requests a round: enough for seconds of CPU, which the kernel counts in steps of 10 ms."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One subject at one number of connections; medians over the rounds."""

    subject: str
    connections: int
    rps: float
    """Answers a second of wall time."""
    cpu_us: float
    """CPU time of the subject's processes a request, microseconds, user and system."""
    p50_us: float
    p99_us: float
    rss_mib: float
    """Resident memory after the warm-up."""

    @property
    def rps_per_core(self) -> float:
        """Answers a second of CPU time."""
        return 1e6 / self.cpu_us


def measure(subject: Subject, connections: int) -> Figures:
    """One round.

    Raises:
        RuntimeError: a request was not answered with 2xx: figures of failures are no figures.
    """
    before = process.cpu_seconds(subject.pids)
    result = load.run(
        subject.base_url, subject.key, connections=connections, requests=subject.requests, cpus=OTHER_CPUS
    )
    used_s = process.cpu_seconds(subject.pids) - before
    if result.errors:
        raise RuntimeError(f"{subject.name}: {result.errors} of {subject.requests} requests failed")
    return Figures(
        subject=subject.name,
        connections=connections,
        rps=result.rps,
        cpu_us=used_s / result.requests * 1e6,
        p50_us=result.p50_us,
        p99_us=result.p99_us,
        rss_mib=process.rss_bytes(subject.pids) / 2**20,
    )


def median(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    first = rounds[0]
    values = {
        name: statistics.median(getattr(item, name) for item in rounds)
        for name in ("rps", "cpu_us", "p50_us", "p99_us", "rss_mib")
    }
    return Figures(first.subject, first.connections, **values)


def slope(subject: Subject, requests: int) -> float:
    """Growth of the subject's resident memory over many requests at 32 connections, bytes a request.

    After half as many that are not counted: pools and queues grow to their size first.
    """
    load.run(
        subject.base_url, subject.key, connections=32, requests=requests // 2, cpus=OTHER_CPUS, timeout_s=1200
    )
    with process.sampled_rss(subject.pids) as samples:
        result = load.run(
            subject.base_url, subject.key, connections=32, requests=requests, cpus=OTHER_CPUS, timeout_s=1200
        )
    return process.rss_slope(samples, result.completions_us)


@contextmanager
def bare_hop(upstream_url: str) -> Iterator[tuple[int, str]]:
    """Runs the bare hop; gives its process id and base URL."""
    (port,) = free_ports(1)
    command = ["taskset", "-c", SUBJECT_CPUS, sys.executable, "-m", "bench.bare_hop", upstream_url, str(port)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        nginx.wait_for_port(child, port)
        yield child.pid, f"http://127.0.0.1:{port}/v1"
    finally:
        child.terminate()
        child.wait(10)


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


async def run(
    rounds: int, scale: float, slope_requests: int, venv: Path
) -> tuple[list[Figures], dict[str, float]]:
    """Runs everything; `scale` multiplies the requests a round."""
    say("installing LiteLLM into bench/.venv-litellm, if it is not there")
    command = await asyncio.to_thread(litellm_proxy.install, venv)
    async with AsyncExitStack() as later:
        stack = later.enter_context(ExitStack())
        say("starting nginx, Homeward twice, the bare hop, and LiteLLM")
        upstream = stack.enter_context(nginx.serve(OTHER_CPUS))
        proxy = stack.enter_context(litellm_proxy.serve(command, upstream.base_url, SUBJECT_CPUS))
        hop_pid, hop_url = stack.enter_context(bare_hop(upstream.base_url))
        full, untraced = [
            await later.enter_async_context(
                homeward.serve(
                    upstream.base_url,
                    sample_ratio=ratio,
                    router_cpus=SUBJECT_CPUS,
                    other_cpus=OTHER_CPUS,
                )
            )
            for ratio in (1.0, 0.0)
        ]

        def count(requests: int) -> int:
            return max(200, int(requests * scale))

        subjects = [
            Subject(DIRECT, upstream.base_url, "", [upstream.pid], count(100_000)),
            Subject(HOP, hop_url, "", [hop_pid], count(20_000)),
            Subject(NO_TRACES, untraced.base_url, untraced.key, [untraced.router_pid], count(12_000)),
            Subject(HOMEWARD, full.base_url, full.key, [full.router_pid], count(12_000)),
            Subject(LITELLM, proxy.base_url, proxy.key, [proxy.pid], count(1_000)),
        ]
        for subject in subjects:
            say(f"warming up: {subject.name}")
            await asyncio.to_thread(
                load.run,
                subject.base_url,
                subject.key,
                connections=32,
                requests=subject.requests // 4,
                cpus=OTHER_CPUS,
            )
        found: dict[tuple[str, int], list[Figures]] = {}
        for round_ in range(1, rounds + 1):
            for connections in CONNECTIONS:
                for subject in subjects:
                    figures = await asyncio.to_thread(measure, subject, connections)
                    found.setdefault((subject.name, connections), []).append(figures)
                    say(
                        f"round {round_}/{rounds}, {connections:>2} connections, {subject.name}:"
                        f" {figures.cpu_us:,.0f} µs of CPU a request, p50 {figures.p50_us:,.0f} µs"
                    )
        slopes: dict[str, float] = {}
        for subject, requests in ((subjects[3], slope_requests), (subjects[4], slope_requests // 30)):
            say(f"memory over {requests:,} requests: {subject.name}")
            slopes[subject.name] = await asyncio.to_thread(slope, subject, requests)
    return [median(rounds_) for rounds_ in found.values()], slopes


def table(figures: Sequence[Figures], slopes: dict[str, float]) -> str:
    """The figures as Markdown."""
    direct = {item.connections: item for item in figures if item.subject == DIRECT}
    lines = [
        "| subject | connections | req/s a core | CPU a request, µs | added p50, µs | added p99, µs"
        " | RSS, MiB | RSS growth, bytes a request |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for item in figures:
        base = direct[item.connections]
        added = ("–", "–")
        if item.subject != DIRECT:
            added = (f"{item.p50_us - base.p50_us:,.0f}", f"{item.p99_us - base.p99_us:,.0f}")
        grown = slopes.get(item.subject) if item.connections == max(CONNECTIONS) else None
        cells = (
            item.subject,
            str(item.connections),
            f"{item.rps_per_core:,.0f}",
            f"{item.cpu_us:,.0f}",
            *added,
            f"{item.rss_mib:,.0f}",
            "" if grown is None else f"{grown:,.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(figures: Sequence[Figures], slopes: dict[str, float], rounds: int, slope_requests: int) -> str:
    """The page bench/results/hotpath.md."""
    cpu = {(item.subject, item.connections): item.cpu_us for item in figures}
    full, hop, plain, theirs = (cpu[name, 32] for name in (HOMEWARD, HOP, NO_TRACES, LITELLM))
    return f"""# The hot path

`make bench-hotpath` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, \
Python {platform.python_version()}. Medians of {rounds} interleaved rounds. The subject has one core, nginx (the \
upstream), h2load and the rest of Homeward (classifier, ledger, ClickHouse) the other. CPU is the router's process \
with all its threads: keys with limits, naming by fingerprint, policy, the queue to the ledger, and a trace of every \
request. LiteLLM {litellm_proxy.VERSION} runs without a database, so it looks up no keys and books no spend.

{table(figures, slopes)}

At 32 connections the loop is closed: added latency there is the wait for the one core, and restates throughput. \
Memory growth is the slope over {slope_requests:,} requests for Homeward and {slope_requests // 30:,} for LiteLLM, after half as many to warm up.

LiteLLM takes {theirs / full:.0f} times the CPU of Homeward with everything on (32 connections).

## Where the time goes (32 connections, CPU a request)

| part | µs |
|---|--:|
| a bare hop in aiohttp: parse, pass on, pass back | {hop:,.0f} |
| Homeward's own work: key, limits, name, policy, headers, leg, queue on disk | {plain - hop:,.0f} |
| traces: two spans made, encoded and inserted | {full - plain:,.0f} |
| together | {full:,.0f} |

![CPU a request](hotpath.png)
"""


def picture(figures: Sequence[Figures], file: Path) -> None:
    """CPU a request of each subject, at both numbers of connections."""
    subjects = list(dict.fromkeys(item.subject for item in figures))
    fig, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    axes.axvline(500, color="black", linewidth=0.8, linestyle="--", label="budget: 500 µs")
    for offset, connections in enumerate(CONNECTIONS):
        values = [item.cpu_us for item in figures if item.connections == connections]
        places = [index + (offset - 0.5) * 0.38 for index in range(len(subjects))]
        plural = "s" if connections > 1 else ""
        bars = axes.barh(places, values, height=0.36, label=f"{connections} connection{plural}")
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.bar_label(bars, fmt="{:,.0f} µs", padding=4, fontsize=8, bbox=white)
    axes.set_xscale("log")
    axes.set_xlim(right=40_000)
    axes.set_yticks(range(len(subjects)), subjects)
    axes.invert_yaxis()
    axes.set_xlabel("CPU a request, microseconds (logarithmic)")
    axes.legend(loc="upper right", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    fig.savefig(file, dpi=150)
    plt.close(fig)


def main() -> None:
    """Runs the benchmark and writes its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the requests a round")
    parser.add_argument("--slope-requests", type=int, default=100_000)
    options = parser.parse_args()
    began = time.monotonic()
    figures, slopes = asyncio.run(
        run(options.rounds, options.scale, options.slope_requests, Path("bench/.venv-litellm").absolute())
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    page = report(figures, slopes, options.rounds, options.slope_requests)
    (RESULTS / "hotpath.md").write_text(page, encoding="utf-8")
    raw = {"figures": [asdict(item) for item in figures], "rss_bytes_per_request": slopes}
    (RESULTS / "hotpath.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    picture(figures, RESULTS / "hotpath.png")
    say(f"\n{page}\nwrote {RESULTS}/hotpath.md, .json and .png in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
