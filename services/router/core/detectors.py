"""Finds personal data in a text, and puts placeholders in its place. Pure.

Found is what has a shape, and names of people, which a small model tells: see `identifiers/`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.router.core.identifiers import accounts, births, internet, names, national, phones, places
from services.router.core.identifiers.text import Span, Text, numbers_of, text_of


class Kind(StrEnum):
    """What can be found. Where two overlap, the earlier in this list gives its name to both."""

    EMAIL = "email"
    IBAN = "iban"
    NATIONAL_ID = "national_id"
    CARD = "card"
    IP = "ip"
    BIRTH_DATE = "birth_date"
    PHONE = "phone"
    ADDRESS = "address"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Finding:
    """A piece of personal data: what kind, and where in the text."""

    kind: Kind
    start: int
    end: int
    """The first character after it."""


_FINDERS: dict[Kind, Callable[[Text], Iterator[Span]]] = {
    Kind.EMAIL: internet.emails,
    Kind.IBAN: accounts.ibans,
    Kind.CARD: accounts.cards,
    Kind.NATIONAL_ID: national.national_ids,
    Kind.IP: internet.ips,
    Kind.BIRTH_DATE: births.birth_dates,
    Kind.PHONE: phones.phones,
    Kind.ADDRESS: places.addresses,
    Kind.PERSON: names.people,
}
_LONG = frozenset({Kind.IBAN, Kind.NATIONAL_ID, Kind.CARD, Kind.PHONE})
"""Those with six digits at least."""
_ORDER = {kind: place for place, kind in enumerate(Kind)}

_ANYTHING = re.compile(r"[\d@＠]")
"""What every kind but names has at least one of."""


def find(text: str, kinds: Collection[Kind]) -> list[Finding]:
    """The personal data of these kinds in a text, by place, none overlapping another."""
    if Kind.PERSON not in kinds and _ANYTHING.search(text) is None:
        return []
    plain, origins = _plain(text)
    searched = text_of(plain)
    numbers = numbers_of(searched)
    found = [
        (start, end, _ORDER[kind])
        for kind in Kind
        if kind in kinds
        for start, end in _FINDERS[kind](numbers if kind in _LONG else searched)
    ]
    return [
        Finding(kind, start, end) if origins is None else Finding(kind, origins[start], origins[end - 1] + 1)
        for kind, start, end in _merged(found)
    ]


def _merged(found: list[tuple[int, int, int]]) -> Iterator[tuple[Kind, int, int]]:
    # What two kinds share must go whole: cutting one short would leave its rest in the open.
    kinds = tuple(Kind)
    found.sort()
    index = 0
    while index < len(found):
        start, end, best = found[index]
        index += 1
        while index < len(found) and found[index][0] < end:
            end, best = max(end, found[index][1]), min(best, found[index][2])
            index += 1
        yield kinds[best], start, end


# --- one way to write it

_HIDDEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
"""Characters that are not seen."""
_LAST_DIGIT = 0x1FBF9
"""The last character of Unicode 17 that is a decimal digit; dashes and spaces come before."""


def _written_otherwise() -> dict[str, str]:
    same: dict[str, str] = {}
    for code in range(0x80, _LAST_DIGIT + 1):
        sign = chr(code)
        category = unicodedata.category(sign)
        if category == "Nd":
            same[sign] = str(unicodedata.decimal(sign))
        elif category == "Pd" or sign == "\u2212":
            same[sign] = "-"
        elif category == "Zs":
            same[sign] = " "
        elif 0xFF01 <= code <= 0xFF5E:
            same[sign] = chr(code - 0xFEE0)
    return same | dict.fromkeys(_HIDDEN, "")


_SAME = _written_otherwise()
_WRITTEN_OTHERWISE = frozenset(_SAME)
_ASCII = re.compile(r"[\x00-\x7f]+")


def _plain(text: str) -> tuple[str, Sequence[int] | None]:
    """The text with digits, dashes and spaces of all scripts in ASCII and without what is not seen; and for
    each of its characters the place in the text that was given, None if it is the same."""
    if text.isascii():
        return text, None
    present = _WRITTEN_OTHERWISE.intersection(_ASCII.sub("", text))
    if not present:
        return text, None
    plain = text
    for sign in present:
        plain = plain.replace(sign, _SAME[sign])
    if len(plain) == len(text):
        return plain, None
    return plain, [place for place, sign in enumerate(text) if sign not in _HIDDEN]


# --- placeholders

_SEPARATORS = re.compile(r"[\s().\-/]")


class Placeholders:
    """The placeholders of one request: the same value has the same wherever it stands."""

    def __init__(self) -> None:
        self._by_value: dict[tuple[Kind, str], str] = {}
        self._counts: dict[Kind, int] = {}
        self._by_part: dict[str, str | None] = {}
        """The placeholder of the only name so far that has a part; None if two have it."""

    def of(self, kind: Kind, value: str) -> str:
        """The placeholder of a value: `<EMAIL_1>`. Case and separators make no difference. A part of a
        name has that of the whole name if one such name came before it: `Doe` after `Jane Doe`, and no
        `John Doe`."""
        plain = _plain(value)[0].casefold()
        parts = plain.split()
        if kind is Kind.PERSON:
            plain = " ".join(parts)
        elif kind is not Kind.EMAIL:
            plain = _SEPARATORS.sub("", plain)
        found = self._by_value.get((kind, plain))
        if found is None and kind is Kind.PERSON and len(parts) == 1:
            found = self._by_part.get(plain)
        if found is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            found = self._by_value[kind, plain] = f"<{kind.upper()}_{self._counts[kind]}>"
            if kind is Kind.PERSON and len(parts) > 1:
                for part in parts:
                    self._by_part[part] = None if part in self._by_part else found
        return found


def mask(text: str, findings: Iterable[Finding], placeholders: Placeholders) -> str:
    """The text with placeholders in the place of what was found."""
    pieces: list[str] = []
    done = 0
    for finding in findings:
        pieces.append(text[done : finding.start])
        pieces.append(placeholders.of(finding.kind, text[finding.start : finding.end]))
        done = finding.end
    pieces.append(text[done:])
    return "".join(pieces)
