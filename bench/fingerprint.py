"""`python -m bench.fingerprint`: what naming by fixed parts costs in the router, in microseconds.

In process, on one core: from a parsed request to the workload that the table gives, as the router does it
before it asks the classifier. A hit to the letter is what most requests are. The others cost this once for
each system prompt and table; then they cost what `again` says. Writes nothing but this table.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import time
from collections.abc import Callable, Sequence
from itertools import cycle

from bench.load import percentile
from services.common.fingerprint import ShapeTable, shape_of_system_prompt
from services.router.core import catalog, shown, wire
from services.router.core.fixed_parts import FixedParts

WORKLOADS = (10, 100, 1_000)
PROMPT_WORDS = (60, 600)
"""About 400 and 4,000 characters."""
CALLS = 2_000
SYLLABLES = ("ka", "to", "mi", "re", "sul", "van", "der", "pol", "in", "est", "or", "qua")


def prompt(words: int, rng: random.Random) -> str:
    """A system prompt that no other has."""
    text = (
        "".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) + (". Then" if at % 12 == 11 else "")
        for at in range(words)
    )
    return f"You answer for Contoso, release 1.0. {' '.join(text)}."


def edited(text: str) -> str:
    """One word in the middle is another."""
    words = text.split()
    words[len(words) // 2] = "carefully"
    return " ".join(words)


def request(system_prompt: str) -> wire.Request:
    """A chat with that system prompt and two tools."""
    body = {
        "model": "m",
        "messages": [{"role": "system", "content": system_prompt}, {"role": "user", "content": "Hi " * 100}],
        "tools": [{"type": "function", "function": {"name": name}} for name in ("look_up", "hand_over")],
    }
    return wire.parse_request(catalog.CHAT, json.dumps(body).encode())


def times_us(
    table: ShapeTable, asks: Sequence[wire.Request], found: bool, *, fresh: bool
) -> tuple[float, float]:
    """p50 and p99 of naming each request; with `fresh` nothing is remembered from one to the next."""
    parts = FixedParts()
    took = []
    for ask in (item for item, _ in zip(cycle(asks), range(CALLS), strict=False)):
        if fresh:
            parts = FixedParts()
        began = time.perf_counter_ns()
        hit = parts.find(table, shown.whole(ask, shown.opening(ask))).hit
        took.append((time.perf_counter_ns() - began) / 1000)
        assert found or hit is None
    took.sort()
    return percentile(took, 50), percentile(took, 99)


def main() -> None:
    """Prints the table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    gc.freeze()
    kinds: dict[str, tuple[Callable[[str], str], bool, bool]] = {
        "to the letter": (lambda text: text.replace(" ", "\n"), True, True),
        "other version": (lambda text: text.replace("1.0", "2.7.1"), True, True),
        "a word edited": (edited, True, True),
        "a word edited, again": (edited, True, False),
        "nobody's": (lambda text: f"Nobody has this. {text[::-1]}", False, True),
        "nobody's, again": (lambda text: f"Nobody has this. {text[::-1]}", False, False),
    }
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; µs, p50 / p99")
    print(f"{'words':>6} {'case':<22}" + "".join(f"{count:>18,}" for count in WORKLOADS) + "   workloads")
    for words in PROMPT_WORDS:
        rng = random.Random(words)
        texts = [prompt(words, rng) for _ in range(max(WORKLOADS))]
        shapes = [(str(at), shape_of_system_prompt(text)) for at, text in enumerate(texts)]
        tables = [ShapeTable(shapes[:count]) for count in WORKLOADS]
        for case, (change, found, fresh) in kinds.items():
            cells = []
            for table, count in zip(tables, WORKLOADS, strict=True):
                asks = [request(change(text)) for text in texts[: min(count, 50)]]
                p50, p99 = times_us(table, asks, found, fresh=fresh)
                cells.append(f"{p50:>9.1f} / {p99:>6.1f}")
            print(f"{words:>6} {case:<22}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
