"""Names for proposals: the words that tell a group's texts from all others.

Pure. A name must not carry personal data, so no word with a digit, none that is anywhere written like a name,
and none that only a few of the group's texts have.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence

from services.common.fingerprint.normalise import masked_words
from services.common.fingerprint.vocabulary import CLOCK, DAYS, KEPT_CAPITALS, MONTHS, PERSONA
from services.common.seen import Seen

WORDS = 3
"""Words of a name."""
LEAST_SHARE = 0.25
"""Share of a group's texts that must have a word. What a quarter of them has is nobody's own name."""
LEAST_SCORE = 0.2
"""Score of a word that is worth a place: one of all texts here and of most elsewhere has less."""
LEAST_TEXTS = 4
MAX_CHARS = 2_000
"""Characters of a text that are looked at."""
MAX_NAME = 63
"""Signs of a workload's name, as the contract says."""

_WORD = re.compile(r"[a-z]{3,20}")
_INSIDE = re.compile(r"[\w,;)\"'’]\s+([A-Z]\w*)")
"""A capitalised word that does not begin a sentence."""
_SAY_NOTHING = PERSONA | CLOCK | DAYS | MONTHS


def telling_words(texts: Sequence[Sequence[Seen]]) -> list[list[str]]:
    """The most telling words of each group of requests, at most three, as they follow each other in them.

    A word's score is its part of the divergence between the group and the others (Tomokiyo and Hurst, "A
    language model approach to keyphrase extraction", 2003), over the texts that have it.
    """
    words = [[_words(seen) for seen in group] for group in texts]
    counts = [Counter(word for text in group for word in set(text)) for group in words]
    everywhere: Counter[str] = sum(counts, Counter())
    total = sum(map(len, words))
    capitals = {name for group in texts for seen in group for name in _capitals(seen)} - KEPT_CAPITALS
    found = []
    for group, own in zip(words, counts, strict=True):
        inside, outside = len(group), total - len(group)
        scores: dict[str, float] = {}
        for word, count in own.items():
            if count < max(LEAST_TEXTS, LEAST_SHARE * inside) or word in capitals:
                continue
            here = count / inside
            there = (everywhere[word] - count + 0.5) / (outside + 1)
            scores[word] = here * math.log(here / there)
        best = sorted(
            (word for word in scores if scores[word] >= LEAST_SCORE), key=lambda word: (-scores[word], word)
        )
        places = {word: at for text in group[::-1] for at, word in reversed(list(enumerate(text)))}
        found.append(sorted(best[:WORDS], key=lambda word: places[word]))
    return found


def unique(words: Sequence[str], taken: Collection[str]) -> str:
    """A name of lower-case words joined by hyphens that nobody has."""
    name = "-".join(words)[: MAX_NAME - 4].strip("-")
    number = 1
    while (candidate := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return candidate


def numbered(words: Sequence[str], taken: Collection[str]) -> str:
    """The same with a number in any case, for words that tell little."""
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower())[: MAX_NAME - 4].strip("-")
    number = 1
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def words_of_tools(tool_names: Sequence[str]) -> list[str]:
    """The words of the first tool's name."""
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", tool_names[0]) if tool_names else ""
    return [word for word in re.findall(r"[a-z]+", split.lower()) if _WORD.fullmatch(word)][:WORDS]


def _words(seen: Seen) -> list[str]:
    texts = (seen.system_prompt, *seen.turns)
    return [
        word
        for text in texts
        for word in masked_words(text[:MAX_CHARS])
        if _WORD.fullmatch(word) and word not in _SAY_NOTHING
    ]


def _capitals(seen: Seen) -> set[str]:
    return {
        name.lower()
        for text in (seen.system_prompt, *seen.turns)
        for name in _INSIDE.findall(text[:MAX_CHARS])
    }
