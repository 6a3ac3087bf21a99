"""The two tasks that the stand-in is taught: rows with their labels, by split."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parents[2] / "data" / "workloads"

Rows = list[tuple[str, str]]
"""(text, label) pairs."""


@dataclass(frozen=True, slots=True)
class Task:
    """A labelled data set."""

    name: str
    """Of the workload."""
    source: str
    licence: str
    prompt: str
    """Asks for a label without listing the labels, as an application may."""
    train: Rows
    held_out: Rows
    """What the strength of the regularisation is chosen on."""
    joins_held_out: bool
    """Whether the held-out rows are of the training split, and so are trained on in the end."""
    test: Rows


def read(folder: Path = DATA) -> list[Task]:
    """The tasks, from the files in a folder."""
    prompts = json.loads((folder / "prompts.json").read_text())
    return [
        _voice(folder, prompts["voice-domain"]["text"]["system"]),
        _bank(folder, prompts["bank-intent"]["text"]["system"]),
    ]


def _voice(folder: Path, prompt: str) -> Task:
    domains = json.loads((folder / "clinc150_domains.json").read_text())
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    splits = json.loads((folder / "clinc150_full.json").read_text())

    def rows(split: str) -> Rows:
        return [(text, domain_of[intent]) for text, intent in splits[split]]

    return Task(
        name="voice-domain",
        source="CLINC150, full, its 150 intents as their ten domains (S. Larson et al., 2019)",
        licence="CC-BY-3.0",
        prompt=prompt,
        train=rows("train"),
        held_out=rows("val"),
        joins_held_out=False,
        test=rows("test"),
    )


def _bank(folder: Path, prompt: str) -> Task:
    def rows(split: str) -> Rows:
        with (folder / f"banking77_{split}.csv").open(newline="", encoding="utf-8") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]

    train = rows("train")
    return Task(
        name="bank-intent",
        source="Banking77 (I. Casanueva et al., 2020)",
        licence="CC-BY-4.0",
        prompt=prompt,
        train=[row for index, row in enumerate(train) if index % 10],
        held_out=train[::10],
        joins_held_out=True,
        test=rows("test"),
    )
