"""What is said of odd results: why, and what to do."""

from __future__ import annotations

from fractions import Fraction

import pytest

from playbook.finance.inputs import Case, Name, Source, known, unknown
from playbook.finance.model import WEEKS_PER_MONTH
from playbook.finance.notes import notes, pays, too_small
from playbook.finance.risk import draws

DOLLAR = 1_000_000_000
SOURCE = Source("setting", "a test")
VALUES = {
    Name.CLOUD: Fraction(20_000 * DOLLAR),
    Name.MOVES: Fraction(1, 2),
    Name.CHANGE: Fraction(0),
    Name.RENEWS: Fraction(6),
    Name.RUNNING: Fraction(2_000 * DOLLAR),
    Name.HOME_SHARE: Fraction(0),
    Name.INFRASTRUCTURE: Fraction(30_000 * DOLLAR),
    Name.ENGINEERING: Fraction(10_000 * DOLLAR),
    Name.PARALLEL: Fraction(1, 10),
    Name.WEEKS: 3 * WEEKS_PER_MONTH,
    Name.DISCOUNT: Fraction(0),
}
KNOWN: Case = {name: known(name, value, SOURCE) for name, value in VALUES.items()}


@pytest.mark.parametrize(
    ("changed", "told", "gains"),
    [
        ({}, "come back to nothing in month 10", True),
        # $36 in three years, against $40,000.
        (
            {Name.CLOUD: known(Name.CLOUD, DOLLAR, SOURCE), Name.RUNNING: known(Name.RUNNING, 0, SOURCE)},
            "with so little spend no move pays",
            False,
        ),
        (
            {Name.CLOUD: known(Name.CLOUD, 0, SOURCE), Name.RUNNING: known(Name.RUNNING, 0, SOURCE)},
            "in three years is $0.00 at most",
            False,
        ),
        (
            {Name.RUNNING: known(Name.RUNNING, 10_000 * DOLLAR, SOURCE)},
            "Never, because a year saves nothing",
            False,
        ),
        (
            {Name.HOME_SHARE: unknown(Name.HOME_SHARE, "nobody said", 0, 2)},
            "Never is where a year saves nothing",
            None,
        ),
    ],
    ids=["pays", "cents", "nothing", "dearer", "maybe"],
)
def test_an_odd_result_is_explained(changed: Case, told: str, gains: bool | None) -> None:
    case = {**KNOWN, **changed}
    assert told in " ".join(notes(case, draws(case, runs=100)))
    assert pays(case) is gains


def test_without_a_spend_nothing_is_said_of_it() -> None:
    blind = {**KNOWN, Name.CLOUD: unknown(Name.CLOUD, "nobody said")}
    assert notes(blind, draws(blind)) == []
    assert not too_small(blind)
    assert pays(blind) is None


def test_figures_that_stand_at_the_good_end_of_their_ranges_are_named() -> None:
    """The share that moves can only be less, and home only dearer: so nearly every draw is worse."""
    good = {
        **KNOWN,
        Name.MOVES: known(Name.MOVES, Fraction(1, 2), SOURCE, Fraction(1, 4), Fraction(1, 2)),
        Name.RUNNING: known(Name.RUNNING, 2_000 * DOLLAR, SOURCE, 2_000 * DOLLAR, 4_000 * DOLLAR),
    }
    said = notes(good, draws(good, runs=200))[-1]
    assert "better than nine of ten draws" in said
    assert "share of the spend that moves, running cost at home." in said
    even = {**KNOWN, Name.MOVES: known(Name.MOVES, Fraction(1, 2), SOURCE, Fraction(1, 4), Fraction(3, 4))}
    assert not any("nine of ten" in text for text in notes(even, draws(even, runs=200)))
