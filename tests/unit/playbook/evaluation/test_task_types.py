"""The report: what is counted how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from playbook.evaluation import printed, task_types
from playbook.evaluation.rows import TASK_TYPES, LabelledRow
from services.classifier.core.reading import Reading
from services.common.seen import Seen, cut
from services.common.words import Target, TaskType

SOVEREIGN = frozenset(TASK_TYPES[:6])
GENERATION, OPEN_ENDED, REASONING = TaskType.GENERATION, TaskType.OPEN_ENDED, TaskType.REASONING


class Told:
    """Says of each text what it was told to: the probabilities, or nothing for an unknown language."""

    def __init__(self, said: Mapping[str, Mapping[TaskType, float]]) -> None:
        self._said = said

    def read(self, requests: Sequence[Seen], /) -> list[Reading]:
        """The readings of `said`."""
        return [self._one(seen.turns[0]) for seen in requests]

    def _one(self, text: str) -> Reading:
        said = self._said[text]
        return Reading(
            embedding=np.zeros(384, np.float32),
            ngram_indices=np.zeros(0, np.int32),
            ngram_values=np.zeros(0, np.float32),
            task_types=np.array([said.get(task_type, 0.0) for task_type in TASK_TYPES], np.float32),
            language_known=bool(said),
        )


def outcomes(*cases: tuple[Mapping[TaskType, float], TaskType]) -> task_types.Outcomes:
    """What is found of `(probabilities, truth)`; what is under 0.4 is abstained from."""
    rows = [
        LabelledRow(
            cut("", (str(index),)),
            truth,
            Target.SOVEREIGN if truth in SOVEREIGN else Target.CLOUD,
            "odd" if index % 2 else "even",
        )
        for index, (_, truth) in enumerate(cases)
    ]
    return task_types.outcomes(rows, Told({str(i): said for i, (said, _) in enumerate(cases)}), 0.4)


@pytest.mark.parametrize(
    ("said", "truth", "right", "target_right", "abstained"),
    [
        ({GENERATION: 0.9, OPEN_ENDED: 0.1}, GENERATION, 1, 1, 0),
        ({GENERATION: 0.9, OPEN_ENDED: 0.1}, OPEN_ENDED, 0, 0, 0),
        # Unsure: production says nothing, but the guess counts.
        ({GENERATION: 0.35, OPEN_ENDED: 0.33, REASONING: 0.32}, GENERATION, 1, 0, 1),
        # The likeliest kind of work is the cloud's, but most of the probability is not.
        (
            {OPEN_ENDED: 0.4, GENERATION: 0.3, TaskType.SUMMARIZATION: 0.3},
            GENERATION,
            0,
            1,
            0,
        ),
        # As likely as not: the cloud, where it is today.
        ({GENERATION: 0.5, OPEN_ENDED: 0.5}, OPEN_ENDED, 0, 1, 0),
        # A language that the model does not know: no guess, and no target that happens to be right.
        ({}, OPEN_ENDED, 0, 0, 1),
        ({}, GENERATION, 0, 0, 1),
    ],
)
def test_a_row_counts_as_it_should(
    said: Mapping[TaskType, float], truth: TaskType, right: int, target_right: int, abstained: int
) -> None:
    report = task_types.report(outcomes((said, truth)))
    assert (report["accuracy"], report["tier_accuracy"], report["abstained"]) == (
        right,
        target_right,
        abstained,
    )


def test_what_has_no_guess_is_left_out_first_and_is_no_matter_of_calibration() -> None:
    found = outcomes(({}, OPEN_ENDED), *[({GENERATION: 1.0}, GENERATION)] * 4)
    report = task_types.report(found)
    assert report["accuracy"] == 0.8
    assert {row["coverage"]: row["accuracy"] for row in report["risk_coverage"]} == {
        0.95: 0.8,
        0.9: 0.8,
        0.8: 1.0,
        0.6: 1.0,
    }
    assert (report["ece"], report["tier_ece"]) == (0, 0)
    assert report["confusion"]["no_guess"] == [
        int(name == "open_ended") for name in report["confusion"]["labels"]
    ]


def test_each_half_of_the_risk_coverage_table_is_ordered_by_its_own_confidence() -> None:
    sure_of_target = {GENERATION: 0.5, TaskType.SUMMARIZATION: 0.5}
    sure_of_task_type = {GENERATION: 0.6, OPEN_ENDED: 0.4}
    report = task_types.report(
        outcomes(
            *[(sure_of_target, TaskType.EXTRACTION)] * 2,  # target right, task type wrong
            *[(sure_of_task_type, GENERATION)] * 3,  # both right, the target by less
        )
    )
    # The three surest of the task type are right in it; of the target five are right.
    assert report["risk_coverage"][-1] == {"coverage": 0.6, "accuracy": 1.0, "tier_accuracy": 1.0}
    by_target = [*[(sure_of_target, REASONING)] * 2, *[(sure_of_task_type, GENERATION)] * 3]
    worst = task_types.report(outcomes(*by_target))["risk_coverage"][-1]
    assert worst == {"coverage": 0.6, "accuracy": 1.0, "tier_accuracy": 0.3333}


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_six_kinds_of_work_go_home(task_type: TaskType) -> None:
    home = {"SUMMARIZATION", "EXTRACTION", "CLASSIFICATION", "GENERATION", "TRANSLATION", "CONTEXT_QA"}
    assert outcomes(({task_type: 1.0}, task_type)).target_predicted[0] == (task_type.name in home)


def test_sources_and_kinds_part_the_rows() -> None:
    found = outcomes(
        ({GENERATION: 1.0}, GENERATION), ({GENERATION: 1.0}, OPEN_ENDED), ({OPEN_ENDED: 1.0}, OPEN_ENDED)
    )
    report = task_types.report(found)
    assert {name: (row["n"], row["accuracy"]) for name, row in report["by_source"].items()} == {
        "even": (2, 1.0),
        "odd": (1, 0.0),
    }
    assert task_types.by_kind(found, {"even": "all", "odd": "all"})["all"]["n"] == 3


def test_the_report_has_the_keys_that_it_promises_and_fits_a_page() -> None:
    report = task_types.report(outcomes(({GENERATION: 1.0}, GENERATION), ({}, OPEN_ENDED)))
    assert set(report) == {
        "n",
        "accuracy",
        "accuracy_wilson_95",
        "macro_f1",
        "tier_accuracy",
        "tier_accuracy_wilson_95",
        "ece",
        "tier_ece",
        "abstained",
        "risk_coverage",
        "by_class",
        "by_source",
        "confusion",
        "latency_ms",
    }
    assert [set(row) for row in report["risk_coverage"]] == [{"coverage", "accuracy", "tier_accuracy"}] * 4
    assert set(report["latency_ms"]) == {"p50", "p99"}
    assert 0 <= report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    page = printed.page(report)
    assert "task type right    0.500" in page
    assert max(map(len, page.splitlines())) <= 120
