"""Names of people, by a small model: a chain of two states over the words that could be names.

Each clue of a word (`name_clues`) has a weight, and so has what ties it to the word before; forward and
backward over the chain gives the probability that a word is part of a name. Words in a row above the
threshold are one name. Weights, lists and how they were made: models/person-names/README.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from services.router.core.identifiers.name_clues import (
    AROUND_ROLES,
    BONDS,
    WORD_ROLES,
    Lists,
    Words,
    around,
    bare,
    bonds,
    form_of,
    of_word,
    words_of,
)
from services.router.core.identifiers.text import Span, Text

THRESHOLD = 0.2
"""Probability from which a word is part of a name: docs/residency.md has the curve."""
AGAIN = 1 / 3
"""Share of the threshold that is enough for a word that is surely part of a name elsewhere in the text."""
SURE = 0.9
NEVER = -2.5
"""Score of a word by itself from which its neighbours are looked at. One in five of those that could be names
has less, and one name in two hundred (texts to tune on)."""
PIECE = 100_000
"""Characters that are worked on at once, so that a long text needs no more memory than a short one."""
_FAR = 30.0
"""Log-odds beyond which nothing changes."""

_PARTICLES = (
    r"(?:van|von|vom|zu|zum|der|den|de|del|della|di|da|do|dos|das|du|des|la|le|bin|ibn|ben|al|el|af|ter|ten)"
)
_BETWEEN = re.compile(rf" ?[-'’] ?| (?:{_PARTICLES}[ -]){{1,3}}", re.IGNORECASE)
"""What may stand between two parts of one name."""
_POINT = re.compile(r"(?<![^\W\d_]{2})\. ?")
"""The same after an initial."""
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_a-z]\. ?){1,3}\Z")
"""What belongs to the name after it."""
_ONWARD = re.compile(rf" (?:{_PARTICLES} ){{1,2}}[^\W\d_a-z][\w'’]{{1,30}}+")
"""What belongs to the name before it."""
_REACH = 12
"""Characters before a name that may be initials."""


@dataclass(frozen=True, slots=True)
class Model:
    """What was learnt."""

    lists: Lists
    of_words: Sequence[Mapping[str, float]]
    """Of each of WORD_ROLES: clue to weight."""
    around: Sequence[Mapping[str, float]]
    """Of each of AROUND_ROLES: clue to weight."""
    pairs: Sequence[tuple[float, float, float, float]]
    """Of each of BONDS: no name to no name, to a name; name to no name, to a name."""


def folder() -> Path:
    """Where the model is: beside the working directory's other models, or in the repository."""
    here = Path("models/person-names")
    return here if here.is_dir() else Path(__file__).resolve().parents[4] / "models" / "person-names"


@cache
def model() -> Model:
    """The model, read once.

    Raises:
        OSError, KeyError, ValueError, zipfile.BadZipFile: as `read`.
    """
    return read(folder() / "weights.npz")


def read(path: Path) -> Model:
    """A model from its file.

    Raises:
        OSError: it isn't there.
        KeyError, ValueError, zipfile.BadZipFile: it isn't a model of names.
    """
    with np.load(path, allow_pickle=False) as held:

        def texts(name: str) -> list[str]:
            return bytes(held[name]).decode().split("\0")

        given = dict(zip(texts("given"), bytes(held["classes"]).decode(), strict=True))

        def tables(roles: Sequence[str]) -> list[dict[str, float]]:
            return [
                dict(zip(texts(role), held[f"{role}_weights"].astype(float).tolist(), strict=True))
                for role in roles
            ]

        pairs = [tuple(row) for row in held["pairs"].astype(float).reshape(len(BONDS), 4).tolist()]
        lists = Lists(frozenset(texts("common")), given)
        return Model(lists, tables(WORD_ROLES), tables(AROUND_ROLES), pairs)


def people(text: Text) -> Iterator[Span]:
    """Names of people."""
    yield from found(text.plain, model())


def found(text: str, learnt: Model, threshold: float = THRESHOLD) -> list[Span]:
    """Names of people in a text, by place."""
    spans: list[Span] = []
    for start, end in _pieces(text):
        spans += [(start + first, start + last) for first, last in _found(text[start:end], learnt, threshold)]
    return spans


def _pieces(text: str, most: int = PIECE) -> Iterator[Span]:
    start = 0
    while len(text) - start > most:
        # Few names go on where a line ends, and no word where a space is.
        cut = text.rfind("\n", start + most // 2, start + most)
        cut = cut if cut >= 0 else text.rfind(" ", start + most // 2, start + most)
        end = cut + 1 if cut >= 0 else start + most
        yield start, end
        start = end
    yield start, len(text)


def _found(text: str, learnt: Model, threshold: float) -> list[Span]:
    words, scores = _scored(words_of(text, learnt.lists), learnt)
    if not scores:
        return []
    odds = _probabilities(words, scores, learnt)
    again = threshold * AGAIN
    sure = {
        text[slice(*bare(text, *words.spans[place]))]
        for place, odd in zip(words.chosen, odds, strict=True)
        if odd >= SURE
    }
    taken: list[Span] = []
    last = -2
    for place, odd in zip(words.chosen, odds, strict=True):
        if odd < again:
            continue
        start, end = bare(text, *words.spans[place])
        if odd < threshold and text[start:end] not in sure:
            continue
        # A possessive ends a name.
        if taken and place == last + 1 and not text[taken[-1][1] : start].strip(" \t"):
            taken[-1] = (taken[-1][0], end)
        else:
            taken.append((start, end))
        last = place
    return _whole(taken, text)


def _whole(parts: Sequence[Span], text: str) -> list[Span]:
    """The names with their initials and particles, and what these tie together as one."""
    made: list[Span] = []
    for first, last in parts:
        start, end = first, last
        initials = _INITIALS.search(text, max(0, start - _REACH), start)
        if initials:
            start = initials.start()
        onward = _ONWARD.match(text, end)
        if onward:
            end = onward.end()
        if made and (
            start <= made[-1][1]
            or _BETWEEN.fullmatch(text, made[-1][1], start)
            or _POINT.fullmatch(text, made[-1][1], start)
        ):
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def _scored(words: Words, learnt: Model) -> tuple[Words, list[float]]:
    """The words that are left once those are gone that by themselves are no names, and their scores."""
    text, spans, known = words.text, words.spans, learnt.lists.given
    seen: dict[str, float] = {}
    chosen: list[int] = []
    scores: list[float] = []
    for place in words.chosen:
        word = text[slice(*bare(text, *spans[place]))]
        score = seen.get(word)
        if score is None:
            score = seen[word] = _sum(learnt.of_words, of_word(word.lower(), form_of(word, known)))
        if score > NEVER:
            chosen.append(place)
            scores.append(score + _sum(learnt.around, around(words, place, learnt.lists)))
    return replace(words, chosen=chosen), scores


def _sum(tables: Sequence[Mapping[str, float]], clues: Sequence[str]) -> float:
    total = 0.0
    for table, clue in zip(tables, clues, strict=True):
        weight = table.get(clue)
        if weight is not None:
            total += weight
    return total


def _probabilities(words: Words, scores: Sequence[float], learnt: Model) -> list[float]:
    """For each chosen word the probability that it is part of a name."""
    pairs = learnt.pairs
    tied = [BONDS.index(bond) for bond in bonds(words)]
    made: list[float] = []
    start = 0
    count = len(scores)
    while start < count:
        end = start + 1
        while end < count and tied[end]:
            end += 1
        made += _chain(scores[start:end], [pairs[bond] for bond in tied[start:end]])
        start = end
    return made


def _chain(scores: Sequence[float], pairs: Sequence[tuple[float, float, float, float]]) -> list[float]:
    exp, log = math.exp, math.log
    odds: list[float] = []
    # Before the first word there is no name.
    before = -_FAR
    for score, (nn, ny, yn, yy) in zip(scores, pairs, strict=True):
        weight = exp(before)
        before = score + log((exp(ny) + weight * exp(yy)) / (exp(nn) + weight * exp(yn)))
        before = max(-_FAR, min(_FAR, before))
        odds.append(before)
    after = 0.0
    for place in range(len(scores) - 1, -1, -1):
        total = max(-_FAR, min(_FAR, odds[place] + after))
        odds[place] = 1 / (1 + exp(-total))
        nn, ny, yn, yy = pairs[place]
        weight = exp(max(-_FAR, min(_FAR, after + scores[place])))
        after = log((exp(yn) + weight * exp(yy)) / (exp(nn) + weight * exp(ny)))
    return odds
