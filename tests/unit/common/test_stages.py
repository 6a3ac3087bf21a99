"""The stage machine: every pair of places is in this table, with what it is or that it is forbidden."""

from __future__ import annotations

import pytest

from services.common.errors import DomainError, Reason
from services.common.stages import (
    CANARIES,
    CANARY_SHARES_PPM,
    HOME,
    MOVES,
    OBSERVED,
    PLACES,
    ROLLED_BACK,
    SHADOWED,
    Move,
    Place,
    move,
    next_place,
)
from services.common.words import Stage

NAMES = {
    "obs": OBSERVED,
    "shad": SHADOWED,
    "1": CANARIES[0],
    "5": CANARIES[1],
    "25": CANARIES[2],
    "50": CANARIES[3],
    "home": HOME,
    "back": ROLLED_BACK,
}
SIGNS = {
    "=": Move.STAY,
    "s": Move.SHADOW,
    "x": Move.STOP,
    "+": Move.ADVANCE,
    "<": Move.ROLL_BACK,
    ".": None,
}
TABLE = """
from \\ to obs shad 1 5 25 50 home back
obs       =   s    . . .  .  .    .
shad      x   s    + . .  .  .    .
1         .   .    = + .  .  .    <
5         .   .    . = +  .  .    <
25        .   .    . . =  +  .    <
50        .   .    . . .  =  +    <
home      .   .    . . .  .  =    <
back      x   s    . . .  .  .    =
"""
"""What each move is, by the row's place and the column's."""


def cells() -> list[tuple[str, str, Move | None]]:
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    columns = head[3:]
    return [
        (row[0], column, SIGNS[sign]) for row in rows for column, sign in zip(columns, row[1:], strict=True)
    ]


def test_the_table_has_every_pair_of_places() -> None:
    assert [NAMES[name] for name in NAMES] == list(PLACES)
    pairs = {(NAMES[before], NAMES[after]) for before, after, _ in cells()}
    assert len(pairs) == len(cells()) == len(PLACES) ** 2
    assert set(MOVES) < pairs


@pytest.mark.parametrize(("before", "after", "expected"), cells())
def test_each_move_is_what_the_table_says(before: str, after: str, expected: Move | None) -> None:
    start, end = NAMES[before], NAMES[after]
    if expected is not None:
        assert move("triage", start, end) is expected
        return
    with pytest.raises(DomainError) as refused:
        move("triage", start, end)
    assert refused.value.reason is Reason.STAGE_MOVE_FORBIDDEN
    assert refused.value.metadata == {"workload": "triage", "from": str(start), "to": str(end)}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (OBSERVED, "it can go to SHADOWED"),
        (SHADOWED, "it can go to OBSERVED or CANARY 1%"),
        (CANARIES[1], "it can go to CANARY 25% or ROLLED_BACK"),
        (HOME, "it can go to ROLLED_BACK"),
        (Place(Stage.CANARY, 30_000), "no way leads on from there"),
    ],
)
def test_a_refusal_says_where_the_way_leads(place: Place, words: str) -> None:
    with pytest.raises(DomainError) as refused:
        move("triage", place, Place(Stage.CANARY, 990_000))
    assert words in refused.value.message


def test_the_way_home_goes_through_every_share_and_ends_there() -> None:
    place: Place | None = SHADOWED
    met = []
    while place is not None:
        met.append(place)
        place = next_place(place)
    assert met == [SHADOWED, *CANARIES, HOME]
    assert [item.share_ppm for item in CANARIES] == list(CANARY_SHARES_PPM) == sorted(CANARY_SHARES_PPM)
    assert next_place(OBSERVED) is next_place(ROLLED_BACK) is None


def test_from_wherever_the_sovereign_answers_the_way_back_is_one_move() -> None:
    for place in PLACES:
        if place.share_ppm:
            assert MOVES[place, ROLLED_BACK] is Move.ROLL_BACK


def test_a_larger_share_is_always_an_advance() -> None:
    for (before, after), kind in MOVES.items():
        assert (after.share_ppm > before.share_ppm) == (kind is Move.ADVANCE)
