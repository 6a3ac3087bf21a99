"""Groups requests by their fixed parts: the same system prompt but for what changes, tools, or template.

Pure and deterministic. Works on digests, so that it needs no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from services.classifier.core.traffic import Unnamed
from services.common.fingerprint.sketch import HASHES
from services.common.fingerprint.table import MIN_ALIKE

MAX_COMPARED = 1_000
"""System prompts that others are compared with, the most frequent: 20,000 different ones take a second."""
WHOLE = 0.8
"""Share of a template's requests that must go on alike for the template to be longer."""
_EIGHT_WORDS = 1
"""Place in `heads`: what fewer words have in common is chance, unless the tails agree too."""

K = TypeVar("K")
Rows = list[int]


def by_system_prompt(requests: Sequence[Unnamed], least: int) -> list[Rows]:
    """Groups of at least `least` requests whose system prompts are alike, as places in `requests`."""
    own = [at for at, item in enumerate(requests) if item.shape.digest]
    # Without what changes they may be the same; short ones have only the whole.
    same = _sorted(own, lambda at: requests[at].shape.masked_digest or requests[at].shape.digest)
    sketches: list[tuple[int, ...]] = []
    leaders: list[Rows] = []
    compared = np.empty((0, HASHES), np.uint32)
    groups: list[Rows] = []
    for rows in same:
        sketch = requests[rows[0]].shape.sketch
        if len(sketch) == HASHES:
            if len(compared) < len(sketches):
                compared = np.array(sketches, np.uint32)
            alike = (compared == np.array(sketch, np.uint32)).mean(axis=1) if sketches else np.zeros(1)
            if alike.max() >= MIN_ALIKE:
                leaders[int(alike.argmax())] += rows
                continue
            if len(sketches) < MAX_COMPARED:
                sketches.append(sketch)
                leaders.append(rows)
        groups.append(rows)
    return [sorted(rows) for rows in groups if len(rows) >= least]


def by_tools(requests: Sequence[Unnamed], least: int) -> list[Rows]:
    """Groups without a system prompt that have the same tools and schema."""
    own = [
        at
        for at, item in enumerate(requests)
        if not item.shape.digest and (item.shape.tool_names or item.shape.schema_digest)
    ]
    groups = _sorted(own, lambda at: (requests[at].shape.tool_names, requests[at].shape.schema_digest))
    return [rows for rows in groups if len(rows) >= least]


def by_template(requests: Sequence[Unnamed], own: Rows, least: int) -> list[Rows]:
    """Groups of `own` whose system prompt, or message where there is none, begins or ends alike."""
    found: list[Rows] = []
    for rows in _agreeing(requests, own, _EIGHT_WORDS, least):
        found += _longer(requests, rows, _EIGHT_WORDS, least)
    for ends in (_both_ends, _long_tail):
        taken = {at for rows in found for at in rows}
        rest = {at: ends(requests[at]) for at in own if at not in taken and all(ends(requests[at]))}
        found += [rows for rows in _sorted(list(rest), rest.__getitem__) if len(rows) >= least]
    return found


def _longer(requests: Sequence[Unnamed], rows: Rows, level: int, least: int) -> Iterator[Rows]:
    """The rows, or, if nearly all of them go on alike in a few ways, those of each way."""
    if level + 1 < len(requests[rows[0]].heads):
        ways = _agreeing(requests, rows, level + 1, least)
        if sum(map(len, ways)) >= WHOLE * len(rows):
            for way in ways:
                yield from _longer(requests, way, level + 1, least)
            return
    yield rows


def _agreeing(requests: Sequence[Unnamed], rows: Rows, level: int, least: int) -> list[Rows]:
    long_enough = [at for at in rows if requests[at].heads[level]]
    return [way for way in _sorted(long_enough, lambda at: requests[at].heads[level]) if len(way) >= least]


def _both_ends(item: Unnamed) -> tuple[int, ...]:
    return item.heads[0], item.tails[0]


def _long_tail(item: Unnamed) -> tuple[int, ...]:
    return item.tails[1:]


def _sorted(rows: Rows, key: Callable[[int], K]) -> list[Rows]:
    """The rows by key, the largest group first, then the one that begins first."""
    groups: dict[K, Rows] = {}
    for at in rows:
        groups.setdefault(key(at), []).append(at)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0]))
