"""`make bench-classifier`: what it takes to name a request that no fixed part names.

One core, in process: from the whole text to the answer, for prompts of real texts at four lengths, beside the
encoder alone. Two cores, over gRPC: a real classifier process under load, its batches, its memory.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from grpc import aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from tokenizers import Tokenizer

from bench.load import percentile
from bench.process import rss_bytes
from deploy.local.ports import free_ports
from services.classifier.adapters.reader import Reader
from services.classifier.core.claims import Claims
from services.classifier.core.window import window
from services.common.seen import Seen, cut
from services.common.server import channel

MODEL = Path("models/classifier")
TEXTS = Path("data/classifier/test_dev.jsonl")
RESULTS = Path("bench/results")
PROMPT_TOKENS = (128, 512, 2_000, 16_000)
CALLS = 400
"""Timed requests of each length, all with different texts."""
LOAD_REQUESTS = 3_000
IN_FLIGHT = 16
"""Requests that wait for the service at once, under load."""
BUDGET_MS = 20
"""What the router waits."""


@dataclass(frozen=True, slots=True)
class Length:
    """One row: prompts of a length."""

    prompt_tokens: int
    p50_ms: float
    p99_ms: float
    encoder_p50_ms: float
    """Of the encoder alone, on the same windows."""


@dataclass(frozen=True, slots=True)
class Load:
    """The service under load."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    rss_mib: float


def texts() -> list[str]:
    """The users' messages of test_dev."""
    rows = map(json.loads, TEXTS.read_text(encoding="utf-8").splitlines())
    return ["\n".join(message["content"] for message in row["messages"]) for row in rows]


def prompts(tokens: int, count: int) -> list[str]:
    """Different texts of about that many tokens, joined from real ones and cut."""
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    source = texts()
    made = []
    for number in range(count):
        text, position = "", number * 7
        while len(offsets := tokenizer.encode(text).offsets) < tokens + 2:
            text += source[position % len(source)] + "\n\n"
            position += 1
        made.append(text[: offsets[tokens][1]])
    return made


def timed(call: Callable[[str], object], items: Sequence[str]) -> list[float]:
    """Milliseconds of each call, sorted, after a few that are not counted."""
    for item in items[:20]:
        call(item)
    took = []
    for item in items:
        began = time.perf_counter()
        call(item)
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)


def in_process() -> list[Length]:
    """Every length on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    reader, claims = Reader(MODEL), Claims(("bank-intent", "voice-domain", "meeting-minutes"))
    gc.freeze()
    rows = []
    for tokens in PROMPT_TOKENS:
        items = prompts(tokens, CALLS)
        whole = timed(lambda text: reader.read([claims.without(cut("", [text]))]), items)
        windows = [window(cut("", [text])) for text in items]
        alone = timed(lambda text: reader.encoder.encode([text]), windows)
        rows.append(Length(tokens, percentile(whole, 50), percentile(whole, 99), percentile(alone, 50)))
        print(f"{tokens:>6} tokens: {rows[-1].p50_ms:.1f} ms p50, {rows[-1].p99_ms:.1f} ms p99", flush=True)
    return rows


async def over_grpc(cpus: str) -> Load:
    """A classifier process on those cores, with this client beside it."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "homeward.toml")
        settings.write_text(
            f'[classifier]\ngrpc = "127.0.0.1:{port}"\nstate_dir = "{folder}/classifier"\n'
            "[telemetry]\nsample_ratio = 0\n"
        )
        process = await asyncio.create_subprocess_exec(
            "taskset", "-c", cpus, sys.executable, "-m", "services.classifier", str(settings)
        )
        try:
            async with channel(f"127.0.0.1:{port}") as connection:
                return await _load(connection, process.pid)
        finally:
            process.terminate()
            await process.wait()


async def _load(connection: aio.Channel, pid: int) -> Load:
    stub = classifier_pb2_grpc.ClassifierServiceStub(connection)
    asks = [_ask(cut("", [text])) for text in texts()]
    await stub.Classify(asks[0], wait_for_ready=True)
    took: list[float] = []
    numbers = iter(range(LOAD_REQUESTS))

    async def one_after_another() -> None:
        for number in numbers:
            began = time.perf_counter()
            await stub.Classify(asks[number % len(asks)])
            took.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(stub.Classify(ask) for ask in asks[:64]))
    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))
    whole_s = time.perf_counter() - began
    took.sort()
    return Load(LOAD_REQUESTS / whole_s, percentile(took, 50), percentile(took, 99), rss_bytes([pid]) / 2**20)


def _ask(seen: Seen) -> classifier_pb2.ClassifyRequest:
    return classifier_pb2.ClassifyRequest(
        system_prompt=seen.system_prompt, turns=seen.turns, input_chars=seen.input_chars
    )


def table(rows: Sequence[Length], load: Load) -> str:
    """The page."""
    size = np.sum([file.stat().st_size for file in MODEL.iterdir()]) / 2**20
    lines = [
        "# What naming by meaning takes",
        "",
        f"`make bench-classifier` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores,"
        f" {platform.machine()}, Python {platform.python_version()}. Prompts are texts of"
        f" data/classifier/test_dev.jsonl, joined or cut to the length; {CALLS} different ones a row."
        f" models/classifier has {size:.0f} MiB.",
        "",
        "One core, in process, one request at a time: from the whole text to the reading (the router's cut,"
        " claims, window, n-grams, language, encoder, heads).",
        "",
        "| prompt, tokens | p50, ms | p99, ms | encoder alone, p50, ms |",
        "|--:|--:|--:|--:|",
        *(
            f"| {row.prompt_tokens:,} | {row.p50_ms:.1f} | {row.p99_ms:.1f} | {row.encoder_p50_ms:.1f} |"
            for row in rows
        ),
        "",
        f"Over gRPC, two cores for the service and this client together, {IN_FLIGHT} requests in flight, the"
        f" rows of test_dev: {load.requests_per_s:,.0f} requests/s, {load.p50_ms:.1f} ms p50,"
        f" {load.p99_ms:.1f} ms p99; the service has {load.rss_mib:.0f} MiB resident. The router waits"
        f" {BUDGET_MS} ms and then goes on without a name.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures and writes the page."""
    cores = sorted(os.sched_getaffinity(0))
    rows = in_process()
    os.sched_setaffinity(0, cores)
    load = asyncio.run(over_grpc(",".join(map(str, cores[:2]))))
    print(f"under load: {load.requests_per_s:,.0f} requests/s, {load.rss_mib:.0f} MiB")
    (RESULTS / "classifier.md").write_text(table(rows, load))
    figures = {"lengths": [asdict(row) for row in rows], "load": asdict(load)}
    (RESULTS / "classifier.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(f"wrote {RESULTS / 'classifier.md'}")


if __name__ == "__main__":
    main()
