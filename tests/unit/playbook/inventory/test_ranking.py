"""Which workloads are candidates, why the others are not, and which few hold most of the spend."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.inventory.ranking import (
    SENSITIVITY_BY_TASK_TYPE,
    STABLE_TASK_TYPES,
    Candidate,
    Facts,
    Sensitivity,
    few,
    judge,
    modality_of,
    sensitivity_of,
    shares,
)
from services.common.words import QualitySensitivity, TaskType, label

DOLLAR = 1_000_000_000
GOOD = Facts(
    task_type="extraction",
    task_type_share=1.0,
    month_nanos=500 * DOLLAR,
    wholly_priced=True,
    days=90,
    active_days=70,
    variation=0.6,
    sensitivity=Sensitivity.LOW,
    models=("gpt-4o",),
)


def test_what_has_nothing_against_it_is_a_candidate() -> None:
    """Without any reason."""
    verdict = judge(GOOD)
    assert (verdict.candidate, verdict.findings) == (Candidate.YES, ())


@pytest.mark.parametrize(
    ("changes", "candidate", "reason"),
    [
        ({"task_type": ""}, "maybe", "kind of work is unknown"),
        ({"task_type": "code"}, "no", "code, still needs a frontier model"),
        ({"task_type_share": 0.6}, "maybe", "only 60% of it is extraction"),
        ({"task_type_share": None}, "yes", ""),
        ({"month_nanos": 99 * DOLLAR}, "no", "less than $100 a month"),
        ({"month_nanos": None}, "maybe", "price is unknown"),
        ({"month_nanos": 99 * DOLLAR, "wholly_priced": False}, "maybe", "the rest has none"),
        ({"days": 13}, "maybe", "only 13 days are known"),
        ({"days": 1}, "maybe", "only 1 day is known"),
        ({"active_days": None}, "maybe", "volume by day is unknown"),
        ({"active_days": 44}, "no", "used on 44 of 90 days"),
        ({"active_days": 45}, "yes", ""),
        ({"variation": 1.01}, "no", "days vary by 1.0 times"),
        ({"variation": None}, "yes", ""),
        ({"sensitivity": Sensitivity.HIGH}, "maybe", "high: after others"),
        ({"sensitivity": Sensitivity.MEDIUM}, "yes", ""),
        ({"sensitivity": None}, "maybe", "quality sensitivity is unknown"),
        ({"models": ("gpt-4o-audio-preview",)}, "no", "works on audio"),
        ({"models": ("gpt-4o", "dall-e-3")}, "no", "works on images and text"),
        ({"models": ("text-embedding-3-small",)}, "no", "works on embeddings"),
        (
            {"data_class": "public-cloud", "may_run_at_home": False},
            "no",
            "public-cloud, allows no target at home",
        ),
        ({"data_class": "secret", "may_run_at_home": True}, "yes", ""),
        ({"saves_at_most": 0}, "no", "at home it would cost as much or more"),
        ({"saves_at_most": 1}, "yes", ""),
    ],
)
def test_each_rule_has_its_reason(changes: dict[str, Any], candidate: str, reason: str) -> None:
    """What is not known makes it maybe; what speaks against it, no."""
    verdict = judge(replace(GOOD, **changes))
    assert verdict.candidate == candidate
    assert [reason in finding.reason for finding in verdict.findings] == ([True] if reason else [])


def test_a_no_comes_before_all_that_is_unknown() -> None:
    """And the unknown is told too."""
    verdict = judge(replace(GOOD, task_type="", sensitivity=None, month_nanos=1))
    assert [finding.candidate for finding in verdict.findings] == [Candidate.NO, Candidate.MAYBE]


@given(
    st.builds(
        Facts,
        task_type=st.sampled_from(["", *SENSITIVITY_BY_TASK_TYPE]),
        task_type_share=st.none() | st.floats(0, 1),
        month_nanos=st.none() | st.integers(-(10**12), 10**15),
        wholly_priced=st.booleans(),
        days=st.integers(1, 400),
        active_days=st.none() | st.integers(0, 400),
        variation=st.none() | st.floats(0, 30),
        sensitivity=st.none() | st.sampled_from(Sensitivity),
        models=st.lists(st.text(max_size=8), max_size=3).map(tuple),
        may_run_at_home=st.none() | st.booleans(),
        saves_at_most=st.none() | st.integers(-10, 10),
    )
)
def test_every_answer_but_yes_has_a_reason(facts: Facts) -> None:
    """And a yes has none."""
    verdict = judge(facts)
    assert (verdict.candidate is Candidate.YES) == (not verdict.findings)
    assert any(finding.candidate is Candidate.NO for finding in verdict.findings) == (
        verdict.candidate is Candidate.NO
    )


def test_all_kinds_of_work_have_a_sensitivity_with_a_reason() -> None:
    """And the words are those of the contract."""
    assert set(SENSITIVITY_BY_TASK_TYPE) == {label(item) for item in TaskType if item}
    assert all(reason for _, reason in SENSITIVITY_BY_TASK_TYPE.values())
    assert {item.name for item in Sensitivity} == {item.name for item in QualitySensitivity if item}
    assert set(STABLE_TASK_TYPES) == {label(TaskType(number)) for number in range(1, 7)}


@pytest.mark.parametrize(
    ("registered", "task_type", "expected"),
    [
        ("high", "classification", Sensitivity.HIGH),
        ("", "classification", Sensitivity.LOW),
        ("", "code", Sensitivity.HIGH),
        ("", "", None),
    ],
)
def test_what_is_registered_goes_before_the_table(
    registered: str, task_type: str, expected: Sensitivity | None
) -> None:
    """The owner knows better than the kind of work."""
    assert sensitivity_of(registered, task_type) is expected


def test_models_without_a_hint_work_on_text() -> None:
    """As far as their names tell."""
    assert modality_of(["gpt-4o", "claude-sonnet-4", "llama-3.3-70b"]) == "text"
    assert modality_of([]) == "text"


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [([], 0), ([0], 0), ([7, 3], 1), ([6, 4], 2), ([5, 2, 2, 1], 2), ([70, 30, -50], 1), ([1] * 10, 7)],
)
def test_the_few_hold_seventy_percent(amounts: list[int], expected: int) -> None:
    """Credits count as nothing."""
    assert few(amounts) == expected


@given(st.lists(st.integers(-100, 10**15), min_size=1))
def test_shares_rise_to_one(amounts: list[int]) -> None:
    """Exactly, if anything costs something."""
    found = shares(amounts)
    assert found == sorted(found)
    assert found[-1] == (1 if any(amount > 0 for amount in amounts) else 0)


@given(st.lists(st.integers(1, 10**15), min_size=1))
def test_no_fewer_would_hold_as_much(amounts: list[int]) -> None:
    """The few are as few as can be."""
    dearest = sorted(amounts, reverse=True)
    number = few(dearest)
    assert Fraction(sum(dearest[:number]), sum(dearest)) >= Fraction(7, 10)
    assert Fraction(sum(dearest[: number - 1]), sum(dearest)) < Fraction(7, 10)
