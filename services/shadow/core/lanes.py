"""The lanes of an experiment, and the legs that a sample still lacks. Pure, and tables.

The comparison is the lane that decides. Beside it run two controls whose verdicts are known beforehand: they
show that the comparison can tell good from bad. What is sampled after the cutover has a lane of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from services.common.sampling import PPM
from services.common.words import Purpose, Target

COMPARISON = ""
CLOUD = "cloud"
"""A third cloud answer in the sovereign one's place: must become READY."""
DEGRADED = "degraded"
"""The sovereign answer to another request in its place: never may."""
AFTER = "after"
"""Samples of after the cutover, which feed the detector and never the verdict."""
LANES = (COMPARISON, CLOUD, DEGRADED, AFTER)
CONTROLS = (CLOUD, DEGRADED)
_HASH_BYTES = 8


class Role(StrEnum):
    """What an answer is in its triplet."""

    SOVEREIGN = "sovereign"
    REFERENCE = "cloud"
    """What both others are held against."""
    NOISE = "noise"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Leg:
    """A leg to ask for."""

    role: Role
    purpose: Purpose
    target: Target


_SOVEREIGN = Leg(Role.SOVEREIGN, Purpose.SHADOW, Target.SOVEREIGN)
_REFERENCE = Leg(Role.REFERENCE, Purpose.SHADOW, Target.CLOUD)
_NOISE = Leg(Role.NOISE, Purpose.NOISE, Target.CLOUD)
_CONTROL = Leg(Role.CONTROL, Purpose.NOISE, Target.CLOUD)


def missing_legs(answered_by: Target, *, sovereign_failed: bool, controlled: bool) -> tuple[Leg, ...]:
    """The legs that make a triplet of a sample.

    Args:
        answered_by: where the application's answer came from.
        sovereign_failed: the sovereign target was asked first and failed. That is its answer.
        controlled: a third cloud answer is wanted too.
    """
    if answered_by is Target.SOVEREIGN:
        legs: tuple[Leg, ...] = (_REFERENCE, _NOISE)
    elif sovereign_failed:
        legs = (_NOISE,)
    else:
        legs = (_SOVEREIGN, _NOISE)
    return (*legs, _CONTROL) if controlled else legs


def is_controlled(sample_id: bytes, share: float) -> bool:
    """Whether a sample gets a third cloud answer: a draw by its id, so that it is the same after a crash."""
    # Not the sampler's hash: what that drew is no fair draw of what is left.
    drawn = int.from_bytes(hashlib.sha256(b"control" + sample_id).digest()[:_HASH_BYTES], "big")
    return drawn * PPM < round(share * PPM) << 8 * _HASH_BYTES
