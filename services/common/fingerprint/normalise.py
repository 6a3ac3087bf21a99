"""The words of a system prompt that stay when a version, a date or a name in it changes.

Pure. What changes from release to release or from tenant to tenant is left out whole, so that a prompt is
the same with `v2.1` in it, with `v2.2`, and with neither: whatever has a digit, dates, addresses, names, the
labels that announce them (`version`, `today is`), and sentences that only say who speaks, for whom and when.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.common.fingerprint.vocabulary import (
    ABBREVIATIONS,
    ANSWERS,
    CLOCK,
    DAYS,
    FUNCTION_WORDS,
    GLUE,
    KEPT_CAPITALS,
    LABELS,
    MONTHS,
    PARTICLES,
    PERSONA,
)

MAX_CHARS = 8192
"""Characters that are looked at: of a longer text its head and its tail."""
MIN_WORDS = 3
"""Words that must be left when sentences are dropped whole."""
CAPITALS_TELL_NOTHING = 0.6
"""Share of capitalised words above which none is a name for it: titles, and those who shout."""
MAX_REMARK = 12
"""Tokens in brackets that may be dropped as a remark."""

_GLYPHS = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts that put no blanks between words: each of their characters is a word."""
_TOKEN = re.compile(
    rf"(?:https?://|www\.)[^\s<>\"']+"
    rf"|[{_GLYPHS}]"
    rf"|[^\W{_GLYPHS}]+(?:(?:[-./:+@&'’]|,(?=\d))[^\W{_GLYPHS}]+)*"
    rf"|[^\s\w,\"'“”‘’`]"
)
_LIST = re.compile(r"(?:\b[A-Z][\w/ -]{0,30}, ){3,}[A-Z]")
"""Fields, labels or classes, which are what the work is about, although they are written like names."""
_VALUE_SIGNS = re.compile(r"\d|@|^https?:|^www\.")
_PART = re.compile(r"\w+(?:['’]\w+)*|[.:]")
_ENDS = frozenset(".!?;。！？…")
_STARTS = frozenset(":•*|>-–—")
_TITLES = frozenset("#")
_CLOSING = {"(": ")", "[": "]"}
_BRACKETS = frozenset("()[]")

_OPENERS = (FUNCTION_WORDS | LABELS) - ANSWERS
"""Words that begin a sentence where they are capitalised."""

_NEVER_NAMES = FUNCTION_WORDS | ANSWERS | KEPT_CAPITALS | LABELS
"""Words that are no names, however they are written."""

_VALUE = ""
"""Stands for what changes."""


def folded(text: str) -> str:
    """The text with its white space folded."""
    return " ".join(text.split())


def masked_words(text: str) -> list[str]:
    """The lower-case words that stay. White space and punctuation have no influence on them."""
    text = folded(text)
    if len(text) > MAX_CHARS:
        text = f"{text[: MAX_CHARS // 2]} {text[-MAX_CHARS // 2 :]}"
    text = _LIST.sub(lambda match: match[0].lower(), text)
    tokens = _without_remarks(_without_dates(_tokens(text)))
    names = _names(tokens)
    everything: list[str] = []
    kept: list[str] = []
    for sentence in _sentences(tokens):
        words, changes = _stay(sentence, names)
        everything += words
        if not (changes and PERSONA.issuperset(words)):
            kept += words
    return kept if len(kept) >= MIN_WORDS else everything


def _tokens(text: str) -> list[str]:
    """Words, signs, and a value for whatever has a digit or is an address."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        if token.isalpha():
            found.append(token)
        elif _VALUE_SIGNS.search(token):
            found.append(_VALUE)
        elif token.lower() in ABBREVIATIONS:
            found.append(token)
        elif "-" in token and any(_written_like_a_name(part, first=True) for part in token.split("-")):
            found.append(_VALUE)
        else:
            found += _PART.findall(token) or (token,)
    return found


def _without_dates(tokens: list[str]) -> list[str]:
    """The tokens with a value for the names of days and months, and for what stands between two numbers."""
    for words in (MONTHS, CLOCK):
        for at, token in enumerate(tokens):
            if token.lower() in words and _VALUE in (*tokens[max(0, at - 1) : at], *tokens[at + 1 : at + 2]):
                tokens[at] = _VALUE
    for at, token in enumerate(tokens):
        between = 0 < at < len(tokens) - 1 and tokens[at - 1] == tokens[at + 1] == _VALUE
        if token.lower() in DAYS or (between and token not in _ENDS):
            tokens[at] = _VALUE
    return tokens


def _without_remarks(tokens: list[str]) -> list[str]:
    """The tokens without brackets, and without what stands in them if it is a label and a value: `(v2)`."""
    found: list[str] = []
    at = 0
    while at < len(tokens):
        closing = _CLOSING.get(tokens[at])
        end = tokens.index(closing, at, at + MAX_REMARK) if closing in tokens[at : at + MAX_REMARK] else at
        inside = tokens[at + 1 : end]
        if _VALUE in inside and all(_is_sign(item) or item.lower() in PERSONA for item in inside):
            at = end
        elif tokens[at] not in _BRACKETS:
            found.append(tokens[at])
        at += 1
    return found


def _sentences(tokens: list[str]) -> Iterator[list[str]]:
    sentence: list[str] = []
    for at, sign in enumerate(tokens):
        if sign in _ENDS and not (sign == "." and at and tokens[at - 1].lower() in ABBREVIATIONS):
            yield sentence
            sentence = []
            continue
        # A line without a full stop: its break was white space.
        if sign[:1].isupper() and sign.lower() in _OPENERS:
            yield sentence
            sentence = []
        sentence.append(sign)
    yield sentence


def _names(tokens: list[str]) -> frozenset[str]:
    """The lower-case words that are somewhere written like a name."""
    capitals = sum(token[:1].isupper() for token in tokens)
    if capitals > CAPITALS_TELL_NOTHING * sum(not _is_sign(token) for token in tokens):
        return frozenset()
    names: set[str] = set()
    for sentence in _sentences(tokens):
        first, before = True, ""
        for token in sentence:
            if token == _VALUE:
                first = True
            elif _is_sign(token):
                # `Company: Acme` and `# Acme` have names, `Rules: Answer` has none.
                first = (first or (token in _STARTS and before not in LABELS)) and token not in _TITLES
            else:
                before = token.lower()
                if _written_like_a_name(token, first=first):
                    names.add(_base(before))
                first = False
    return frozenset(names - _NEVER_NAMES)


def _stay(sentence: list[str], names: frozenset[str]) -> tuple[list[str], bool]:
    """The words of a sentence that stay, and whether any did not."""
    words: list[str] = []
    changes = False
    # How many words there were after the last value.
    value_at = -1
    for item in sentence:
        if item == _VALUE or (_base(item.lower()) in names and item != item.lower()):
            if value_at >= 0 and PARTICLES.issuperset(words[value_at:]):
                del words[value_at:]
            start = len(words)
            while start and (words[start - 1] in LABELS or words[start - 1] in GLUE):
                start -= 1
            if not LABELS.isdisjoint(words[start:]):
                del words[start:]
            changes, value_at = True, len(words)
        elif not _is_sign(item):
            words.append(item.lower())
    return words, changes


def _written_like_a_name(word: str, *, first: bool) -> bool:
    return any(map(str.isupper, word[1:] if first else word))


def _base(word: str) -> str:
    return word.partition("'")[0].partition("’")[0]


def _is_sign(item: str) -> bool:
    return item != _VALUE and not any(map(str.isalnum, item))
