"""`make bench-sovereign`: the model at home, straight from Triton and through the router.

Both ask the same Triton for the same prompts, in interleaved rounds, at 1, 8 and 32 streams: time to the
first token, time a token after it, and tokens a second. The model is models/small-llama with its end tokens taken
away, so that every answer is as long as asked and figures compare. Triton has one core, everything else the
other: what is measured is what the router adds, not what its machine takes from the model's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the choice of the backend

from bench import homeward
from bench.hotpath import say
from bench.load import percentile
from deploy.local.ports import free_ports
from deploy.triton.cpu.process import Process
from deploy.triton.cpu.server import MODELS
from services.router.adapters.model_folder import ModelFolder
from services.router.adapters.triton import TritonServer
from services.router.core.sovereign.plan import Plan, parse_chat
from services.router.core.sovereign.structured import instruction
from training import public_rows

RESULTS = Path("bench/results")
STREAMS = (1, 8, 32)
DIRECT, ROUTER = "Triton", "through the router"
TRITON_CPUS, OTHER_CPUS = "0", "1"
MAX_FIRST_TOKEN_MS, MAX_THROUGHPUT_LOSS = 3.0, 0.05
"""What the router may add (issue 3)."""

_HOME = """
[upstreams.home]
target = "sovereign"
protocol = "triton"
models = ["small-llama"]
[triton.home]
replicas = ["{address}"]
model_dir = "{model_dir}"
versions = {{ small-llama = "1" }}
queue_tokens = 1000000
[workloads.bank-intent]
owner = "customer-care"
task_type = "classification"
system_prompts = [{system}]
"""

Ask = Callable[[str], Awaitable["Sample"]]
"""Asks for the answer to one customer's message."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer, seen by the client."""

    first_token_s: float
    """From the request to the first text."""
    whole_s: float
    """From the request to the end."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One subject at one number of streams; medians over the rounds."""

    subject: str
    streams: int
    first_token_p50_ms: float
    first_token_p99_ms: float
    token_ms: float
    """Time a token after the first, median over the answers."""
    tokens_per_s: float
    """All streams together."""


class Prompts:
    """Real messages of a bank's customers, in the prompt of the workload bank-intent."""

    def __init__(self, answer_tokens: int) -> None:
        form = public_rows.prompts()["bank-intent"]["json"]
        schema = form["response_format"]["json_schema"]["schema"]
        # Its format is text: an answer without an end meets no schema.
        self.system = f"{form['system']}\n\n{instruction(schema)}"
        self.messages = [row.text for row in public_rows.banking77("test")]
        self._answer_tokens = answer_tokens

    def body(self, message: str) -> dict[str, Any]:
        """The request."""
        return {
            "model": "small-llama",
            "messages": [{"role": "system", "content": self.system}, {"role": "user", "content": message}],
            "max_tokens": self._answer_tokens,
            "temperature": 0,
            # Without its end, a greedy small model would say one word for ever.
            "frequency_penalty": 1.0,
            "stream": True,
        }


def endless_model(folder: Path) -> Path:
    """A copy of the model that never ends its turn; returns its folder."""
    shutil.copytree(MODELS, folder)
    for file in folder.glob("*/genai_config.json"):
        config = json.loads(file.read_text())
        # A token that no answer has: only that at a prompt's beginning is like that.
        config["model"]["eos_token_id"] = [config["model"]["bos_token_id"]]
        file.write_text(json.dumps(config))
    return folder


def start_pinned(triton: Process) -> None:
    """Starts Triton on its core, and moves this process to the other."""
    os.sched_setaffinity(0, {int(TRITON_CPUS)})
    triton.start()
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {int(OTHER_CPUS)})


@asynccontextmanager
async def direct(address: str, model: Path, prompts: Prompts) -> AsyncIterator[Ask]:
    """A client of Triton itself: the router's own, without the router."""
    server, folder = TritonServer(address, "tensorrt_llm"), ModelFolder(model)

    async def ask(message: str) -> Sample:
        began = time.perf_counter()
        plan: Plan = parse_chat(prompts.body(message), folder.defaults)
        prompt = folder.chat(plan.turns, (), "")
        generation = server.generate(
            prompt.text, plan.sampling, plan.sampling.max_tokens or 0, streamed=True, version="1"
        )
        first = 0.0
        while not generation.finish_reason:
            await generation.advance()
            first = first or time.perf_counter()
        return _sample(began, first, prompts.body(message)["max_tokens"])

    try:
        yield ask
    finally:
        await server.close()


@asynccontextmanager
async def through_router(running: homeward.Running, prompts: Prompts) -> AsyncIterator[Ask]:
    """A client of the OpenAI-compatible door."""
    headers = {"Authorization": f"Bearer {running.key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(running.base_url + "/", headers=headers, connector=connector) as session:

        async def ask(message: str) -> Sample:
            began = time.perf_counter()
            body = prompts.body(message)
            first = 0.0
            last = b""
            async with session.post("chat/completions", json=body) as response:
                response.raise_for_status()
                async for chunk in response.content.iter_any():
                    first = first or time.perf_counter()
                    last = (last + chunk)[-400:]
            if b'"length"' not in last or b"[DONE]" not in last:
                raise RuntimeError(f"an answer is not whole: {last!r}")
            return _sample(began, first, body["max_tokens"])

        yield ask


def _sample(began: float, first: float, tokens: int) -> Sample:
    return Sample(first - began, time.perf_counter() - began, tokens)


async def load(ask: Ask, messages: Sequence[str], streams: int) -> tuple[list[Sample], float]:
    """Asks all messages, so many at a time; gives the samples and the seconds that it took."""
    todo = list(messages)
    samples: list[Sample] = []

    async def stream() -> None:
        while todo:
            samples.append(await ask(todo.pop()))

    began = time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(streams)))
    return samples, time.perf_counter() - began


def figures(subject: str, streams: int, samples: Sequence[Sample], seconds: float) -> Figures:
    """The figures of one round."""
    first = sorted(sample.first_token_s for sample in samples)
    return Figures(
        subject=subject,
        streams=streams,
        first_token_p50_ms=percentile(first, 50) * 1000,
        first_token_p99_ms=percentile(first, 99) * 1000,
        token_ms=statistics.median(
            (sample.whole_s - sample.first_token_s) / (sample.tokens - 1) * 1000 for sample in samples
        ),
        tokens_per_s=sum(sample.tokens for sample in samples) / seconds,
    )


def median(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    names = ("first_token_p50_ms", "first_token_p99_ms", "token_ms", "tokens_per_s")
    values = {name: statistics.median(getattr(item, name) for item in rounds) for name in names}
    return Figures(rounds[0].subject, rounds[0].streams, **values)


async def run(rounds: int, requests: int, answer_tokens: int) -> list[Figures]:
    """Runs everything; `requests` a round for each subject and number of streams."""
    prompts = Prompts(answer_tokens)
    noise = random.Random(1)
    found: dict[tuple[str, int], list[Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-sovereign-") as folder:
        model = endless_model(Path(folder, "model"))
        triton = Process(Path(folder, "triton"), models=model)
        say("starting Triton and Homeward")
        try:
            await asyncio.to_thread(start_pinned, triton)
            address = triton.settings.grpc
            (unused,) = free_ports(1)
            home = _HOME.format(address=address, model_dir=model, system=json.dumps(prompts.system))
            async with (
                homeward.serve(
                    f"http://127.0.0.1:{unused}/v1",
                    extra_settings=home,
                    router_cpus=OTHER_CPUS,
                    other_cpus=OTHER_CPUS,
                ) as running,
                direct(address, model, prompts) as straight,
                through_router(running, prompts) as routed,
            ):
                for name, ask in ((DIRECT, straight), (ROUTER, routed)):
                    say(f"warming up: {name}")
                    await load(ask, noise.sample(prompts.messages, 16), 8)
                for round_ in range(1, rounds + 1):
                    for streams in STREAMS:
                        messages = noise.sample(prompts.messages, requests)
                        pairs = [(DIRECT, straight), (ROUTER, routed)]
                        # Whoever comes second finds the prompts' keys and values in the cache.
                        for name, ask in pairs if round_ % 2 else reversed(pairs):
                            got = figures(name, streams, *await load(ask, messages, streams))
                            found.setdefault((name, streams), []).append(got)
                            say(
                                f"round {round_}/{rounds}, {streams:>2} streams, {name}: first token"
                                f" {got.first_token_p50_ms:.1f} ms, {got.tokens_per_s:,.0f} tokens/s"
                            )
        finally:
            await asyncio.to_thread(triton.stop)
    return [median(items) for items in found.values()]


def report(found: Sequence[Figures], rounds: int, requests: int, answer_tokens: int) -> str:
    """The page bench/results/sovereign.md."""
    by = {(item.subject, item.streams): item for item in found}
    lines = [
        "| streams | subject | first token p50, ms | p99, ms | a token, ms | tokens/s | of Triton's |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for streams in STREAMS:
        for subject in (DIRECT, ROUTER):
            item = by[subject, streams]
            share = item.tokens_per_s / by[DIRECT, streams].tokens_per_s
            lines.append(
                f"| {streams} | {subject} | {item.first_token_p50_ms:.1f} | {item.first_token_p99_ms:.1f}"
                f" | {item.token_ms:.2f} | {item.tokens_per_s:,.0f} | {share:.1%} |"
            )
    added_ms = by[ROUTER, 1].first_token_p50_ms - by[DIRECT, 1].first_token_p50_ms
    lost = max(1 - by[ROUTER, streams].tokens_per_s / by[DIRECT, streams].tokens_per_s for streams in STREAMS)
    table = "\n".join(lines)
    return f"""# The model at home, straight and through the router

`make bench-sovereign` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, \
Python {platform.python_version()}. Medians of {rounds} interleaved rounds of {requests} answers of \
{answer_tokens} tokens; real messages of Banking77 in the prompt of bank-intent. The model is models/small-llama on \
the CPU (one thread, eight requests in work at a time, the rest wait), so the absolute figures are those of a small \
model on a small machine; what is measured is the difference. Triton has one core; client, router and the rest of \
Homeward (ledger, ClickHouse, …) have the other.

{table}

The router adds {added_ms:.1f} ms to the first token (one stream; it may add {MAX_FIRST_TOKEN_MS:g} ms) and costs at \
most {max(0.0, lost):.1%} of the tokens a second (it may cost {MAX_THROUGHPUT_LOSS:.0%}). It does so with keys, \
policy, book and a trace of every request on. At 32 streams the first token waits for a place among the eight.

![First token and tokens a second](sovereign.png)
"""


def picture(found: Sequence[Figures], file: Path) -> None:
    """First token and tokens a second, side by side."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    panels = (
        ("first_token_p50_ms", "first token, ms (median, logarithmic)"),
        ("tokens_per_s", "tokens a second, all streams"),
    )
    for axis, (name, label) in zip(axes, panels, strict=True):
        for offset, subject in enumerate((DIRECT, ROUTER)):
            values = [getattr(item, name) for item in found if item.subject == subject]
            places = [index + (offset - 0.5) * 0.38 for index in range(len(STREAMS))]
            bars = axis.bar(places, values, width=0.36, label=subject)
            axis.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
        axis.set_xticks(range(len(STREAMS)), [str(streams) for streams in STREAMS])
        axis.set_xlabel("streams")
        axis.set_title(label, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yscale("log")
    axes[0].legend(fontsize=8)
    fig.savefig(file, dpi=150)
    plt.close(fig)


def main() -> None:
    """Runs the benchmark and writes its results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=48, help="a round, for each subject")
    parser.add_argument("--answer-tokens", type=int, default=128)
    options = parser.parse_args()
    began = time.monotonic()
    found = asyncio.run(run(options.rounds, options.requests, options.answer_tokens))
    RESULTS.mkdir(parents=True, exist_ok=True)
    page = report(found, options.rounds, options.requests, options.answer_tokens)
    (RESULTS / "sovereign.md").write_text(page, encoding="utf-8")
    raw = json.dumps([asdict(item) for item in found], indent=2)
    (RESULTS / "sovereign.json").write_text(raw + "\n", encoding="utf-8")
    picture(found, RESULTS / "sovereign.png")
    say(f"\n{page}\nwrote {RESULTS}/sovereign.md, .json and .png in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
