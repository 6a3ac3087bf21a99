"""Results of inputs that are known in part: unknown, with a range, and what they depend on."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.finance.answers import DEPENDS, RESULTS, Result, answers, document, why, words
from playbook.finance.inputs import Case, Name, Source, known, unknown
from playbook.finance.model import WEEKS_PER_MONTH

DOLLAR = 1_000_000_000
SOURCE = Source("setting", "a test")
VALUES = {
    Name.CLOUD: Fraction(20_000 * DOLLAR),
    Name.MOVES: Fraction(1, 2),
    Name.CHANGE: Fraction(1, 10),
    Name.RENEWS: Fraction(6),
    Name.RUNNING: Fraction(2_000 * DOLLAR),
    Name.HOME_SHARE: Fraction(0),
    Name.INFRASTRUCTURE: Fraction(30_000 * DOLLAR),
    Name.ENGINEERING: Fraction(10_000 * DOLLAR),
    Name.PARALLEL: Fraction(1, 10),
    Name.WEEKS: 3 * WEEKS_PER_MONTH,
    Name.DISCOUNT: Fraction(1, 10),
}
KNOWN: Case = {name: known(name, value, SOURCE) for name, value in VALUES.items()}


def case(*inputs: tuple[Name, object, object]) -> Case:
    """All known but these, of which there is a range, or none."""
    return {
        **KNOWN,
        **{name: unknown(name, "nobody said", low, high) for name, low, high in inputs},  # type: ignore[arg-type]
    }


def test_what_is_known_is_a_figure() -> None:
    found = answers(KNOWN)
    assert {name: words(name, item) for name, item in found.items()} == {
        "one_time": "$49,000",
        "parallel": "$9,000",
        "saving_year": "$108,000",
        "payback_months": "5.4 months",
        "npv": words("npv", found["npv"]),
    }
    assert all(item.low == item.value == item.high and not item.unknown for item in found.values())


@pytest.mark.parametrize(
    ("name", "touched"),
    [
        (Name.ENGINEERING, {"one_time", "payback_months", "npv"}),
        (Name.CHANGE, {"saving_year", "payback_months", "npv"}),
        (Name.DISCOUNT, {"npv"}),
        (Name.RENEWS, {"npv"}),
        (Name.CLOUD, {"one_time", "parallel", "saving_year", "payback_months", "npv"}),
    ],
)
def test_what_depends_on_an_unknown_is_unknown_and_the_rest_is_not(name: Name, touched: set[Result]) -> None:
    value = VALUES[name]
    found = answers(case((name, value / 2, value * 2)))
    assert {result for result, item in found.items() if item.value is None} == touched
    assert all(found[result].unknown == (name,) for result in touched)


def test_an_unknown_has_its_range_as_the_answer() -> None:
    found = answers(case((Name.ENGINEERING, 10_000 * DOLLAR, 100_000 * DOLLAR)))
    assert words("one_time", found["one_time"]) == "unknown: $49k to $139k"
    assert words("payback_months", found["payback_months"]) == "unknown: 5.4 to 15.4 months"
    assert why(found["one_time"]) == "engineering (paid once)"
    assert document("payback_months", found["payback_months"]) == {
        "value": None,
        "low": pytest.approx(49 / 9),
        "high": pytest.approx(139 / 9),
        "unknown": ["engineering"],
    }


def test_without_a_range_there_is_none() -> None:
    found = answers(case((Name.CLOUD, None, None)))
    assert words("npv", found["npv"]) == "unknown"
    assert document("npv", found["npv"]) == {
        "value": None,
        "low": None,
        "high": None,
        "unknown": ["cloud_month"],
    }


def test_an_unknown_that_makes_no_difference_is_passed_over() -> None:
    """When prices do not change it is all the same when they do."""
    some = case((Name.RENEWS, 0, 36))
    found = answers({**some, Name.CHANGE: known(Name.CHANGE, 0, SOURCE)})
    assert found["npv"].value is not None
    assert found["npv"].unknown == ()


def test_a_payback_may_be_somewhere_between_soon_and_never() -> None:
    found = answers(case((Name.HOME_SHARE, 0, 2)))["payback_months"]
    assert words("payback_months", found) == "unknown: 5.4 months to never"
    assert document("payback_months", found)["high"] == "never"


RANGES = {
    Name.CLOUD: (0, 40_000 * DOLLAR),
    Name.MOVES: (0, 1),
    Name.CHANGE: (-1, 1),
    Name.RENEWS: (0, 36),
    Name.RUNNING: (0, 30_000 * DOLLAR),
    Name.HOME_SHARE: (0, Fraction(9, 10)),
    Name.INFRASTRUCTURE: (0, 100_000 * DOLLAR),
    Name.ENGINEERING: (0, 100_000 * DOLLAR),
    Name.PARALLEL: (0, 1),
    Name.WEEKS: (0, 60),
}
INSIDE = st.fractions(0, 1, max_denominator=50)


@given(
    st.sets(st.sampled_from(sorted(RANGES)), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(sorted(RANGES)), INSIDE, max_size=10),
)
def test_nothing_within_the_ranges_gives_more_or_less(names: set[Name], places: dict[Name, Fraction]) -> None:
    """The answer's ends are those of all that is possible, but for rounding."""
    some = case(*((name, *RANGES[name]) for name in sorted(names)))
    values = dict(VALUES)
    for name in names:
        low, high = map(Fraction, RANGES[name])
        values[name] = low + (high - low) * places.get(name, Fraction(1, 3))
    found = answers(some)
    for result, compute in RESULTS.items():
        item = found[result]
        slack = 0 if result == "payback_months" else 40
        assert item.low is not None
        assert item.high is not None
        assert item.low - slack <= compute(values) <= item.high + slack, result


@given(st.sampled_from(list(RESULTS)), st.sampled_from(list(RANGES)), INSIDE)
def test_a_result_follows_from_what_is_said_and_from_nothing_else(
    result: Result, name: Name, place: Fraction
) -> None:
    low, high = map(Fraction, RANGES[name])
    if name not in DEPENDS[result]:
        changed = RESULTS[result]({**VALUES, name: low + (high - low) * place})
        assert changed == RESULTS[result](VALUES)


def test_an_input_is_within_its_range_or_nothing() -> None:
    for wrong in (
        {"value": Fraction(3), "low": Fraction(4), "high": Fraction(5)},
        {"value": Fraction(3), "low": None, "high": None},
        {"value": None, "low": Fraction(4), "high": None},
        {"value": None, "low": Fraction(4), "high": Fraction(3)},
    ):
        with pytest.raises(ValueError, match="cloud_month"):
            replace(KNOWN[Name.CLOUD], **wrong)  # type: ignore[arg-type]
