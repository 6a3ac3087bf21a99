"""The order of evidence, and where it ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.classifier.core.background import Background
from services.classifier.core.classify import ABSTAINED, Answer, by_fixed_parts, by_reading
from services.classifier.core.examples import ExampleHead
from services.classifier.core.reading import Reading
from services.classifier.core.registry import Registry, Workload
from services.common.fingerprint import shape_of_system_prompt
from services.common.seen import Seen
from services.common.words import Evidence, QualitySensitivity, TaskType

PROMPT = "You sort the letters of a bank's customers by what they ask for."
ABSTAIN_BELOW = 0.6


def workload(name: str, task_type: TaskType, *prompts: str) -> Workload:
    return Workload(
        name=name,
        owner="tests",
        task_type=task_type,
        data_class="unrestricted",
        quality_sensitivity=QualitySensitivity.LOW,
        description="",
        version=1,
        shapes=tuple(map(shape_of_system_prompt, prompts)),
        examples=(),
        from_settings=True,
    )


def reading(direction: int, noise: int, task_type: TaskType = TaskType.CODE, sure: float = 0.9) -> Reading:
    """A reading that points in a direction, and a little in others."""
    embedding = np.random.default_rng(noise).normal(size=384).astype(np.float32) * 0.02
    embedding[direction] += 1
    likely = np.full(10, (1 - sure) / 9, np.float32)
    likely[task_type - 1] = sure
    return Reading(
        embedding / np.float32(np.linalg.norm(embedding)),
        np.array([direction], np.int32),
        np.ones(1, np.float32),
        likely,
        language_known=True,
    )


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(
        [workload("letters", TaskType.CLASSIFICATION, PROMPT), workload("minutes", TaskType.SUMMARIZATION)], 7
    )


@pytest.fixture(scope="module")
def head() -> ExampleHead:
    groups = {
        name: [reading(direction, 100 * direction + number) for number in range(10)]
        for direction, name in enumerate(("letters", "minutes"))
    }
    background = Background.of([reading(10 + number % 40, 1000 + number) for number in range(200)])
    return ExampleHead.fit(groups, background)


def test_the_fixed_parts_come_first_and_need_no_model(registry: Registry) -> None:
    expected = Answer("letters", Evidence.FINGERPRINT, 1.0, TaskType.CLASSIFICATION, 1.0)
    assert by_fixed_parts(registry, Seen(f" {PROMPT}\n", ("anything",))) == expected
    assert by_fixed_parts(registry, Seen("", (PROMPT,))) is None


def test_what_is_like_the_examples_gets_the_workload_and_its_task_type_whatever_it_claims(
    registry: Registry, head: ExampleHead
) -> None:
    evidence = reading(1, 5, TaskType.CODE, 0.99)
    answer = by_reading(registry, head, reading(77, 6), evidence, ABSTAIN_BELOW)
    assert (answer.workload, answer.evidence) == ("minutes", Evidence.EXAMPLES)
    assert answer.task_type is TaskType.SUMMARIZATION
    assert 0.5 < answer.confidence <= 1


@pytest.mark.parametrize(("sure", "told"), [(0.9, True), (0.61, True), (0.59, False), (0.2, False)])
def test_what_resembles_nothing_has_a_kind_of_work_at_the_most(
    registry: Registry, head: ExampleHead, sure: float, told: bool
) -> None:
    whole = reading(77, 6, TaskType.CODE, sure)
    answer = by_reading(registry, head, whole, whole, ABSTAIN_BELOW)
    if told:
        assert answer == Answer(
            "", Evidence.TASK_TYPE, pytest.approx(sure), TaskType.CODE, pytest.approx(sure)
        )
    else:
        assert answer == ABSTAINED


def test_a_language_that_the_model_does_not_know_is_abstained_from(
    registry: Registry, head: ExampleHead
) -> None:
    foreign = replace(reading(1, 5), task_types=np.zeros(10, np.float32), language_known=False)
    assert by_reading(registry, head, foreign, foreign, ABSTAIN_BELOW) == ABSTAINED
