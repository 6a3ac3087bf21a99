"""The reference case: what it says is reproduced, and what does not follow is named."""

from __future__ import annotations

from fractions import Fraction

from playbook.finance.answers import answers
from playbook.finance.model import payback
from playbook.finance.reference import case_of, findings, lesson, outcome_of, published

DOLLAR = 1_000_000_000


def test_its_payback_follows_from_its_saving() -> None:
    """95,000 / 177,600 × 12 = 6.4."""
    found = payback(95_000 * DOLLAR, 177_600 * DOLLAR)
    assert found == Fraction(95_000 * 12, 177_600)
    assert round(found, 1) == Fraction(64, 10)
    first = findings(published())[0]
    assert first.holds
    assert first.arithmetic == "$95,000 / $177,600 × 12 = 6.4 months"


def test_its_saving_is_more_than_what_moves() -> None:
    second = findings(published())[1]
    assert not second.holds
    assert "$250,000 × 70 % = $175,000" in second.arithmetic
    assert "$2,600 more" in second.arithmetic


def test_its_inputs_support_less_and_a_longer_payback() -> None:
    """$157,500 at a tenth of the cost per query; 7.2 months."""
    outcome = outcome_of(published())
    assert outcome.one_time == 95_000 * DOLLAR
    assert outcome.saving_year == 157_500 * DOLLAR
    assert round(outcome.payback, 1) == Fraction(72, 10)
    third = findings(published())[2]
    assert not third.holds
    assert third.arithmetic.endswith("7.2 months")


def test_nothing_of_it_is_unknown() -> None:
    case = case_of(published())
    assert all(item.source.text for item in case.values())
    assert all(not found.unknown for found in answers(case).values())


def test_a_case_whose_figures_agree_is_not_blamed() -> None:
    from dataclasses import replace
    from decimal import Decimal

    good = replace(published(), saving_usd_per_year=Decimal(157_500), payback_months=Decimal("7.2"))
    assert [one.holds for one in findings(good)] == [True, True, True]
    assert not any("Nobody saves more" in text or "its own figures" in text.lower() for text in lesson(good))


def test_what_it_teaches_has_its_figures() -> None:
    told = lesson(published())
    assert "$177,600 is more than $175,000" in told[1]
    assert "$157,500 a year and 7.2 months" in told[2]
    assert "month 11" in told[3]


def test_no_figure_is_credited_to_an_article_that_nobody_has_read() -> None:
    """The brief tells the dollars; of the article only the beginning was seen."""
    assert not any("Leeloo" in item.source.text for item in case_of(published()).values())
    assert "could be read" in published().note
