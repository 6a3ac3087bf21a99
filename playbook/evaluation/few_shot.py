"""The few-shot benchmark: workloads that are known by ten examples each, and queries that belong to none.

It is built from CLINC150 and Banking77 (`data/workloads`). Each intent, or each of CLINC150's domains, is a
workload. Its examples are drawn from the train split by a seed; the test split is the test. CLINC150's
out-of-scope test queries belong to no workload and must be abstained from, in the bank's settings too. In the
settings of ten intents the others' test queries are strangers as well, near ones; they have a column of
their own and no part in the out-of-scope share.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from playbook.evaluation import metrics
from playbook.evaluation.task_types import DIGITS, Reads
from services.classifier.core.background import Background
from services.classifier.core.examples import ExampleHead
from services.classifier.core.reading import Reading
from services.common.seen import cut
from training import public_rows

EXAMPLES = 10
"""Of each workload."""
DRAWS = 5
"""Of workloads and examples; the seeds are 0 to 4."""
FEW_WORKLOADS = 10
"""In the settings that draw workloads."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A data set, as workloads."""

    train: Mapping[str, tuple[str, ...]]
    """Texts by workload: examples are drawn from them."""
    test: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Setting:
    """How many workloads of which data set."""

    title: str
    pool: Pool
    drawn: int | None
    """Workloads that a draw takes; None for all."""


def settings() -> dict[str, Setting]:
    """All settings, by their names in `evaluation.json`."""
    clinc_train, clinc_test = public_rows.clinc150("train"), public_rows.clinc150("test")
    intents = _pool(((row.intent, row.text) for row in rows) for rows in (clinc_train, clinc_test))
    domains = _pool(((row.domain, row.text) for row in rows) for rows in (clinc_train, clinc_test))
    bank = _pool(
        ((row.category, row.text) for row in public_rows.banking77(split)) for split in ("train", "test")
    )
    return {
        "clinc150_10_intents": Setting("ten of CLINC150's intents", intents, FEW_WORKLOADS),
        "banking77_10_intents": Setting("ten of Banking77's intents", bank, FEW_WORKLOADS),
        "clinc150_10_domains": Setting("CLINC150's ten domains", domains, None),
        "clinc150_150_intents": Setting("CLINC150's 150 intents", intents, None),
        "banking77_77_intents": Setting("Banking77's 77 intents", bank, None),
    }


def out_of_scope() -> list[str]:
    """CLINC150's 1,000 out-of-scope test queries."""
    document = json.loads((public_rows.DATA / "clinc150_full.json").read_text(encoding="utf-8"))
    return [text for text, _ in document["oos_test"]]


class Readings:
    """Reads each text once, as the only message of a user."""

    def __init__(self, reader: Reads, progress: Callable[[], object] = lambda: None) -> None:
        self._reader = reader
        self._progress = progress
        self._kept: dict[str, Reading] = {}

    def of(self, texts: Iterable[str]) -> list[Reading]:
        """A reading for each text."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Reading:
        if text not in self._kept:
            self._kept[text] = self._reader.read([cut("", (text,))])[0]
            self._progress()
        return self._kept[text]


def measure(
    setting: Setting, readings: Readings, background: Background, draws: Sequence[int] = range(DRAWS)
) -> dict[str, Any]:
    """The figures of a setting.

    Args:
        setting: one of `settings`.
        readings: of the model that is measured.
        background: of that model too.
        draws: seeds.
    """
    found = [_draw(setting, readings, background, seed) for seed in draws]
    return {
        "title": setting.title,
        "workloads": setting.drawn or len(setting.pool.test),
        "examples": EXAMPLES,
        "draws": len(found),
        **{name: _spread([figures[name] for figures in found]) for name in found[0]},
    }


def _draw(setting: Setting, readings: Readings, background: Background, seed: int) -> dict[str, float]:
    """The figures of one seed."""
    random_source = random.Random(seed)
    names = sorted(setting.pool.train)
    chosen = sorted(random_source.sample(names, setting.drawn)) if setting.drawn else names
    examples = {name: random_source.sample(setting.pool.train[name], EXAMPLES) for name in chosen}
    head = ExampleHead.fit({name: readings.of(texts) for name, texts in examples.items()}, background)
    # Two of CLINC150's test queries stand in its train split too.
    known = {text for texts in examples.values() for text in texts}

    def ask(texts: Iterable[str]) -> list[tuple[str, float]]:
        """The name and confidence of each, as the service gives them; an empty name is an abstention."""
        guesses = [head.guess(reading) if reading.language_known else None for reading in readings.of(texts)]
        return [(guess.workload, guess.confidence) if guess else ("", 0.0) for guess in guesses]

    asked = {name: ask(text for text in setting.pool.test[name] if text not in known) for name in chosen}
    right = np.array([guess == name for name, answers in asked.items() for guess, _ in answers])
    confidence = np.array([sure for answers in asked.values() for _, sure in answers])
    answered = np.array([guess != "" for answers in asked.values() for guess, _ in answers])
    figures = {
        "test_queries": len(right),
        "accuracy": float(right.mean()),
        "answered_accuracy": float(right[answered].mean()) if answered.any() else 0.0,
        "coverage": float(answered.mean()),
        "out_of_scope_abstained": _abstained(ask(out_of_scope())),
        "ece": metrics.expected_calibration_error(confidence[answered], right[answered]),
    }
    others = [text for name in names if name not in examples for text in setting.pool.test[name]]
    return {**figures, "other_intents_abstained": _abstained(ask(others))} if others else figures


def _abstained(answers: Sequence[tuple[str, float]]) -> float:
    return fmean(guess == "" for guess, _ in answers)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": round(fmean(values), DIGITS),
        "low": round(min(values), DIGITS),
        "high": round(max(values), DIGITS),
        "by_draw": [round(value, DIGITS) for value in values],
    }


def _pool(splits: Iterable[Iterable[tuple[str, str]]]) -> Pool:
    train, test = (_grouped(rows) for rows in splits)
    return Pool(train, test)


def _grouped(rows: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, text in rows:
        groups[name].append(text)
    return {name: tuple(texts) for name, texts in groups.items()}
