"""JSON values beside each other: how many of their leaves agree.

A leaf is a value that is no object and no list, or one of these that is empty. Objects are compared key by
key. Lists have no order here, since what is extracted seldom has one: their items are paired so that as much
as possible agrees.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import orjson
from rapidfuzz.distance import Levenshtein

from services.shadow.core.scorers.pairing import most
from services.shadow.core.scorers.texts import folded

LEAF = 1_000_000
"""What a leaf that agrees counts for: similarities are integers in millionths of it."""
MAX_DEPTH = 64
"""What nests deeper is read as text: no schema of an application comes near."""
MAX_PAIRED = 24
"""Items of a list that equal none of the other's. More are paired in order: the best takes time as n³."""
MAX_CELLS = 40_000
"""Leaves of one value times leaves of the other; with more, items that differ are paired in order: 0.3 s."""
SAME_NUMBER = 1e-9
"""Relative: as far as numbers may lie apart that were rounded on their way."""

_DIGITS = re.compile(r"\d+")
_FENCE = re.compile(r"\s*```[A-Za-z0-9]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Read:
    """A value that was read; `null` is one too."""

    value: object


def read_json(text: str, *, fenced: bool = False) -> Read | None:
    """The JSON value that a text is; None if it is none.

    Args:
        text: of the answer.
        fenced: whether it may stand in a block of Markdown, where no schema forbids that.
    """
    inner = _FENCE.fullmatch(text) if fenced else None
    try:
        value = orjson.loads(inner[1] if inner else text)
    except orjson.JSONDecodeError:
        return None
    return Read(value) if _depth(value) <= MAX_DEPTH else None


def read_arguments(arguments_json: str) -> dict[str, object] | None:
    """The arguments of a call; None if they are no object. Some servers write nothing for no arguments."""
    if not arguments_json.strip():
        return {}
    read = read_json(arguments_json)
    return read.value if read is not None and isinstance(read.value, dict) else None


def leaf_f1(a: object, b: object) -> Fraction:
    """The harmonic mean of precision and recall over leaves, from 0 to 1.

    Symmetric, but for lists that are paired in order and have an item several times: see `_common_items`.
    """
    mine, other = leaves(a), leaves(b)
    return Fraction(2 * common(a, b, paired=mine * other <= MAX_CELLS), (mine + other) * LEAF)


def leaves(value: object) -> int:
    """How many leaves a value has; at least 1."""
    if isinstance(value, dict):
        return sum(map(leaves, value.values())) or 1
    if isinstance(value, list):
        return sum(map(leaves, value)) or 1
    return 1


def common(a: object, b: object, *, paired: bool = True) -> int:
    """How much of two values agrees, in millionths of a leaf.

    Args:
        a: one value.
        b: the other.
        paired: whether items that differ are paired as well as can be; False pairs them in order.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        if not a or not b:
            return LEAF * (not a and not b)
        return sum(common(item, b[key], paired=paired) for key, item in a.items() if key in b)
    if isinstance(a, list) and isinstance(b, list):
        if not a or not b:
            return LEAF * (not a and not b)
        return _common_items(a, b, paired=paired)
    if isinstance(a, str) and isinstance(b, str):
        return likeness(a, b)
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return LEAF * (a is b)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return LEAF * (a == b or math.isclose(a, b, rel_tol=SAME_NUMBER))
    return 0


def likeness(a: str, b: str) -> int:
    """How alike two strings are by edits (Levenshtein, over the longer's length), in millionths.

    Strings with different digits have nothing in common: a date or an amount that is wrong by one digit is
    wrong. Neither have those of which more than half would have to change: that much alike any two names are.
    """
    a, b = folded(a), folded(b)
    if a == b:
        return LEAF
    if "".join(_DIGITS.findall(a)) != "".join(_DIGITS.findall(b)):
        return 0
    longer = max(len(a), len(b))
    edits = Levenshtein.distance(a, b, score_cutoff=longer // 2)
    return 0 if 2 * edits > longer else LEAF * (longer - edits) // longer


def _common_items(a: Sequence[object], b: Sequence[object], *, paired: bool) -> int:
    # Of equal items the first of `a` and the last of `b` are taken out, which shows where the rest is paired
    # in order. To take the first of both would change scores: that is for a new version of the scorers.
    waiting: defaultdict[bytes, list[int]] = defaultdict(list)
    for place, item in enumerate(b):
        waiting[_key(item)].append(place)
    same, rest = 0, []
    for item in a:
        if places := waiting[_key(item)]:
            places.pop()
            same += leaves(item) * LEAF
        else:
            rest.append(item)
    others = [b[place] for place in sorted(place for places in waiting.values() for place in places)]
    few, many = sorted((len(rest), len(others)))
    if not paired or few > MAX_PAIRED or many > MAX_PAIRED**2:
        return same + sum(
            common(mine, other, paired=False) for mine, other in zip(rest, others, strict=False)
        )
    return same + most([[common(mine, other) for other in others] for mine in rest])


def _key(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [
            item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return depth
