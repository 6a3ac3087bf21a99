"""The general model: how its weights become probabilities, and the model that is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.classifier.core.general import (
    SOVEREIGN_TASK_TYPES,
    TASK_TYPES,
    GeneralModel,
    Ngrams,
    target_probability,
)
from services.classifier.core.ngrams import NGRAM_BUCKETS, ngrams
from services.classifier.core.structure import FEATURES
from services.classifier.core.window import window
from services.common.encoder import STATE, Encoder
from services.common.seen import Seen, cut
from services.common.words import TaskType

FOLDER = Path(__file__).parents[4] / "models" / "classifier"
TEXT = "Summarize the meeting."


def weights() -> dict[str, NDArray[np.generic]]:
    """A file's content that says nothing of any request."""
    return {
        "state_weights": np.zeros((STATE, TASK_TYPES), np.float32),
        "ngram_weights": np.zeros((NGRAM_BUCKETS, TASK_TYPES), np.float16),
        "structure_weights": np.zeros((len(FEATURES), TASK_TYPES), np.float32),
        "bias": np.zeros(TASK_TYPES, np.float32),
        "features": np.array(FEATURES),
        "tool_use_with_tools": np.array(0.97),
        "abstain_below": np.array(0.5),
    }


def model(folder: Path, **changed: NDArray[np.generic]) -> GeneralModel:
    path = folder / "heads.npz"
    np.savez(path, allow_pickle=False, **(weights() | changed))
    return GeneralModel.from_file(path)


def states(count: int) -> NDArray[np.float32]:
    return np.ones((count, STATE), np.float32)


def test_each_view_of_a_request_moves_the_probability_of_its_task_type(tmp_path: Path) -> None:
    by_state = np.zeros((STATE, TASK_TYPES), np.float32)
    by_state[0, TaskType.REASONING - 1] = 3
    by_ngram = np.zeros((NGRAM_BUCKETS, TASK_TYPES), np.float16)
    by_ngram[ngrams(window(cut("", [TEXT])))[0], TaskType.SUMMARIZATION - 1] = 9
    by_form = np.zeros((len(FEATURES), TASK_TYPES), np.float32)
    by_form[FEATURES.index("schema"), TaskType.EXTRACTION - 1] = 3
    for changed, seen, expected in (
        ({"state_weights": by_state}, Seen(), TaskType.REASONING),
        ({"ngram_weights": by_ngram}, cut("", [TEXT]), TaskType.SUMMARIZATION),
        ({"structure_weights": by_form}, cut("", [""], response_schema="{}"), TaskType.EXTRACTION),
        ({"bias": np.eye(TASK_TYPES, dtype=np.float32)[6]}, Seen(), TaskType.CODE),
    ):
        likely = model(tmp_path, **changed).task_types([seen], states(1), grams([seen]))
        assert likely[0].argmax() + 1 == expected


def test_a_request_with_tools_is_tool_use_whatever_its_text_says(tmp_path: Path) -> None:
    certain = np.zeros(TASK_TYPES, np.float32)
    certain[TaskType.TRANSLATION - 1] = 50
    requests = [cut("", ["Translate."], tool_names=["search"]), cut("", ["Translate."])]
    likely = model(tmp_path, bias=certain).task_types(requests, states(2), grams(requests))
    assert likely[0, TaskType.TOOL_USE - 1] == pytest.approx(0.97)
    assert likely[1, TaskType.TRANSLATION - 1] == pytest.approx(1)


@given(st.lists(st.text(max_size=200), max_size=4), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_probabilities_of_any_requests_sum_to_one(texts: list[str], seed: int) -> None:
    requests = [cut("", [text]) for text in texts]
    likely = SHIPPED.task_types(
        requests,
        np.random.default_rng(seed).normal(size=(len(texts), STATE)).astype(np.float32) * 10,
        grams(requests),
    )
    assert likely.shape == (len(texts), TASK_TYPES)
    assert likely.dtype == np.float32
    assert np.all(likely >= 0)
    assert likely.sum(1) == pytest.approx(np.ones(len(texts)), abs=1e-5)


def test_the_target_is_as_likely_as_the_task_types_that_may_come_home() -> None:
    likely = np.array([[0.1] * 10, [0] * 5 + [0.75, 0.25] + [0] * 3], np.float32)
    assert target_probability(likely) == pytest.approx([0.6, 0.75])
    assert [one for one in TaskType if 0 < one <= SOVEREIGN_TASK_TYPES][-1] == TaskType.CONTEXT_QA


@pytest.mark.parametrize(
    "changed",
    [
        {"features": np.array(FEATURES[::-1])},
        {"ngram_weights": np.zeros((16, TASK_TYPES), np.float16)},
        {"bias": np.zeros(9, np.float32)},
    ],
)
def test_a_file_of_other_code_is_refused(tmp_path: Path, changed: dict[str, NDArray[np.generic]]) -> None:
    with pytest.raises(ValueError, match="make train-classifier"):
        model(tmp_path, **changed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Summarize the following article in three sentences.\n\nThe council met on Monday. " * 3, 1),
        ("Translate to German: Good morning, where is the station?", 5),
        ("Write a Python function that reverses a linked list.", 7),
        ("Is the sentiment of this review positive or negative?\n\nReview: It broke in a day.\nLabel:", 3),
        ("Write a short story about a dragon who is afraid of fire.", 9),
        ("A train leaves at 3 pm and travels 120 miles at 40 mph. When does it arrive?", 8),
        ("Extract all person names from the text as JSON.\n\nText: Ada met Charles in London.", 2),
    ],
)
def test_the_shipped_model_names_plain_requests(text: str, expected: int) -> None:
    seen = cut("", [text])
    likely = SHIPPED.task_types([seen], ENCODER.encode([window(seen)]).states, grams([seen]))
    assert TaskType(int(likely.argmax()) + 1) == TaskType(expected)


def grams(requests: list[Seen]) -> list[Ngrams]:
    return [ngrams(window(seen)) for seen in requests]


SHIPPED = GeneralModel.from_file(FOLDER / "heads.npz")
ENCODER = Encoder(FOLDER)
