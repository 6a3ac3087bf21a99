"""The head over a few examples: names, abstentions, confidence, likeness.

`make eval-classifier` measures the few-shot figures; here a small draw of CLINC150's validation split stands
guard.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import pytest

from services.classifier.core.background import Background
from services.classifier.core.examples import ExampleHead
from services.classifier.core.ngrams import ngrams
from services.classifier.core.reading import Reading
from services.classifier.core.window import window
from services.common.encoder import Encoder
from services.common.seen import cut
from training import public_rows

MODEL = Path(__file__).parents[4] / "models" / "classifier"
ENCODER = Encoder(MODEL)
BACKGROUND = Background.from_file(MODEL / "background.npz")
INTENTS = (
    "weather",
    "translate",
    "book_hotel",
    "timer",
    "exchange_rate",
    "calories",
    "insurance",
    "spelling",
)


@cache
def read(text: str) -> Reading:
    seen = window(cut("", [text]))
    embedding = ENCODER.encode([seen]).embeddings[0]
    return Reading(embedding, *ngrams(seen), task_types=np.zeros(10, np.float32), language_known=True)


def texts(
    split: Literal["train", "val", "test"], count: int, intents: Iterable[str] = INTENTS
) -> dict[str, list[str]]:
    rows = public_rows.clinc150(split)
    source = random.Random(7)
    return {
        intent: source.sample([row.text for row in rows if row.intent == intent], count) for intent in intents
    }


def groups(
    split: Literal["train", "val", "test"], count: int, intents: Iterable[str] = INTENTS
) -> dict[str, list[Reading]]:
    return {intent: [read(text) for text in found] for intent, found in texts(split, count, intents).items()}


@pytest.fixture(scope="module")
def head() -> ExampleHead:
    return ExampleHead.fit(groups("train", 10), BACKGROUND)


@pytest.fixture(scope="module")
def asked() -> Mapping[str, list[Reading]]:
    return groups("val", 20)


def out_of_scope() -> list[str]:
    document = json.loads((public_rows.DATA / "clinc150_full.json").read_text(encoding="utf-8"))
    return [text for text, _ in document["oos_val"] + document["oos_train"]]


def test_ten_examples_name_nearly_all_of_a_workloads_requests(
    head: ExampleHead, asked: Mapping[str, list[Reading]]
) -> None:
    guesses = [(name, head.guess(one)) for name, ones in asked.items() for one in ones]
    assert fmean(guess is not None and guess.workload == name for name, guess in guesses) >= 0.95
    answered = [(name, guess) for name, guess in guesses if guess]
    assert fmean(guess.workload == name for name, guess in answered) >= 0.98


def test_nine_in_ten_requests_of_no_workload_are_abstained_from(head: ExampleHead) -> None:
    # 0.915 in this draw of workloads; 0.93 over ten draws.
    assert fmean(head.guess(read(text)) is None for text in out_of_scope()) >= 0.88


def test_the_confidence_is_about_the_share_that_is_right(
    head: ExampleHead, asked: Mapping[str, list[Reading]]
) -> None:
    answered = [(name, guess) for name, ones in asked.items() for one in ones if (guess := head.guess(one))]
    right = fmean(guess.workload == name for name, guess in answered)
    assert fmean(guess.confidence for _, guess in answered) == pytest.approx(right, abs=0.05)
    assert all(0 < guess.confidence <= 1 for _, guess in answered)


def test_what_one_workload_asks_is_unlike_another(
    head: ExampleHead, asked: Mapping[str, list[Reading]]
) -> None:
    own = [head.likeness(name, one) for name, ones in asked.items() for one in ones]
    others = [
        head.likeness("weather", one) for name, ones in asked.items() for one in ones if name != "weather"
    ]
    assert all(value is not None and 0 <= value <= 1 for value in own + others)
    assert 0.35 <= fmean(value or 0.0 for value in own) <= 0.65
    assert fmean(value or 0.0 for value in others) <= 0.05


def test_a_workload_without_examples_has_no_likeness_and_is_never_guessed(head: ExampleHead) -> None:
    assert head.likeness("nobody-knows", read("what is the weather")) is None
    with_empty = ExampleHead.fit({**groups("train", 10), "empty": []}, BACKGROUND)
    assert with_empty.names == tuple(sorted(INTENTS))
    assert with_empty.likeness("empty", read("what is the weather")) is None


def test_without_any_examples_nothing_is_named() -> None:
    nothing = ExampleHead.fit({}, BACKGROUND)
    assert nothing.guess(read("what is the weather")) is None
    assert nothing.likeness("weather", read("what is the weather")) is None
    assert ExampleHead.fit({}, BACKGROUND).held_out.count == {}


@pytest.mark.parametrize("count", [5, 10, 50])
def test_one_workload_alone_is_told_from_everything_else(count: int) -> None:
    alone = ExampleHead.fit(groups("train", count, ["weather"]), BACKGROUND)
    named = [alone.guess(one) for one in groups("val", 20, ["weather"])["weather"]]
    assert fmean(guess is not None for guess in named) >= 0.9
    assert fmean(alone.guess(read(text)) is None for text in out_of_scope()) >= 0.85


def test_the_same_examples_make_the_same_head_in_whatever_order() -> None:
    examples = groups("train", 5)
    one = ExampleHead.fit(examples, BACKGROUND)
    other = ExampleHead.fit(dict(reversed(examples.items())), BACKGROUND)
    for text in out_of_scope()[:20] + texts("val", 1)["weather"]:
        assert one.guess(read(text)) == other.guess(read(text))


def test_examples_that_are_held_out_are_counted_by_workload() -> None:
    mixed = groups("train", 10)
    told = ExampleHead.fit(mixed, BACKGROUND).held_out
    assert told.count == dict.fromkeys(INTENTS, 10)
    assert sum(told.right.values()) >= 76
    # Half of two workloads' examples under each other's names: neither can be told any more.
    shuffled = dict(mixed)
    shuffled["weather"] = mixed["weather"][:5] + mixed["timer"][:5]
    shuffled["timer"] = mixed["weather"][5:] + mixed["timer"][5:]
    confused = ExampleHead.fit(shuffled, BACKGROUND).held_out
    assert confused.right["weather"] + confused.right["timer"] <= 10
    assert told.right["weather"] + told.right["timer"] >= 19
