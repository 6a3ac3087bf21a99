"""How many GPUs for how many users: `python -m deploy.triton.gpu.sizing` prints the tables of docs/gpu.md.

Nothing here was measured by this project. The pace of a GPU comes from the throughput that NVIDIA
publishes, the shape of a request from two production traces that Microsoft publishes, and what is ours,
a guess, is named as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

GPUS = ("H100", "H200")
"""SXM, 80 GB and 141 GB. The order of every pair below."""


@dataclass(frozen=True)
class Published:
    """One line of NVIDIA's table: every request has this shape, and they all come at once."""

    input_tokens: int
    output_tokens: int
    output_tokens_per_s: tuple[int, int]
    """Of one H100, and of one H200."""


PUBLISHED = (
    Published(128, 128, (28_312, 27_911)),
    Published(128, 2048, (22_714, 26_221)),
    Published(128, 4096, (14_325, 18_027)),
    Published(500, 2000, (17_660, 20_770)),
    Published(1000, 1000, (15_220, 17_744)),
    Published(1000, 2000, (13_899, 16_828)),
    Published(2048, 128, (3_450, 3_538)),
    Published(2048, 2048, (9_305, 12_194)),
    Published(5000, 500, (3_459, 3_902)),
    Published(20_000, 2000, (1_351, 1_804)),
)
"""Llama 3.1 8B, FP8, TP1, TensorRT-LLM 1.0: NVIDIA/TensorRT-LLM at commit 00f37686aa85,
docs/source/performance/perf-overview.md, "Llama 3.1 8B". Its successor, docs/source/developer-guide at commit
03e27c7d5ff0, leaves this model out."""


@dataclass(frozen=True)
class Workload:
    """What one kind of application asks of the model."""

    name: str
    input_tokens: float
    """Mean of a request."""
    output_tokens: float
    """Mean of a request."""
    peak: float
    """Requests of the busiest minute, over those of the mean minute."""
    requests_per_user_hour: float
    """In the busy hour. Ours, a guess: the ledger's usage says it of your own applications."""


WORKLOADS = (
    Workload("conversation", 1154.7, 211.1, 1.52, 10),
    Workload("code completion", 2047.8, 27.9, 4.18, 60),
)
"""Tokens and peaks: Azure LLM inference traces 2023, conv (19,366 requests) and code (8,819), an hour each;
github.com/Azure/AzurePublicDataset, CC-BY-4.0."""

USERS = (100, 1_000, 5_000, 10_000, 50_000)
UTILISATION = 0.5
"""Ours: the part of the published pace that is planned with. That pace is one of full queues, in which
requests wait for tens of seconds; half of it leaves room for people who wait for a first token."""
SPARE = 1
"""GPUs beyond the need, so that one may fail or be rolled out."""

MEMORY_GB = (80.0, 141.0)
WEIGHTS_GB = 9.1
"""The two safetensors files of nvidia/Llama-3.1-8B-Instruct-FP8: 5.00 and 4.08 GB."""
WORKING_GB = 5.0
"""Ours, a guess: CUDA context, activations of 8,192 tokens, CUDA graphs. The log of the load says it."""
KV_FRACTION = 0.9
"""`free_gpu_memory_fraction` of model.yaml."""
KV_BYTES_PER_TOKEN = 2 * 32 * 8 * 128 * 1
"""Keys and values, 32 layers, 8 key-value heads of 128 (Llama 3.1 8B's config.json), one byte in FP8."""


@dataclass(frozen=True)
class Pace:
    """GPU-seconds that a request costs: `a·in + b·out + c·out·(in + out/2)`.

    Prefill pays for each input token (a). Decoding pays for each output token (b), and for the context
    that it has to read, which is on average the prompt and half of the answer (c).
    """

    a: float
    b: float
    c: float

    def seconds(self, input_tokens: float, output_tokens: float) -> float:
        """GPU-seconds of one request in a full batch."""
        first, second, third = terms(input_tokens, output_tokens)
        return self.a * first + self.b * second + self.c * third


def terms(input_tokens: float, output_tokens: float) -> tuple[float, float, float]:
    """What a, b and c are multiplied with."""
    return input_tokens, output_tokens, output_tokens * (input_tokens + output_tokens / 2)


def fit(gpu: str) -> Pace:
    """The pace nearest to what is published of `gpu`: least squares of the relative error."""
    index = GPUS.index(gpu)
    rows = []
    for line in PUBLISHED:
        seconds = line.output_tokens / line.output_tokens_per_s[index]
        rows.append([term / seconds for term in terms(line.input_tokens, line.output_tokens)])
    a, b, c = np.linalg.lstsq(np.array(rows), np.ones(len(rows)), rcond=None)[0]
    return Pace(float(a), float(b), float(c))


def requests_per_s(workload: Workload, gpu: str) -> float:
    """What one GPU is planned to answer."""
    return UTILISATION / fit(gpu).seconds(workload.input_tokens, workload.output_tokens)


def gpus(users: int, workload: Workload, gpu: str) -> int:
    """GPUs for `users`, the spare one among them."""
    peak_per_s = users * workload.requests_per_user_hour / 3600 * workload.peak
    return math.ceil(peak_per_s / requests_per_s(workload, gpu)) + SPARE


def kv_tokens(gpu: str) -> int:
    """Tokens that fit into the KV cache of one GPU."""
    free_gb = (MEMORY_GB[GPUS.index(gpu)] - WEIGHTS_GB - WORKING_GB) * KV_FRACTION
    return int(free_gb * 1e9 / KV_BYTES_PER_TOKEN)


def fit_table() -> Iterator[str]:
    """The published figures, and what the fitted pace makes of each."""
    yield "| in / out | " + " | ".join(f"{gpu} published | fitted" for gpu in GPUS) + " |"
    yield "|" + "---|" * (1 + 2 * len(GPUS))
    paces = [fit(gpu) for gpu in GPUS]
    for line in PUBLISHED:
        cells = [f"{line.input_tokens:,} / {line.output_tokens:,}"]
        for pace, published in zip(paces, line.output_tokens_per_s, strict=True):
            fitted = line.output_tokens / pace.seconds(line.input_tokens, line.output_tokens)
            cells += [f"{published:,}", f"{fitted:,.0f} ({fitted / published - 1:+.1%})"]
        yield "| " + " | ".join(cells) + " |"


def sizing_table() -> Iterator[str]:
    """Users to GPUs, of each workload."""
    kinds = [(workload, gpu) for workload in WORKLOADS for gpu in GPUS]
    yield "| | " + " | ".join(f"{workload.name}, {gpu}" for workload, gpu in kinds) + " |"
    yield "|" + "---|" * (1 + len(kinds))

    def line(name: str, cell: Callable[[Workload, str], str]) -> str:
        return f"| {name} | " + " | ".join(cell(workload, gpu) for workload, gpu in kinds) + " |"

    yield line("requests/s of one GPU", lambda workload, gpu: f"{requests_per_s(workload, gpu):.1f}")
    yield line(
        "output tokens/s of one GPU",
        lambda workload, gpu: f"{requests_per_s(workload, gpu) * workload.output_tokens:,.0f}",
    )
    yield line(
        "mean requests that the KV cache holds",
        lambda workload, gpu: f"{kv_tokens(gpu) / (workload.input_tokens + workload.output_tokens):,.0f}",
    )
    for users in USERS:
        yield line(f"**{users:,} users**", partial(_bold_gpus, users))


def _bold_gpus(users: int, workload: Workload, gpu: str) -> str:
    return f"**{gpus(users, workload, gpu)}**"


def main() -> None:
    """Prints both tables."""
    print("\n".join([*fit_table(), "", *sizing_table()]))


if __name__ == "__main__":
    main()
