"""Which rows an epoch of the general classifier sees, and the figures that training tells."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from services.common.words import Target, TaskType
from training.classifier import figures
from training.classifier.mixture import CAP, drawn, fitting_weights, seen_of, without_tools
from training.classifier.rows import Row

SEED = 7


def row(source: str, number: int = 0, **more: Any) -> Row:
    said = (("system", "Be brief."), ("user", "What is it?"))
    fields: dict[str, Any] = {"id": f"{source}-{number}", "messages": said, "task_type": TaskType.TOOL_USE}
    fields |= {"target": Target.CLOUD, "source": source, "source_label": "", "licence": "", "group": source}
    return Row(**(fields | more))


def test_an_epoch_sees_real_queries_whole_applications_twice_and_of_a_data_set_a_part() -> None:
    counts = {"Auto-J pairwise": CAP + 50, "fabric patterns": 20, "GSM8K": CAP + 50, "QMSum": 9}
    rows = [row(source, number) for source, count in counts.items() for number in range(count)]
    first, second = drawn(rows, 2, SEED)
    for epoch in (first, second):
        seen = Counter(rows[place].source for place in epoch)
        assert seen == {"Auto-J pairwise": CAP + 50, "fabric patterns": 40, "GSM8K": CAP, "QMSum": 9}
    assert set(first) != set(second)
    weights = fitting_weights(rows)
    assert weights.sum() == pytest.approx(len(first), rel=1e-5)
    assert np.array_equal(first, drawn(rows, 1, SEED)[0])


@pytest.mark.parametrize("seed", range(8))
def test_tools_with_a_description_are_told_in_words(seed: int) -> None:
    tools = ({"name": "get_weather", "description": "Tells the weather of a city."},)
    (told,) = without_tools([row("BFCL", tools=tools)], seed)
    seen = seen_of(told)
    assert not told.tools
    assert "get_weather" in seen.system_prompt + seen.turns[0]
    assert seen.turns[-1].endswith("What is it?")


def test_rows_whose_tools_have_no_description_go_and_rows_without_tools_stay() -> None:
    bare = row("a", tools=({"name": "search"},))
    plain = row("b")
    assert without_tools([bare, plain], SEED) == [plain]


def test_figures_of_probabilities_that_are_known() -> None:
    likely = np.full((4, 10), 0.0)
    likely[0, 0] = likely[1, 1] = likely[2, 6] = 1
    likely[3, [0, 6]] = 0.4, 0.6
    found = figures.figures(likely, np.array([0, 0, 6, 0]))
    assert found == {
        "rows": 4,
        "task_type": 0.5,
        "target": 0.75,
        "target_at_90_percent": 0.75,
        # Three are sure and two of them right, one says 0.6 and is wrong: (3 · 1/3 + 1 · 0.6) / 4.
        "ece": 0.4,
    }


def test_the_threshold_is_the_least_that_keeps_enough_right() -> None:
    likely = np.zeros((3, 10))
    likely[0, 0], likely[0, 6] = 0.7, 0.3
    likely[1, 0], likely[1, 6] = 0.9, 0.1
    likely[2, 0], likely[2, 6] = 0.55, 0.45
    assert figures.threshold(likely, np.array([0, 0, 6]), 0.9) == 0.56
