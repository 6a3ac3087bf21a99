"""Values as exports write them: what they are, and what is wrong with them. Nothing else is ever raised."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.inventory.values import BadValueError, count, excerpt, nanos, quantity, text, time

AT = datetime(2025, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1746100800.25,
        1746100800250,
        "1746100800250000",
        1746100800250000000,
        Decimal("1746100800.25"),
        "2025-05-01T12:00:00.25Z",
        "2025-05-01 12:00:00.2500000",
        "2025-05-01 14:00:00.25+02:00",
        "2025-05-01 12:00:00.25 UTC",
        datetime(2025, 5, 1, 12, 0, 0, 250_000),
    ],
)
def test_times(value: Any) -> None:
    assert time(value, "t") == AT


@pytest.mark.parametrize(
    ("dollars", "expected"),
    [
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("-0.0000000025", -2),
        (0.1, 100_000_000),
        ("1e-3", 1_000_000),
        ("NULL", None),
        ("", None),
        (None, None),
    ],
)
def test_dollars_are_rounded_half_to_even(dollars: Any, expected: int | None) -> None:
    assert nanos(dollars, "d") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12.5", Decimal("12.5")),
        ("1234567890123456789.1234567890123456", Decimal("1234567890123456789.123456789012346")),
        ("0.0000000000000005", Decimal(0)),
        ("0.0000000000000015", Decimal("2e-15")),
    ],
)
def test_quantities_have_fifteen_places(value: str, expected: Decimal) -> None:
    assert quantity(value, "q") == expected


ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**60), 10**60),
    st.floats(),
    st.decimals(),
    st.text(),
    st.text("0123456789+-.:TZ eE", max_size=30),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@pytest.mark.parametrize("parse", [count, nanos, quantity, text, time])
@given(value=ANY)
def test_whatever_stands_there_is_a_value_or_a_bad_one(parse: Any, value: Any) -> None:
    with suppress(BadValueError):
        found = parse(value, "field")
        assert found is None or isinstance(found, (int, Decimal, str, datetime))


def test_an_excerpt_has_measures_and_no_text() -> None:
    record = {
        "time": "2025-01-01 00:00:00",
        "tokens": -5,
        "model": "gpt-4o",
        "input": "my secret card",
        "x": [1],
    }
    assert excerpt(record, record) == (
        "time=2025-01-01 00:00:00, tokens=-5, model=gpt-4o, input=(14 characters), x=…"
    )
