"""What of a word and its neighbours tells whether it is part of a person's name. Pure.

The clues are short texts, so that the weight of each can be read; training and the router make them here. A
word that nobody would take for a name, because it is common and written small, has none: most of a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

WORD = re.compile(r"[^\W\d_]++(?:['’][^\W\d_]++)*+")
"""A word: letters, with apostrophes inside."""
LONGEST_WORD = 32
"""Letters of the longest word that may be a name's."""
_GAP = 12
"""Characters between two words that are looked at, from either end."""
_POSSESSIVE = ("'s", "’s")
MOST = 0.6
"""Share of a text's words that makes it one of capitals."""

WORD_ROLES = ("word", "word_case", "end_2", "end_3", "end_4", "begin_2", "begin_3")
"""The clues that a word gives by itself, in the order of `of_word`."""
AROUND_ROLES = (
    *("form", "gaps", "before", "before_close", "after", "after_close", "before_2", "after_2"),
    *("two_before", "form_before", "form_after", "forms", "names_around"),
)
"""Those that its neighbours give, in the order of `around`."""

BONDS = ("", " ", "-", ".", ",", "\n", "?")
"""What can stand between two words as far as it matters to whether one name goes on; the first is a word that
has no clues."""


@dataclass(frozen=True, slots=True)
class Lists:
    """Words that are known."""

    common: Collection[str]
    """Words that, written small, are no names."""
    given: Mapping[str, str]
    """Names that are known, in small letters, each with its class: `f` given, `l` family, `b` both, in
    capitals where it is an ordinary word too."""


@dataclass(frozen=True, slots=True)
class Words:
    """A text in words."""

    text: str
    spans: list[tuple[int, int]]
    """Where the words are."""
    chosen: list[int]
    """Those that have clues, by their places in `spans`."""
    case: str
    """How the text is written: `a` all in small letters, `A` in capitals, `T` most words with a capital,
    else `x`."""


def words_of(text: str, lists: Lists) -> Words:
    """The words of a text, and which of them could be names."""
    common = lists.common
    spans = [match.span() for match in WORD.finditer(text)]
    written = [text[start:end] for start, end in spans]
    chosen = [
        place
        for place, word in enumerate(written)
        if word not in common and len(word) <= LONGEST_WORD and (len(word) > 1 or word.isupper())
    ]
    return Words(text, spans, chosen, _case(written))


def _case(written: Sequence[str]) -> str:
    # "I" says nothing.
    longer = [word for word in written if len(word) > 1]
    large = sum(word[0].isupper() for word in longer)
    if not large:
        return "a"
    if len(longer) < 4 or large <= MOST * len(longer):
        return "x"
    return "A" if sum(word.isupper() for word in longer) > MOST * len(longer) else "T"


def bare(text: str, start: int, end: int) -> tuple[int, int]:
    """A word's span without a possessive s."""
    return (start, end - 2) if text[end - 2 : end] in _POSSESSIVE else (start, end)


def bonds(words: Words) -> list[str]:
    """What ties each chosen word to the chosen one before it: one of BONDS."""
    tied: list[str] = []
    last = -2
    for place in words.chosen:
        if place != last + 1:
            tied.append("")
        else:
            tied.append(_bond(words.text[words.spans[last][1] : words.spans[place][0]][:_GAP]))
        last = place
    return tied


def _bond(gap: str) -> str:
    plain = gap.strip(" \t")
    if not plain:
        return " "
    if "\n" in plain:
        return "\n"
    return plain if plain in ("-", ".", ",") else "?"


def of_word(word: str, form: str) -> tuple[str, ...]:
    """The clues that a word in small letters gives by itself; `form` as `form_of` has it."""
    shape = form[0]
    return (
        word,
        shape + word,
        word[-2:] + shape,
        word[-3:] + shape,
        word[-4:] + shape,
        word[:2] + shape,
        word[:3] + shape,
    )


def around(words: Words, place: int, lists: Lists) -> tuple[str, ...]:
    """The clues that a word's neighbours give."""
    text, spans, known = words.text, words.spans, lists.given
    last = len(spans) - 1
    start, end = bare(text, *spans[place])
    own = form_of(text[start:end], known)
    shape = own[0]
    left = text[max(spans[place - 1][1] if place else 0, start - _GAP) : start]
    right = text[end : min(spans[place + 1][0] if place < last else len(text), end + _GAP)]
    previous = text[slice(*spans[place - 1])][:LONGEST_WORD] if place else ""
    following = text[slice(*spans[place + 1])][:LONGEST_WORD] if place < last else ""
    form_left = form_of(previous, known) if previous else "$"
    form_right = form_of(following, known) if following else "$"
    previous, following = previous.lower() or "^", following.lower() or "$"
    second = text[slice(*spans[place - 2])][:LONGEST_WORD].lower() if place > 1 else "^"
    before, opens = _gap_before(left, place == 0)
    after = _gap_after(right)
    if opens and before == "." and form_left[0] == "I":
        opens, before = False, "I"
    if before not in {" ", "I"}:
        form_left = before + form_left[0]
    if after != " ":
        form_right = after + form_right[0]
    sign = "^" if opens else ""
    return (
        own + sign + words.case,
        before + after + shape + sign,
        previous,
        previous + before + own,
        following,
        following + after + own,
        second,
        text[slice(*spans[place + 2])][:LONGEST_WORD].lower() if place + 1 < last else "$",
        second + " " + previous + before,
        form_left + " " + own + words.case,
        own + " " + form_right + words.case,
        form_left + " " + own + sign + " " + form_right,
        previous + before + shape + after + following,
    )


def form_of(word: str, known: Mapping[str, str]) -> str:
    """How a word is written, and its class in the lists."""
    if word[-2:] in _POSSESSIVE:
        word = word[:-2]
    if word.islower():
        shape = "a"
    elif len(word) == 1:
        shape = "I"
    elif word.isupper():
        shape = "A"
    elif word[0].isupper() and word[1:].islower():
        shape = "C"
    elif word.istitle() or word[0].isupper():
        shape = "M"
    else:
        shape = "?"
    return shape + known.get(word.lower(), "-")


def _gap_before(gap: str, first: bool) -> tuple[str, bool]:
    """The sign before a word, and whether a sentence may begin there."""
    plain = gap.rstrip(" \t")
    if not plain:
        return " ", first
    sign = plain[-1]
    if sign.isdigit():
        return "0", False
    if sign in "-/@#_&+='’":
        return sign, first
    return sign, sign not in ",;"


def _gap_after(gap: str) -> str:
    plain = gap.lstrip(" \t")
    if not plain:
        return " "
    return "0" if plain[0].isdigit() else plain[0]
