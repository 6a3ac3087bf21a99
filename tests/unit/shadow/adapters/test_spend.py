"""What today's shadowing costs, reckoned from what is booked and what was asked since."""

from __future__ import annotations

import pytest

from services.shadow.adapters.spend import FORGET_S, Booked, Reckoning

TODAY = 20_000
ASK, LOOK = "ask", "look"
MEAN = 100.0


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        pytest.param([], None, id="nobody has looked"),
        pytest.param([(0, ASK, 3)], None, id="asked before the first look"),
        pytest.param([(0, LOOK, Booked(0, 0, 0, None))], 0, id="nothing was asked: that is known"),
        pytest.param([(0, LOOK, Booked(0, 0, 0, None)), (1, ASK, 1)], None, id="no cost is known yet"),
        pytest.param([(0, LOOK, Booked(4, 0, 400, MEAN))], 400, id="what is booked"),
        pytest.param([(0, LOOK, Booked(4, 1, 300, MEAN))], 400, id="one of unknown cost counts as the mean"),
        pytest.param([(0, LOOK, Booked(4, 4, 0, None))], None, id="all of unknown cost are unknown"),
        pytest.param([(0, LOOK, Booked(4, 0, 410, 102.5)), (1, ASK, 2)], 615, id="asked ones too"),
        pytest.param(
            [(0, LOOK, Booked(4, 0, 400, MEAN)), (1, ASK, 3), (9, LOOK, Booked(6, 0, 700, MEAN))],
            800,
            id="an asked one that is booked counts once",
        ),
        pytest.param(
            [(0, LOOK, Booked(4, 0, 400, MEAN)), (1, ASK, 1), (9, LOOK, Booked(9, 0, 900, MEAN))],
            900,
            id="more are booked than this process asked",
        ),
        pytest.param(
            [(0, ASK, 2), (1, LOOK, Booked(5, 0, 500, MEAN)), (2, LOOK, Booked(7, 0, 700, MEAN))],
            700,
            id="booked after the first look",
        ),
        pytest.param(
            [
                (0, LOOK, Booked(0, 0, 0, MEAN)),
                (1, ASK, 2),
                (FORGET_S, LOOK, Booked(0, 0, 0, MEAN)),
            ],
            200,
            id="the ledger is far behind",
        ),
        pytest.param(
            [
                (0, LOOK, Booked(0, 0, 0, MEAN)),
                (1, ASK, 2),
                (5, ASK, 1),
                (FORGET_S + 2, LOOK, Booked(0, 0, 0, MEAN)),
            ],
            100,
            id="what never became a leg is forgotten",
        ),
    ],
)
def test_todays_cost(story: list[tuple[float, str, Booked | int]], expected: int | None) -> None:
    reckoning = Reckoning()
    for now_s, _, value in story:
        if isinstance(value, Booked):
            reckoning.look(value, TODAY, now_s)
        else:
            for _ in range(value):
                reckoning.ask(now_s)
    assert reckoning.nanos(TODAY) == expected


def test_a_new_day_begins_at_nothing_but_what_is_still_asked() -> None:
    reckoning = Reckoning()
    reckoning.look(Booked(4, 0, 400, MEAN), TODAY, 0)
    assert reckoning.nanos(TODAY + 1) == 0
    reckoning.ask(1)
    assert reckoning.nanos(TODAY) == 500
    assert reckoning.nanos(TODAY + 1) == 100
    # Of the day's two legs one was asked here.
    reckoning.look(Booked(2, 0, 210, 105.0), TODAY + 1, 10)
    assert reckoning.nanos(TODAY + 1) == 210
