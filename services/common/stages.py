"""The stage machine: where a workload may stand, and which moves there are. Pure, and a table.

    OBSERVED → SHADOWED → CANARY 1 % → 5 % → 25 % → 50 % → HOME
                  ▲ │          └──────────┬──────────────┘
                  └─┴──── ROLLED_BACK ◀───┘

A new epoch of an experiment is a move from SHADOWED (or ROLLED_BACK) to SHADOWED.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from services.common.errors import DomainError, Reason
from services.common.sampling import PPM
from services.common.words import Stage

CANARY_SHARES_PPM = (10_000, 50_000, 250_000, 500_000)
"""The steps of a canary: 1, 5, 25 and 50 % of conversations."""


@dataclass(frozen=True, slots=True)
class Place:
    """A stage, and the share of conversations that the sovereign target answers there."""

    stage: Stage
    share_ppm: int = 0

    def __str__(self) -> str:
        if self.stage is Stage.CANARY:
            return f"CANARY {self.share_ppm / PPM:.0%}"
        return self.stage.name


class Move(StrEnum):
    """What a change of place is."""

    STAY = "stay"
    """The same place: only the sampling's rate changes."""
    SHADOW = "shadow"
    """A comparison begins, or begins anew."""
    STOP = "stop"
    """A comparison ends without a cutover."""
    ADVANCE = "advance"
    """A larger share goes home. Needs a verdict of READY."""
    ROLL_BACK = "roll_back"
    """All goes back to the cloud."""


OBSERVED, SHADOWED = Place(Stage.OBSERVED), Place(Stage.SHADOWED)
CANARIES = tuple(Place(Stage.CANARY, share) for share in CANARY_SHARES_PPM)
HOME, ROLLED_BACK = Place(Stage.HOME, PPM), Place(Stage.ROLLED_BACK)
PLACES = (OBSERVED, SHADOWED, *CANARIES, HOME, ROLLED_BACK)
"""All places there are."""
_WAY_HOME = (SHADOWED, *CANARIES, HOME)

MOVES: dict[tuple[Place, Place], Move] = {
    **{(place, place): Move.STAY for place in PLACES if place is not SHADOWED},
    (OBSERVED, SHADOWED): Move.SHADOW,
    (SHADOWED, SHADOWED): Move.SHADOW,
    (ROLLED_BACK, SHADOWED): Move.SHADOW,
    (SHADOWED, OBSERVED): Move.STOP,
    (ROLLED_BACK, OBSERVED): Move.STOP,
    **dict.fromkeys(pairwise(_WAY_HOME), Move.ADVANCE),
    **{(place, ROLLED_BACK): Move.ROLL_BACK for place in (*CANARIES, HOME)},
}
"""The whole machine; what is not in it is forbidden."""


def move(workload: str, before: Place, after: Place) -> Move:
    """What the change is.

    Raises:
        DomainError: STAGE_MOVE_FORBIDDEN.
    """
    found = MOVES.get((before, after))
    if found is None:
        ways = " or ".join(str(to) for at, to in MOVES if at == before and to != before)
        hint = f"from there it can go to {ways}" if ways else "no way leads on from there"
        raise DomainError(
            Reason.STAGE_MOVE_FORBIDDEN,
            f"{workload!r} can't go from {before} to {after}; {hint}",
            **{"workload": workload, "from": str(before), "to": str(after)},
        )
    return found


def next_place(place: Place) -> Place | None:
    """The next place on the way home; None at home and where there is no way."""
    if place in _WAY_HOME[:-1]:
        return _WAY_HOME[_WAY_HOME.index(place) + 1]
    return None
