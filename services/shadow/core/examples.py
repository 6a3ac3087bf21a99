"""Examples of disagreement: which of an epoch are kept, and how much of their texts. Pure.

Kept are the scored samples with the lowest D below 0, one of each cluster, of the same D those with the lower
ids: which ones they are does not hang on the order in which they are finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DAY_US = 86_400 * 1_000_000
MAX_KEPT = 100
"""Of an epoch and lane: what fits into one answer of ShadowService."""
MAX_TURNS = 100
"""Of an example: a person reads no more, and each costs room beside its text."""
MIN_BYTES = 1_024
"""Of an example's texts, so that each has room for a sentence."""
EXPIRED, REPLACED, SETTINGS = "expired", "replaced", "settings"
"""Why texts are deleted: their time is over, a worse one took their place, the settings keep less."""
_INSTRUCTIONS = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Reader:
    """A key that may read examples."""

    name: str
    workloads: frozenset[str]
    """Whose."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Of which workloads examples are kept, by the settings."""

    days: Mapping[str, int] = field(default_factory=dict)
    """By workload; those that are not in it keep none."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """The data class of each workload."""
    per_epoch: int = 20
    max_bytes: int = 16_384

    def days_of(self, workload: str) -> int:
        """For how many days a workload's are kept; 0: none is."""
        return self.days.get(workload, 0)

    def expires(self, workload: str, keep_unix_us: int) -> int:
        """When one that is kept since a time is deleted; not later than that time if none may be kept."""
        return keep_unix_us + self.days_of(workload) * DAY_US


@dataclass(frozen=True, slots=True, order=True)
class Standing:
    """A sample among the others of its epoch and lane: the lowest comes first."""

    difference_millionths: int
    """D."""
    sample_id: bytes
    cluster: str = field(default="", compare=False)
    """Empty for a request that stands for itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One text."""

    speaker: str
    text: str
    bytes_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Texts:
    """What was said in a sample."""

    turns: Sequence[Turn]
    turns_left_out: int
    cloud: Turn
    sovereign: Turn
    salt: bytes
    """Random, so that nobody finds the texts of a hash by trying."""

    def to_json(self) -> bytes:
        """With sorted keys and without spaces: what is stored, and what is hashed."""
        document = {
            "turns": [_document(turn) for turn in self.turns],
            "turns_left_out": self.turns_left_out,
            "cloud": _document(self.cloud),
            "sovereign": _document(self.sovereign),
            "salt": self.salt.hex(),
        }
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Texts:
        """Of `to_json`."""
        document = json.loads(content)
        return cls(
            turns=tuple(Turn(**turn) for turn in document["turns"]),
            turns_left_out=document["turns_left_out"],
            cloud=Turn(**document["cloud"]),
            sovereign=Turn(**document["sovereign"]),
            salt=bytes.fromhex(document["salt"]),
        )


def sha256(content: bytes) -> bytes:
    """The hash of `to_json`."""
    return hashlib.sha256(content).digest()


def disagreement(sovereign_millionths: int | None, noise_millionths: int | None) -> int | None:
    """D of a sample that shows a disagreement, in millionths; None if it shows none.

    It shows none where an answer is missing, and where the cloud agrees with itself no better.
    """
    if sovereign_millionths is None or noise_millionths is None:
        return None
    difference = sovereign_millionths - noise_millionths
    return difference if difference < 0 else None


def admitted(new: Standing, kept: Sequence[Standing], limit: int) -> tuple[bool, Sequence[Standing]]:
    """Whether a sample is kept, and which of the others then are no more.

    Args:
        new: none of the others.
        kept: of the same epoch and lane, in any order.
        limit: how many are kept.
    """
    same = [item for item in kept if new.cluster and item.cluster == new.cluster]
    if same and min(same) < new:
        return False, ()
    rest = sorted(item for item in kept if item not in same)
    if len(rest) >= limit and rest[limit - 1] < new:
        return False, ()
    return True, (*same, *rest[max(limit - 1, 0) :])


def bounded(
    turns: Sequence[tuple[str, str]], cloud: str, sovereign: str, max_bytes: int, salt: bytes
) -> Texts:
    """The texts of an example, cut to what may be kept.

    The request has half of the room: first for what the user said last, then for the instructions, then for
    the other turns, the newest first. Each answer has a quarter.

    Args:
        turns: speaker and text, oldest first.
        cloud, sovereign: the answers.
        max_bytes: of all texts together, in UTF-8.
        salt: 16 random bytes.
    """
    room, made = max_bytes // 2, dict[int, Turn]()
    for place in _by_weight([speaker for speaker, _ in turns])[:MAX_TURNS]:
        speaker, said = turns[place]
        turn = _cut(speaker, said, room)
        if turn.text or not said:
            made[place] = turn
            room -= len(turn.text.encode())
    return Texts(
        turns=tuple(made[place] for place in sorted(made)),
        turns_left_out=len(turns) - len(made),
        cloud=_cut("assistant", cloud, max_bytes // 4),
        sovereign=_cut("assistant", sovereign, max_bytes // 4),
        salt=salt,
    )


def _by_weight(speakers: Sequence[str]) -> list[int]:
    """The places of turns, the one that tells most first."""
    last_user = max((place for place, name in enumerate(speakers) if name == "user"), default=-1)

    def weight(place: int) -> tuple[int, int]:
        if place == last_user:
            return 0, 0
        return (1, place) if speakers[place] in _INSTRUCTIONS else (2, -place)

    return sorted(range(len(speakers)), key=weight)


def _cut(speaker: str, text: str, room: int) -> Turn:
    # A lone surrogate, which a model can bring about by JSON, has no UTF-8.
    content = text.encode("utf-8", "replace")
    left = content[: max(room, 0)].decode("utf-8", "ignore")
    return Turn(speaker, left, len(content) - len(left.encode()))


def _document(turn: Turn) -> dict[str, Any]:
    return {"speaker": turn.speaker, "text": turn.text, "bytes_left_out": turn.bytes_left_out}
