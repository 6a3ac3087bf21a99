"""Writes the background that workloads are told apart from: `models/classifier/background.npz`.

    uv run python -m training.classifier.background

It takes seconds and needs nothing but what the classifier runs on. Run it again whenever the encoder, the
window or the n-grams change. There is no randomness but the seed's.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

# Before onnxruntime is there: its wheels start a telemetry client.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np

from services.classifier.core.background import write
from services.classifier.core.ngrams import ngrams
from services.classifier.core.reading import Reading
from services.classifier.core.window import window
from services.common.encoder import Encoder
from services.common.seen import cut
from training.classifier.rows import Row, rows

MODEL = Path(__file__).parents[2] / "models" / "classifier"
ROWS = 256
SEED = 0
_NOWHERE = Path("/nonexistent")


def chosen(every: Sequence[Row], count: int = ROWS, seed: int = SEED) -> list[Row]:
    """Rows by turns: as many of each source, and of each group in it, as there are.

    Banking77's are left out: its messages are the workloads of a benchmark. Of rows that have one window, as
    those of a long template, one is taken.
    """
    source = random.Random(seed)
    by_source: defaultdict[str, defaultdict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in every:
        if "banking77" not in row.source:
            by_source[row.source][row.group].append(row)
    queues = [_by_turns(list(groups.values()), source) for _, groups in sorted(by_source.items())]
    by_window: dict[str, Row] = {}
    for row in _first_of_each(queues):
        by_window.setdefault(_window(row), row)
    return list(by_window.values())[:count]


def _by_turns(groups: list[list[Row]], source: random.Random) -> list[Row]:
    for group in groups:
        source.shuffle(group)
    source.shuffle(groups)
    return _first_of_each(groups)


def _first_of_each(queues: Sequence[Sequence[Row]]) -> list[Row]:
    """The first row of each, the second of each, and so on."""
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _window(row: Row) -> str:
    system = "\n".join(content for role, content in row.messages if role == "system")
    return window(cut(system, (content for role, content in row.messages if role != "system")))


def read(encoder: Encoder, row: Row) -> Reading:
    """What the model makes of a row, but for its kind of work."""
    text = _window(row)
    embedding = encoder.encode([text]).embeddings[0]
    return Reading(embedding, *ngrams(text), task_types=np.zeros(10, np.float32), language_known=True)


def main(target: Path = MODEL / "background.npz") -> None:
    """Chooses, reads and writes."""
    # Only rows that the repository has: whoever runs this gets the same file.
    every, _ = rows(_NOWHERE)
    encoder = Encoder(MODEL)
    found = chosen(every)
    write(target, [read(encoder, row) for row in found])
    print(f"{target}: {len(found)} readings, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
