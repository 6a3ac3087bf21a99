"""The method: picks the sentences of a text that say most of what the text says.

It is SumBasic (A. Nenkova and L. Vanderwende, "The Impact of Frequency on Summarization", Microsoft
Research MSR-TR-2005-101): a word is as likely as it is frequent in the text; a sentence weighs the mean
likelihood of its words; the heaviest sentence that has the likeliest word is taken, the likelihoods of its
words are squared so that what has been said counts less, and so on. Two things are added: a sentence
that shares words with a question weighs more, and sampling noise picks among the sentences that weigh
nearly the same.

Nothing is learned and nothing is known beyond the text. All functions are pure.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence, Set

from deploy.local.cloud import tokens

MAX_CHARS = 200_000
"""What is read of a text; a longer one would hold up every other request."""
MAX_SENTENCES = 6
"""Longest answer."""
TIE = 0.1
"""At temperature 1, sentences within this share of the heaviest one's weight are as good as it."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[^a-z\s])|(?<=[。！？])|\s*\n\s*")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being below between
both but by can could did do does doing don't down during each few for from further get give had has
have having he her here hers him his how i i'm if in into is it it's its just let like make many may me
might more most much must my no nor not now of off on once one only or other our ours out over own
please same shall she should so some such tell than that that's the their them then there these they
this those through to too under until up us very was we were what what's when where which while who
whom why will with would you your yours
"""

STOP_WORDS = frozenset(_STOP_WORDS.split())
"""English words that carry no topic."""


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, with their white space made single."""
    parts = (" ".join(part.split()) for part in _SENTENCE_END.split(text[:MAX_CHARS]))
    return [part for part in parts if _WORD.search(part)]


def words(text: str) -> list[str]:
    """The words of a text in lower case, without those that carry no topic."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def stem(word: str) -> str:
    """A word without the commonest English endings, so that `forecasts` meets `forecast`."""
    for ending in ("ing", "ies", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(text: str) -> frozenset[str]:
    """The stems of the words of a text, each once."""
    return frozenset(stem(word) for word in words(text))


def key_terms(text: str, most: int = 8) -> list[str]:
    """The words that carry the topic, each once, in the text's spelling and order."""
    found: dict[str, str] = {}
    for word in _WORD.findall(text[:MAX_CHARS]):
        if word.lower() not in STOP_WORDS:
            found.setdefault(word.lower(), word)
    return list(found.values())[:most]


def central(
    candidates: Sequence[str],
    *,
    max_tokens: int | None = None,
    focus: Set[str] = frozenset(),
    noise: random.Random | None = None,
    temperature: float = 1.0,
) -> list[str]:
    """The most central sentences, in the order of the text: a third of them, at most MAX_SENTENCES.

    Args:
        candidates: the sentences of the text.
        max_tokens: where to stop; one sentence is given even if it is longer.
        focus: stems of a question's words; a sentence that has them weighs more.
        noise: picks among sentences of nearly the same weight; None picks the heaviest.
        temperature: how near is nearly.
    """
    bags = [words(sentence) for sentence in candidates]
    counts = Counter(word for bag in bags for word in bag)
    total = counts.total() or 1
    likelihood = {word: times / total for word, times in counts.items()}
    bonus = [1 + len(focus & {stem(word) for word in bag}) if focus else 1 for bag in bags]
    left = set(range(len(candidates)))
    taken: list[int] = []
    used = 0
    while left and len(taken) < max(1, min(MAX_SENTENCES, len(candidates) // 3)):
        index = _heaviest(bags, bonus, likelihood, left, noise, temperature)
        cost = tokens.count(candidates[index])
        if taken and max_tokens is not None and used + cost > max_tokens:
            break
        used += cost
        taken.append(index)
        left.remove(index)
        for word in set(bags[index]):
            likelihood[word] **= 2
    return [candidates[index] for index in sorted(taken)]


def _heaviest(
    bags: Sequence[Sequence[str]],
    bonus: Sequence[int],
    likelihood: dict[str, float],
    left: Set[int],
    noise: random.Random | None,
    temperature: float,
) -> int:
    weight = {
        index: bonus[index] * sum(likelihood[word] for word in bags[index]) / (len(bags[index]) or 1)
        for index in sorted(left)
    }
    present = {word for index in left for word in bags[index]}
    # Without a question; the likeliest word of a long text may be in no sentence that a question is about.
    if present and max(bonus) == 1:
        likeliest = min(present, key=lambda word: (-likelihood[word], word))
        weight = {index: value for index, value in weight.items() if likeliest in bags[index]}
    best = max(weight.values())
    if noise is None or temperature <= 0:
        return next(index for index, value in weight.items() if value == best)
    floor = best * (1 - TIE * temperature)
    return noise.choice([index for index, value in weight.items() if value >= floor])
