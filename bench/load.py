"""Closed-loop HTTP/1.1 load from h2load, with exact per-request latencies."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.nginx import MODEL

Number = TypeVar("Number", int, float)

SYSTEM_PROMPT = "Answer in one short paragraph."

_REQUEST = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": "How does the router choose between two models?"},
    ],
    "max_tokens": 128,
    "temperature": 0,
}


@dataclass(frozen=True, slots=True)
class LoadResult:
    """One run: latencies in microseconds, from a request's first byte out to its last byte in."""

    requests: int
    seconds: float
    p50_us: int
    p99_us: int
    errors: int
    """Requests that failed, were never answered, or were answered outside 2xx."""
    completions_us: array[int] = field(repr=False)
    """When each request ended, microseconds since the epoch, ascending."""

    @property
    def rps(self) -> float:
        """Answered requests per second of wall time."""
        return self.requests / self.seconds


def run(
    base_url: str,
    key: str,
    *,
    connections: int,
    requests: int,
    model: str = MODEL,
    stream: bool = False,
    cpus: str | None = None,
    timeout_s: float = 300,
) -> LoadResult:
    """Sends `requests` chat completions over `connections` keep-alive connections, one in flight
    on each; `cpus` is a taskset list, `timeout_s` the seconds after which the run is given up."""
    binary = shutil.which("h2load")
    if binary is None:
        raise RuntimeError("the load generator is missing: apt-get install nghttp2-client")
    pin = [] if cpus is None else ["taskset", "-c", cpus]
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        body = Path(folder, "body.json")
        body.write_text(json.dumps({**_REQUEST, "model": model, "stream": stream}))
        # h2load appends to an existing log, hence a fresh folder for each run.
        log = Path(folder, "requests.tsv")
        done = subprocess.run(
            [
                *pin,
                binary,
                "--h1",
                f"--clients={connections}",
                f"--requests={requests}",
                f"--data={body}",
                f"--log-file={log}",
                "--header=content-type: application/json",
                f"--header=authorization: Bearer {key}",
                f"{base_url}/chat/completions",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        rows = log.read_text().splitlines() if log.exists() else []
    if done.returncode != 0 or not rows:
        raise RuntimeError(f"h2load failed ({done.returncode}): {done.stdout}{done.stderr}")
    return _result(rows, requests)


def _result(rows: list[str], asked: int) -> LoadResult:
    first = None
    ends: array[int] = array("q")
    latencies: array[int] = array("q")
    for row in rows:
        start, status, elapsed = (int(cell) for cell in row.split("\t")[:3])
        first = start if first is None else min(first, start)
        if 200 <= status < 300:
            ends.append(start + elapsed)
            latencies.append(elapsed)
    if first is None or not ends:
        raise RuntimeError(f"none of {asked} requests was answered with 2xx; first row: {rows[0]!r}")
    ordered = sorted(latencies)
    completions = array("q", sorted(ends))
    return LoadResult(
        requests=len(ends),
        seconds=(completions[-1] - first) / 1e6,
        p50_us=percentile(ordered, 50),
        p99_us=percentile(ordered, 99),
        errors=asked - len(ends),
        completions_us=completions,
    )


def percentile(ordered: list[Number], percent: int) -> Number:
    """The nearest-rank percentile: a latency that a request really had."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
