"""A text that is searched, and the search."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Span = tuple[int, int]

MAX_SPAN = 256
"""Characters of the longest identifier: an e-mail address has up to 254."""
CONTEXT = 40
"""Characters before a number in which a word may say what it is."""

AT_START = r"(?<![\w+][0-9])(?<![0-9][.,][0-9])"
"""After a digit: it begins a number, which the last ones of `1.5` and `a1` do not."""


_LEAD = 48
"""Characters before its first digit that an identifier may have: the longest is an IPv6 address."""
_ZONE = re.compile(r"[0-9]++(?:[^0-9]{1,64}+[0-9]++){0,1000}+")
_NUMBER = re.compile(r"(?:[0-9][^0-9]{0,4}+){6}")
"""Six digits that stand close together: fewer have none of the long identifiers."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text to search."""

    plain: str
    zones: Sequence[Span]
    """Where its digits are: most of a text has none, and needs no search."""


def text_of(plain: str) -> Text:
    """The text with its zones."""
    zones = [(max(0, zone.start() - _LEAD), zone.end()) for zone in _ZONE.finditer(plain)]
    return Text(plain, zones)


def numbers_of(text: Text) -> Text:
    """The same, to be searched only where a number has six digits or more."""
    return Text(text.plain, [zone for zone in text.zones if _NUMBER.search(text.plain, *zone)])


def matches(pattern: re.Pattern[str], text: Text) -> Iterator[re.Match[str]]:
    """The matches of a pattern that takes at most MAX_SPAN characters, digits among them. One that two zones
    share comes twice."""
    for start, end in text.zones:
        yield from pattern.finditer(text.plain, start, min(len(text.plain), end + MAX_SPAN))


def word_before(text: str, start: int) -> bool:
    """True if what begins at `start` goes on a word."""
    return start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_")


def said_before(words: re.Pattern[str], text: str, start: int) -> bool:
    """True if such words, which must reach to their end, stand before `start`."""
    return words.search(text, max(0, start - CONTEXT), start) is not None
