"""Where a workload goes next, and what keeps it: a state machine that owns no clock and no network.

A situation goes in; a step comes out: a move with its reason, or a wait with all that keeps the workload,
each a sentence. A rollback always wins: what keeps a workload from going home never keeps it from going back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from services.common.stages import ROLLED_BACK, SHADOWED, Place, next_place
from services.common.words import Stage
from services.shadow.core.lanes import CLOUD, DEGRADED
from services.shadow.core.verdict import Verdict

US_PER_S = 1_000_000

SHADOW, BREAKER = "shadow", "breaker"
"""Who moves a workload that no person moves."""


class Approval(StrEnum):
    """Which moves home need a person."""

    NONE = "none"
    FIRST = "first"
    """The move out of SHADOWED."""
    EACH = "each"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a workload's settings ask of its moves."""

    approval: Approval = Approval.FIRST
    step_s: float = 86_400
    """The shortest time of a canary step."""
    step_requests: int = 100
    """Requests that the sovereign target must have answered in a step."""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a step depends on."""

    place: Place
    now_unix_us: int
    since_unix_us: int
    """When it came to its place, as far as shadow knows."""
    verdict: Verdict | None = None
    """Of the last closed window; None before the first, and where nothing is compared."""
    closed_windows: int = 0
    min_windows: int = 1
    newer_epoch: int = 0
    """An epoch that was registered and has not begun; 0: none."""
    mixed: str = ""
    """What is said of an epoch in which more than one model answered at home; empty: there was one."""
    controls: Mapping[str, Verdict] = field(default_factory=dict)
    """The verdicts of the control lanes; a lane without evidence is left out."""
    gate: tuple[str, ...] = ()
    """What the sovereign endpoint lacks, or is not yet known to have, each a sentence; empty: passed."""
    approved_by: str = ""
    """The key that approved this move; empty: none."""
    answered_at_home: int = 0
    """Production requests that the sovereign target answered since the workload came to its place."""
    alarm: str = ""
    """What the detector says, if it alarms."""
    breaker: str = ""
    """What a breaker says, if one tripped."""


@dataclass(frozen=True, slots=True)
class Move:
    """The workload goes to a place."""

    to: Place
    reason: str
    """A sentence, for the journal."""
    actor: str = SHADOW


@dataclass(frozen=True, slots=True)
class Wait:
    """The workload stays."""

    blocks: tuple[str, ...] = ()
    """What keeps it, each a sentence; empty where there is no further place."""


Step: TypeAlias = Move | Wait


def step(at: Situation, terms: Terms) -> Step:
    """What to do now."""
    back = _way_back(at)
    if back is not None:
        return back
    to = next_place(at.place)
    if to is None:
        return Wait()
    blocks = blocks_of(at, terms)
    if blocks:
        return Wait(blocks)
    return Move(to, _reason(at))


def is_settled(at: Situation) -> bool:
    """Whether more samples would cost and change nothing: a verdict of REJECTED stands for its epoch."""
    return at.place == SHADOWED and at.verdict is Verdict.REJECTED


def blocks_of(at: Situation, terms: Terms) -> tuple[str, ...]:
    """All that keeps the workload from its next place, each a sentence."""
    told = [*_evidence(at), *at.gate]
    if at.place.stage is Stage.CANARY:
        told += _canary(at, terms)
    if needs_approval(at.place, terms) and not at.approved_by:
        told.append(f"the move from {at.place} to {next_place(at.place)} needs an approval")
    return tuple(told)


def needs_approval(place: Place, terms: Terms) -> bool:
    """Whether the move from there needs a person."""
    return terms.approval is Approval.EACH or (terms.approval is Approval.FIRST and place == SHADOWED)


def wrong_controls(controls: Mapping[str, Verdict]) -> dict[str, str]:
    """By lane, what a control whose verdict is known beforehand shows if it has another; each a sentence.

    A cloud that is not READY against itself yet is not wrong: by chance alone it may need more votes than the
    comparison, and it has fewer.
    """
    told = {}
    if controls.get(DEGRADED) is Verdict.READY:
        told[DEGRADED] = (
            "the scorer can't tell answers to other requests from right ones, so its verdict says nothing"
        )
    if controls.get(CLOUD) is Verdict.REJECTED:
        told[CLOUD] = (
            "the cloud was REJECTED against itself, so the comparison sees gaps where there are none and"
            " can't be trusted"
        )
    return told


def mixed(home_models: Mapping[str, Sequence[str]]) -> str:
    """What is said if an epoch's evidence is of more than one model at home; empty if it is of one.

    Args:
        home_models: by the model that was asked for, those that answered at home, in their order.
    """
    for asked, served in home_models.items():
        if len(served) > 1:
            names = ", then ".join(map(repr, served))
            return (
                f"more than one model answered at home in this epoch (for {asked!r} {names}), so its evidence"
                " is of none of them; register a new epoch"
            )
    return ""


def _way_back(at: Situation) -> Move | None:
    if at.place.stage not in (Stage.CANARY, Stage.HOME):
        return None
    # A breaker acts in seconds, so where both speak it came first.
    if at.breaker:
        return Move(ROLLED_BACK, at.breaker, BREAKER)
    if at.alarm:
        return Move(ROLLED_BACK, at.alarm)
    return None


def _evidence(at: Situation) -> list[str]:
    told = []
    if at.verdict is Verdict.REJECTED:
        told.append(
            "the verdict is REJECTED: a gap beyond the margin is proven, so it stays in the cloud until a new"
            " epoch (another model, prompt or scorer) proves otherwise"
        )
    elif at.verdict is not Verdict.READY:
        told.append(
            f"the verdict is COLLECTING: {_windows(at.closed_windows)} closed, at least {at.min_windows}"
            " needed, and parity is not proven yet"
        )
    if at.place == SHADOWED and at.newer_epoch:
        told.append(
            f"epoch {at.newer_epoch} was registered and has not begun, because the ledger did not answer;"
            " register it again"
        )
    if at.mixed:
        told.append(at.mixed)
    return [*told, *wrong_controls(at.controls).values()]


def _canary(at: Situation, terms: Terms) -> list[str]:
    told = []
    passed_s = (at.now_unix_us - at.since_unix_us) / US_PER_S
    if passed_s < terms.step_s:
        told.append(f"{at.place} has lasted {_seconds(max(passed_s, 0))} of {_seconds(terms.step_s)}")
    if at.answered_at_home < terms.step_requests:
        told.append(
            f"the sovereign target has answered {at.answered_at_home:,} of {terms.step_requests:,} requests"
            f" in {at.place}"
        )
    return told


def _reason(at: Situation) -> str:
    approved = f", approved by {at.approved_by}" if at.approved_by else ""
    if at.place == SHADOWED:
        return f"parity within the margin is proven after {_windows(at.closed_windows)}{approved}"
    return (
        f"{at.place} went well: {_requests(at.answered_at_home)} answered at home in"
        f" {_seconds((at.now_unix_us - at.since_unix_us) / US_PER_S)}{approved}"
    )


def _requests(count: int) -> str:
    return f"{count:,} request" if count == 1 else f"{count:,} requests"


def _windows(count: int) -> str:
    return f"{count:,} window" if count == 1 else f"{count:,} windows"


def _seconds(value: float) -> str:
    whole = int(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole / 3600:.1f} h"
