"""Parts of postal addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.router.core.identifiers.text import Span, Text, matches

_SUFFIX = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Courts|Ct|Way|Square|Place|Pl|Terrace"
    r"|Crescent|Close|Circle|Cir|Parkway|Pkwy|Highway|Hwy|Trail|Grove|Gardens|Row|Mews|Quay)"
)
_HOUSE_FIRST = re.compile(
    r"[0-9](?<![\w.,/-].)[0-9]{0,4}[A-Za-z]?(?:,? (?:bis|ter))? "
    rf"(?:(?:[A-ZÀ-Þ0-9][\w'.-]{{0,24}}+ ){{1,4}}?(?:{_SUFFIX}|{_SUFFIX.upper()})\b\.?"
    r"|(?:[^\W\d_][\w'.-]{0,24}+ ){1,3}?(?:street|avenue|road|lane|boulevard)\b"
    r"|(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Pp]lace|[Cc]hemin|[Ii]mpasse|[Aa]llée|[Qq]uai|[Cc]ours)"
    r"(?: [^\W\d_][\w'’-]{0,24}+){1,4})"
)
_HOUSE = re.compile(r"[0-9](?<![\w.,/-].)[0-9]{0,4}[A-Za-z]?(?![\w%]|[.,:][0-9])")
_STREET_ENDS = (
    *(
        "straße",
        "strasse",
        "str.",
        "weg",
        "platz",
        "allee",
        "gasse",
        "gatan",
        "vägen",
        "gata",
        "katu",
        "kuja",
    ),
    *("vej", "veien", "gade", "straat", "laan", "plein", "antie", "entie", "intie"),
)
_STREET_STARTS = frozenset(
    (
        "calle",
        "via",
        "rua",
        "rúa",
        "avenida",
        "av.",
        "piazza",
        "corso",
        "plaza",
        "praça",
        "ul.",
        "ulica",
        "rue",
    )
)
_NUMBER_SIGN = frozenset(("n", "nº", "n°", "no.", "nr.", "č.", "unit"))
_BOX_BEFORE = re.compile(
    r"\bP\.? ?O\.? ?Box \Z|\bPostfach \Z|\b(?:Apt|Suite|Apartment|Flat)\.? \Z"
    r"|\b(?:PSC|CMR|Unit) [0-9]{1,5},? Box \Z|\b[ADF]PO,? A[AEP] \Z",
    re.IGNORECASE,
)
_ZIP_BEFORE = re.compile(
    r",\s{1,2}[A-Z]{2}\s{1,2}\Z|\b(?:zip|post(?:al)?)[ -]?code\b\W{1,3}(?:is )?\Z", re.IGNORECASE
)
_ZIP = re.compile(r"[0-9](?<!\w.)[0-9]{4}(?:-[0-9]{4})?(?!\w)")
_POSTCODE = re.compile(r"[A-Z](?<!\w.)[A-Z]?[0-9][A-Z0-9]? [0-9][ABD-HJLNP-UW-Z]{2}(?!\w)")


def addresses(text: Text) -> Iterator[Span]:
    """Parts of postal addresses: a house and its street, a box, an American ZIP or a British postcode."""
    for match in matches(_HOUSE_FIRST, text):
        yield match.span()
    for match in matches(_HOUSE, text):
        before = _street_before(text.plain, match.start())
        if before is not None:
            yield before, match.end()
    for match in matches(_ZIP, text):
        if _ZIP_BEFORE.search(text.plain, max(0, match.start() - 24), match.start()):
            yield match.span()
    for match in matches(_POSTCODE, text):
        yield match.span()


def _street_before(text: str, start: int) -> int | None:
    """Where the street begins whose house has the number at `start`; None if none stands before it."""
    lowest = max(0, start - 80)
    if (
        start == 0
        or text[start - 1] not in " ,\n"
        or not (text[start - 2 : start - 1].isalpha() or text[start - 2 : start - 1] in ".,º°")
    ):
        return None
    box = _BOX_BEFORE.search(text, max(0, start - 24), start)
    if box is not None:
        return box.start()
    words = text[lowest:start].rstrip(" ,\n").split(" ")
    last = words[-1].rstrip(",").lower()
    if last in _NUMBER_SIGN and len(words) > 1:
        words.pop()
        last = words[-1].rstrip(",").lower()
    if last.endswith(_STREET_ENDS) and len(last) > 4:
        return text.rindex(words[-1].split()[-1], lowest, start)
    for back in range(2, min(6, len(words)) + 1):
        word = words[-back].rpartition("\n")[2]
        # In English, `via` is no street.
        named = word.lower() in _STREET_STARTS and word != "via"
        if named and all(item[:1].isalpha() for item in words[1 - back :]):
            return text.rindex(" ".join(words[1 - back :]), lowest, start) - len(word) - 1
    return None
