"""The finance case: when it is paid back, what is said where it is not, and which time is in no date."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from playbook.report.build import build
from playbook.report.document import Document, Section
from playbook.report.finance import _crossing
from playbook.report.gathered import Gathered
from playbook.report.mappings import Law
from playbook.report.money import money_of

pytestmark = pytest.mark.usefixtures("quick")

DOLLAR = 10**9
DEAR_NOW = {
    "cloud_month": 20_000 * DOLLAR,
    "share_that_moves": "3/4",
    "renewal_change": "-3/10",
    "months_to_renewal": 33,
    "running_month": 3_000 * DOLLAR,
    "home_share": 0,
    "infrastructure": 200_000 * DOLLAR,
    "engineering": 70_000 * DOLLAR,
    "parallel_share": "1/10",
    "weeks_until_home": "25/2",
    "discount_rate": "1/10",
}
"""12,000 a month are saved for nearly three years, 7,500 after the renewal; 283,000 are paid once."""


def told(found: Gathered, **changed: object) -> Gathered:
    """The same with known figures."""
    figures = {**DEAR_NOW, **changed}
    for row in found.finance or ():
        # A dict, which only what reads it takes for a Mapping.
        row.update(dict.fromkeys(("value", "low", "high"), str(figures[row["name"]])))  # type: ignore[attr-defined]
    return found


def part(document: Document, name: str) -> Section:
    """A section by its name, at any depth."""

    def below(found: Sequence[Section]) -> list[Section]:
        return [item for section in found for item in (section, *below(section.sections))]

    (found,) = [section for section in below(document.sections) if section.name == name]
    return found


def said(section: Section) -> str:
    """Its prose: titles of notes and texts, without tables and pictures."""
    return " ".join(
        getattr(block, "title", "")
        + "".join(span if isinstance(span, str) else span.text for span in getattr(block, "spans", ()))
        for block in section.blocks
    )


def test_what_the_months_earn_back_is_not_called_lost_for_its_payback(
    example: Gathered, laws: list[Law]
) -> None:
    """A payback at prices that come late is long; the table of the three ways says that moving is cheaper."""
    money = money_of(told(example))
    assert money is not None
    assert money.outcome is not None
    assert float(money.answers["payback_months"].low or 0) == pytest.approx(37.7, abs=0.1)
    assert money.outcome.turns == 27
    assert not money.hopeless
    document = build(example, laws)
    assert "The sum comes back to nothing" in said(part(document, "results"))
    assert "does not pay" not in said(part(document, "results"))
    assert "staying is the cheapest" not in said(part(document, "alternatives"))


@pytest.mark.parametrize(
    ("changed", "hopeless"),
    [
        ({}, False),
        ({"infrastructure": 400_000 * DOLLAR}, True),
        # The payback is long and so are the months.
        ({"months_to_renewal": 3}, True),
        ({"renewal_change": 0}, False),
        ({"running_month": 20_000 * DOLLAR}, True),
    ],
)
def test_it_does_not_pay_where_neither_the_payback_nor_the_months_do(
    example: Gathered, changed: dict[str, object], hopeless: bool
) -> None:
    money = money_of(told(example, **changed))
    assert money is not None
    assert money.hopeless is hopeless


def test_what_is_unknown_may_still_earn_it_back(example: Gathered) -> None:
    """It is hopeless only if every end of the ranges is; the middle alone proves nothing."""
    found = told(example, infrastructure=400_000 * DOLLAR)
    (row,) = [row for row in found.finance or () if row["name"] == "infrastructure"]
    # A dict, as above.
    row.update(value=None, low=str(200_000 * DOLLAR), high=str(600_000 * DOLLAR))  # type: ignore[attr-defined]
    money = money_of(found)
    assert money is not None
    assert money.outcome is not None
    assert money.outcome.turns is None
    assert not money.hopeless


@pytest.mark.parametrize(
    ("flows", "after"),
    [
        ((-10, 4, 4, 4), 2.5),
        ((0, -4, 8), 1.5),
        ((0, 4, -6, 4), 2.5),
        ((-4, 8, -8, 8), 2.5),
        ((0, 4), 0),
        ((0, 0), 0),
        ((-4, 2), None),
        ((0, 4, -6), None),
    ],
)
def test_the_sum_comes_back_where_it_no_longer_falls_below_nothing(
    flows: tuple[int, ...], after: float | None
) -> None:
    assert _crossing(flows) == after


def test_where_nothing_is_out_nothing_comes_back(example: Gathered, laws: list[Law]) -> None:
    free = dict.fromkeys(("infrastructure", "engineering", "running_month", "parallel_share"), 0)
    document = build(told(example, **free), laws)
    assert "nothing has to be earned back" in said(part(document, "results"))
