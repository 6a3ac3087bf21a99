"""Trains the model of names and writes models/person-names: `python -m training.person_names`.

--clones FOLDER    clones of the repositories that `sources` names, each as FOLDER/owner+name/repo
--rows FOLDER      only writes the texts that measure, one file a source, for `python -m bench.detectors`
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.router.core.identifiers.name_clues import (
    AROUND_ROLES,
    BONDS,
    WORD_ROLES,
    Lists,
    around,
    bare,
    bonds,
    form_of,
    of_word,
    words_of,
)
from training.person_names import generated, lists
from training.person_names.fit import Chain, Floats, fit
from training.person_names.sources import SOURCES, Row, rows

OUT = Path("models/person-names")
SEED = 7
GENERATED = 600
"""Texts of each language, four times as many in English."""
SMALL, CAPITAL = 0.25, 0.04
"""Shares of the texts that are learnt a second time in small letters, and in capitals."""
UNKNOWN = 4
"""One known name in so many is unknown while training: else the lists would be believed too much."""


def training(clones: Path) -> list[Row]:
    """All texts that train."""
    made = [row for source in SOURCES if source.part == "train" for row in rows(source, clones)]
    made += generated.rows(GENERATED, SEED)
    with Path("data/workloads/banking77_train.csv").open(encoding="utf-8") as file:
        made += [(row["text"], []) for row in list(csv.DictReader(file))[:3000]]
    return made


def cased(texts: Sequence[Row], seed: int) -> list[Row]:
    """Some of the texts in small letters, some in capitals."""
    rng = random.Random(seed)
    made: list[Row] = []
    for text, spans in texts:
        drawn = rng.random()
        other = text.lower() if drawn < SMALL else text.upper() if drawn < SMALL + CAPITAL else None
        if other is not None and len(other) == len(text):
            made.append((other, spans))
    return made


def chains(texts: Iterable[Row], held: Lists) -> list[Chain]:
    """What the model learns from: the words with clues, cut where words without any stand between."""
    made: list[Chain] = []
    for text, spans in texts:
        words = words_of(text, held)
        tied = [BONDS.index(bond) for bond in bonds(words)]
        labels: list[int] = []
        told: list[tuple[str, ...]] = []
        for place in words.chosen:
            start, end = bare(text, *words.spans[place])
            labels.append(int(any(first < end and start < last for first, last in spans)))
            word = text[start:end]
            alone = of_word(word.lower(), form_of(word, held.given))
            told.append(alone + around(words, place, held))
        start = 0
        for end in range(1, len(tied) + 1):
            if end == len(tied) or not tied[end]:
                made.append(Chain(told[start:end], tied[start:end], labels[start:end]))
                start = end
    return made


def write(path: Path, held: Lists, weights: Sequence[dict[str, float]], pairs: Floats) -> None:
    """The model's file."""

    def packed(texts: Iterable[str]) -> NDArray[np.uint8]:
        return np.frombuffer("\0".join(texts).encode(), dtype=np.uint8)

    given = sorted(held.given)
    arrays: dict[str, Any] = {"common": packed(sorted(held.common)), "given": packed(given)}
    arrays["classes"] = np.frombuffer("".join(held.given[name] for name in given).encode(), dtype=np.uint8)
    for role, table in zip((*WORD_ROLES, *AROUND_ROLES), weights, strict=True):
        arrays[role] = packed(table)
        arrays[f"{role}_weights"] = np.array(list(table.values()), dtype=np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, pairs=pairs.astype(np.float32), **arrays)


def write_rows(clones: Path, folder: Path, part: str) -> None:
    """The texts of one part, a file for each source."""
    by_name: dict[str, list[Row]] = defaultdict(list)
    for source in SOURCES:
        if source.part == part:
            by_name[source.name] += rows(source, clones)
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in by_name.items():
        lines = [
            json.dumps({"text": text, "spans": [["person", *span] for span in spans]}, ensure_ascii=False)
            for text, spans in texts
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Trains, or writes rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--part", default="test")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.rows:
        write_rows(arguments.clones, arguments.rows, arguments.part)
        return
    texts = training(arguments.clones)
    held = lists.made(texts)
    print(f"{len(texts):,} texts, {len(held.given):,} names, {len(held.common):,} common words")
    fewer = Lists(
        held.common, {name: kind for name, kind in held.given.items() if zlib.crc32(name.encode()) % UNKNOWN}
    )
    weights, pairs = fit(chains([*texts, *cased(texts, SEED)], fewer))
    write(arguments.out / "weights.npz", held, weights, pairs)


if __name__ == "__main__":
    main()
