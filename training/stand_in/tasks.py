"""The two tasks that the stand-in is taught: rows with their labels, by split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training import public_rows

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


def read() -> list[Task]:
    """The tasks."""
    prompts = public_rows.prompts()
    return [
        _voice(prompts["voice-domain"]["text"]["system"]),
        _bank(prompts["bank-intent"]["text"]["system"]),
    ]


def _voice(prompt: str) -> Task:
    def rows(split: Literal["train", "val", "test"]) -> Rows:
        return [(row.text, row.domain) for row in public_rows.clinc150(split)]

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


def _bank(prompt: str) -> Task:
    train: Rows = list(public_rows.banking77("train"))
    return Task(
        name="bank-intent",
        source="Banking77 (I. Casanueva et al., 2020)",
        licence="CC-BY-4.0",
        prompt=prompt,
        train=[row for index, row in enumerate(train) if index % 10],
        held_out=train[::10],
        joins_held_out=True,
        test=list(public_rows.banking77("test")),
    )
