"""A value is written by its unit, what nobody knows as not measured, and nothing comes from nowhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.report.facts import (
    NOT_DECLARED,
    NOT_MEASURED,
    NOT_SET,
    UNITS,
    Fact,
    Kind,
    Reference,
    computed,
    published,
    references,
    written,
)

QUERY = Reference(Kind.QUERY, "spend", "SELECT 1", (("since", "2026-10-01"),), 1)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234567, "count", "1,234,567"),
        (0, "count", "0"),
        (12_340_000_000, "nanos", "$12.34"),
        (1_234_567_000_000_000, "nanos", "$1,234,567"),
        (18_632, "nanos", "$0.000019"),
        (-5_000_000_000_000, "nanos", "−$5,000"),
        (0, "nanos", "$0.00"),
        (0.39, "share", "39\u00a0%"),
        (0.9996, "share", "99.9\u00a0%"),
        (1.0, "share", "100\u00a0%"),
        (0.004, "share", "0.4\u00a0%"),
        (0.00001, "share", "0.001\u00a0%"),
        (-0.012, "difference", "−0.012"),
        (88_000, "us", "88\u00a0ms"),
        (880, "us", "0.9\u00a0ms"),
        (12_345_678, "us", "12.3\u00a0s"),
        (0.084, "s", "0.08\u00a0s"),
        (300, "s", "5\u00a0min"),
        (86_400, "s", "1\u00a0day"),
        ("2026-11-29T22:00:12.5Z", "time", "2026-11-29 22:00:12"),
        ("2026-11-29 22:00:12.500000", "time", "2026-11-29 22:00:12"),
        (6.4201, "months", "6.4\u00a0months"),
        (36, "months", "36\u00a0months"),
        (0.98, "months", "1\u00a0month"),
        (6.4201, "payback", "6.4\u00a0months"),
        (120, "payback", "120\u00a0months"),
        (27_312.3, "payback", "over 10\u00a0years"),
        (1_270_000_000, "nanos a month", "$1.27\u00a0a\u00a0month"),
        (0.1, "share a year", "10\u00a0%\u00a0a\u00a0year"),
        (True, "yes", "yes"),
        ("a" * 64, "hash", "aaaaaaaaaaaa…"),
    ],
)
def test_a_value_is_written_by_its_unit(value: object, unit: str, text: str) -> None:
    assert written(value, unit) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", UNITS)
def test_what_nobody_knows_is_not_measured_and_never_zero(unit: str) -> None:
    assert Fact("k", None, unit, QUERY).text == NOT_MEASURED
    assert Fact("k", math.nan, unit, QUERY).text == NOT_MEASURED
    assert not Fact("k", math.nan, unit, QUERY).known


@given(
    st.one_of(st.integers(-(10**24), 10**24), st.floats(-1e24, 1e24)),
    st.sampled_from([unit for unit in UNITS if unit not in ("time", "text", "hash", "picture", "date")]),
)
def test_every_number_can_be_written_in_a_line(value: float, unit: str) -> None:
    shown = written(value, unit)
    assert shown
    assert "\n" not in shown
    assert "e+" not in shown
    assert "e-" not in shown


@pytest.mark.parametrize(
    ("value", "there"), [(None, False), (NOT_SET, False), (NOT_DECLARED, False), ("", True), (0, True)]
)
def test_a_setting_that_nobody_made_is_not_there(value: str | int | None, there: bool) -> None:
    assert Fact("k", value, "text", QUERY).there is there


def test_a_share_that_is_not_all_is_never_shown_as_all() -> None:
    assert written(0.99999999, "share") != written(1.0, "share")


def test_a_computed_fact_needs_inputs_and_a_published_one_a_citation() -> None:
    with pytest.raises(ValueError, match="from nothing"):
        computed("ratio", 1, "number", "a / b", [])
    with pytest.raises(ValueError, match="nowhere"):
        published("wage", 1, "usd", " ")
    with pytest.raises(ValueError, match="no unit"):
        written(1, "furlongs")


def test_references_are_followed_to_the_inputs_each_once() -> None:
    first, second = (Fact(name, 1, "count", Reference(Kind.QUERY, name)) for name in "ab")
    ratio = computed("ratio", 1, "number", "a / b", [first, second])
    twice = computed("twice", 2, "number", "2 × ratio", [ratio, first])
    assert [item.name for item in references([twice, first])] == ["twice", "ratio", "a", "b"]


def test_the_same_query_with_other_parameters_is_another_reference() -> None:
    other = Reference(Kind.QUERY, "spend", "SELECT 1", (("since", "2026-10-02"),), 1)
    facts = [Fact("x", 1, "count", QUERY), Fact("y", 1, "count", other)]
    assert len(list(references(facts))) == 2
