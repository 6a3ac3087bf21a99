"""How well and how fast names of people are found: the part of `bench.detectors` that is about them.

Rows that nobody looked at while the model was made: Presidio's in data/personal_data, and those of the public
corpora in the folder HOMEWARD_PERSON_NAMES, which `python -m training.person_names --rows` writes. Without
it, the tables have Presidio's alone.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.router.core.identifiers import names
from services.router.core.identifiers.text import Span

DATA = Path("data")
PRESIDIO = DATA / "personal_data" / "presidio_synth.jsonl"
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
ENGLISH = ("Broad Twitter Corpus", "SLURP", "UNER English", "WNUT 2017", "WikiGold", "presidio")
OLD = "Europeana"
"""Newspapers of a hundred years ago, read by machine: shown, but not in the sums."""
BIG = 1_000_000

Row = tuple[str, list[Span]]
Find = Callable[[str], Sequence[Span]]


@dataclass(slots=True)
class Score:
    """What was found in labelled texts."""

    labelled: int = 0
    touched: int = 0
    covered: int = 0
    """Labelled names of which no letter was left."""
    found: int = 0
    right: int = 0
    with_names: int = 0
    left: int = 0
    """Texts with names in which one was not found."""
    without: int = 0
    alarms: int = 0
    """Texts without names in which something was found."""

    def add(self, text: str, wanted: Sequence[Span], found: Sequence[Span]) -> None:
        """Counts one text."""
        touched = [any(a < end and start < b for a, b in found) for start, end in wanted]
        hidden = {place for start, end in found for place in range(start, end)}
        self.labelled += len(wanted)
        self.touched += sum(touched)
        self.covered += sum(
            all(place in hidden for place in range(start, end) if text[place].isalpha())
            for start, end in wanted
        )
        self.found += len(found)
        self.right += sum(any(a < end and start < b for a, b in wanted) for start, end in found)
        self.with_names += bool(wanted)
        self.left += not all(touched)
        self.without += not wanted
        self.alarms += bool(found) and not wanted


def score(rows: Sequence[Row], find: Find) -> Score:
    """The score of a way to find names."""
    made = Score()
    for text, wanted in rows:
        made.add(text, wanted, find(text))
    return made


def sources() -> dict[str, list[Row]]:
    """The labelled texts, by source."""
    folder = os.environ.get("HOMEWARD_PERSON_NAMES")
    made = (
        {path.stem: _read(path, "person") for path in sorted(Path(folder).glob("*.jsonl"))} if folder else {}
    )
    made["presidio_synth.jsonl"] = _read(PRESIDIO, "PERSON")
    return made


def _read(path: Path, label: str) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return [
            (row["text"], [(start, end) for kind, start, end in row["spans"] if kind == label])
            for row in map(json.loads, lines)
        ]


def report() -> list[str]:
    """The tables about names, as lines."""
    learnt = names.model()
    of = sources()
    lines = [
        "| labelled text | texts | names | recall | whole | precision | a name left | false alarm |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, rows in of.items():
        made = score(rows, lambda text: names.found(text, learnt))
        lines.append(
            f"| {name} | {len(rows):,} | {made.labelled:,} | {_share(made.touched, made.labelled)} |"
            f" {_share(made.covered, made.labelled)} | {_share(made.right, made.found)} |"
            f" {_share(made.left, made.with_names)} | {_share(made.alarms, made.without)} |"
        )
    lines += [
        "",
        "| threshold | English: recall | precision | a name left | other languages: recall | precision |"
        " a name left |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    english = [row for name, rows in of.items() if name.startswith(ENGLISH) for row in rows]
    others = [row for name, rows in of.items() if not name.startswith((*ENGLISH, OLD)) for row in rows]
    for threshold in THRESHOLDS:
        cells = [f"{threshold:g}"]
        for rows in (english, others):
            made = score(rows, lambda text, least=threshold: names.found(text, learnt, least))  # type: ignore[misc]
            cells += [
                _share(made.touched, made.labelled),
                _share(made.right, made.found),
                _share(made.left, made.with_names),
            ]
        lines.append(f"| {' | '.join(cells)} |")
    with (DATA / "workloads" / "banking77_test.csv").open(encoding="utf-8") as file:
        banking = [row["text"] for row in csv.DictReader(file)]
    alarms = sum(bool(names.found(text, learnt)) for text in banking)
    lines += ["", f"Banking77's test messages, {len(banking):,}: something found in {alarms}."]
    lines += ["", "| text | µs per KB, names alone |", "|---|---:|"]
    dense = "\n".join(text for text, _ in of["presidio_synth.jsonl"])
    timed = {
        "messages of Banking77, one by one": banking,
        "the same as one text": ["\n".join(banking)],
        "Presidio's rows one by one": [text for text, _ in of["presidio_synth.jsonl"]],
        "the same as one text of 1 MB": [(dense * (BIG // len(dense) + 1))[:BIG]],
        "1 MB of `Ab Cd `: every word could be a name": ["Ab Cd " * (BIG // 6)],
    }
    for name, texts in timed.items():
        start = time.thread_time()
        for text in texts:
            names.found(text, learnt)
        spent = time.thread_time() - start
        lines.append(f"| {name} | {spent / sum(map(len, texts)) * 1024e6:,.0f} |")
    return lines


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"
