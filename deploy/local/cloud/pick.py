"""Takes single values out of a text: numbers, labelled values, names, dates, addresses, sentences.

Each value is taken once while there are others, so that an array or several fields get different ones.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence

from deploy.local.cloud import extract
from deploy.local.cloud.choose import READ_CHARS, Option, can_tell, choose, name_words

MAX_CHARS = 40_000
"""What is read of a text: every field looks through it."""
MAX_TERMS = 64
"""Words that are given for fields that nothing better is found for."""

_NUMBER = re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,10})?(?!\d)")
_QUOTED = re.compile(r"[\"“«]([^\"“”«»\n]{1,80})[\"”»]")
_PROPER = re.compile(
    r"(?<![.!?\n\"“] )(?<!^)(?<!\n)\b[A-Z][\w'’-]*(?: (?:(?:of|de|van|von) )?[A-Z][\w'’-]*)*"
)

FORMATS: dict[str, tuple[re.Pattern[str], str]] = {
    "date-time": (
        re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"),
        "1970-01-01T00:00:00Z",
    ),
    "date": (re.compile(r"\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\b"), "1970-01-01"),
    "time": (re.compile(r"\b(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:Z|[+-]\d\d:\d\d)"), "00:00:00Z"),
    "duration": (re.compile(r"\bP(?:\d+[YMWD])+(?:T(?:\d+[HMS])+)?\b"), "PT0S"),
    "email": (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "nobody@example.org"),
    "hostname": (re.compile(r"\b(?:[a-z0-9-]+\.)+[a-z]{2,}\b"), "example.org"),
    "ipv4": (
        re.compile(r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b"),
        "192.0.2.1",
    ),
    "ipv6": (re.compile(r"\b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b"), "2001:db8::1"),
    "uri": (re.compile(r"https?://[^\s\"'<>)\]]+"), "https://example.org/"),
    "uuid": (
        re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"),
        "00000000-0000-0000-0000-000000000000",
    ),
    "expression": (re.compile(r"[(\d][\d\s.+*/^()-]*[-+*/^][\d\s.+*/^()-]*[\d)]"), ""),
}
"""For each `format` of JSON Schema: how to find one, and one to give when there is none. `expression` is
no format but a common name of a field, as some of the formats are."""

_SAME_AS = {"url": "uri", "link": "uri", "mail": "email", "formula": "expression", "host": "hostname"}
_PROSE_WORDS = (
    "abstract analysis answer body content description explanation message notes rationale reason reasoning"
    " reply response summary text thought translation"
)
_PROSE = frozenset(_PROSE_WORDS.split())
"""Words of names of fields that hold prose."""


class Source:
    """A text to take values from."""

    def __init__(
        self, text: str, noise: random.Random | None = None, temperature: float = 1.0, *, question: str = ""
    ) -> None:
        """Reads the text.

        Args:
            text: where values are taken from.
            noise: for the sentences and the options that are chosen; None for the best ones.
            temperature: how much the noise does.
            question: what options are chosen for; the text itself if left out.
        """
        self.text = text[:MAX_CHARS]
        self._question = question or self.text
        self._stems = Counter(extract.stem(word) for word in extract.words(self.text))
        self._sentences = extract.sentences(self.text)
        self._names = [match[1] for match in _QUOTED.finditer(self.text)]
        self._names += [match[0] for match in _PROPER.finditer(self.text)]
        self._terms = extract.key_terms(self.text, MAX_TERMS)
        self._noise = noise
        self._temperature = temperature
        self._used: set[tuple[float, int]] = set()
        self._taken: set[str] = set()

    def mentions(self, words: str) -> int:
        """How often words of the given ones occur."""
        return sum(self._stems[stem] for stem in extract.stems(words))

    def numbers(self, hint: str, accept: Callable[[float], bool]) -> float | None:
        """The acceptable number next to a word of the hint, or None."""
        found = [(float(match[0].replace(",", "")), match.start()) for match in _NUMBER.finditer(self.text)]
        marks = self._places(hint)
        fresh = [item for item in found if item not in self._used and accept(item[0])]
        again = [item for item in found if accept(item[0])]
        for items in (fresh, again):
            if items:
                best = min(items, key=lambda item: min((abs(item[1] - mark) for mark in marks), default=0))
                self._used.add(best)
                return best[0]
        return None

    def matching(self, pattern: re.Pattern[str]) -> str | None:
        """A part of the text that the whole pattern matches, or None."""
        for piece in self.text.split():
            for form in (piece, piece.strip(".,;:!?\"'()[]")):
                if pattern.search(form):
                    return form
        match = pattern.search(self.text)
        return match[0] if match and pattern.search(match[0]) else None

    def string(self, name: str, description: str) -> str:
        """What the text has for a field: what a label names, a thing of the field's kind, a quotation, a
        name, or the sentence that says most about it."""
        words = name_words(name)
        kind = _SAME_AS.get(words, words)
        if kind in FORMATS and (match := FORMATS[kind][0].search(self.text)):
            return match[0].strip()
        label = re.search(
            rf"\b{re.escape(words)}\b\s*(?:[:=]|\bis\b)\s*([^\n,;.]+)", self.text, re.IGNORECASE
        )
        if words and label and (value := label[1].strip()):
            self._taken.add(value)
            return value
        if not _PROSE & set(words.split()):
            if short := self._first_unused(self._names):
                return short
            topic = extract.stems(f"{words} {description}")
            terms = [term for term in self._terms if extract.stem(term.lower()) not in topic]
            if term := self._first_unused(terms):
                return term
        return self.prose(f"{words} {description}") or self.text.strip()

    def prose(self, about: str) -> str:
        """The most central sentences, with regard to what they should be about."""
        return " ".join(
            extract.central(
                self._sentences,
                focus=extract.stems(about),
                noise=self._noise,
                temperature=self._temperature,
            )
        )

    def choose(self, options: Sequence[Option]) -> int:
        """The index of the option that fits.

        The encoder chooses. Where it has nothing to go by, or the text goes on beyond what it reads and names
        an option, that is the option that is named most.
        """
        told = can_tell(self._question, options)
        if not told or len(self._question) > READ_CHARS:
            times, named = self.rank([option.name for option in options])[0]
            if times or not told:
                return named
        return choose(self._question, options, self._noise, self._temperature)

    def rank(self, options: Sequence[object]) -> list[tuple[int, int]]:
        """(times mentioned, index) of each option, the most mentioned first."""
        scores = [(self.mentions(name_words(str(option))), index) for index, option in enumerate(options)]
        return sorted(scores, key=lambda score: (-score[0], score[1]))

    def _places(self, hint: str) -> list[int]:
        wanted = extract.stems(hint)
        return [m.start() for m in re.finditer(r"\w+", self.text) if extract.stem(m[0].lower()) in wanted]

    def _first_unused(self, values: Sequence[str]) -> str | None:
        for value in values:
            taken = any(value in other for other in self._taken)
            if not taken and value.lower() not in extract.STOP_WORDS:
                self._taken.add(value)
                return value
        return None
