"""Money for people: exact, however large or small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.finance.money import brief, money, span

DOLLAR = 1_000_000_000


@pytest.mark.parametrize(
    ("nanos", "full", "short"),
    [
        (0, "$0.00", "$0"),
        (177_600 * DOLLAR, "$177,600", "$178k"),
        (-95_000 * DOLLAR, "-$95,000", "-$95k"),
        (999_999_999_999, "$1,000.00", "$1.0k"),
        (12_345_000_000, "$12.34", "$12"),
        (5_000_000, "$0.005", "<$1"),
        (-1, "-$0.000000001", "-<$1"),
        (1_250_000 * DOLLAR, "$1,250,000", "$1.2M"),
        (9_007_199_254_740_993 * DOLLAR, "$9,007,199,254,740,993", "$9,007,199B"),
    ],
)
def test_amounts_are_told_without_a_float(nanos: int, full: str, short: str) -> None:
    assert (money(nanos), brief(nanos)) == (full, short)


def test_a_range_of_equals_is_told_once() -> None:
    assert span(95_000 * DOLLAR, 95_001 * DOLLAR) == "$95k"
    assert span(-DOLLAR, 2 * DOLLAR) == "-$1 to $2"


@given(st.integers(-(10**30), 10**30))
def test_what_is_printed_is_within_half_a_unit_of_the_amount(nanos: int) -> None:
    """Also where a float would have lost digits."""
    text = money(nanos)
    whole, _, part = text.replace("$", "").replace(",", "").replace("-", "").partition(".")
    told = int(whole + part) * 10 ** (9 - len(part))
    assert abs(told - abs(nanos)) * 2 <= 10 ** (9 - len(part))
    assert text.startswith("-") == (nanos < 0)
