"""Numbers of bank accounts and cards."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import luhn

from services.router.core.identifiers.text import AT_START, Span, Text, matches, word_before

_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28"
    " EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26"
    " IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28"
    " NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25"
    " SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
IBAN_LENGTHS = {item[:2]: int(item[2:]) for item in _LENGTHS.split()}
"""Characters of an IBAN by country, as SWIFT's registry has them."""

_IBAN_HEAD = re.compile(r"[0-9]{2}(?<=[A-Za-z]{2}[0-9]{2})")
_IBAN_BODY = re.compile(r"(?:[ -]?[A-Za-z0-9]){11,32}+")


def ibans(text: Text) -> Iterator[Span]:
    """International bank account numbers whose check digits are right."""
    for head in matches(_IBAN_HEAD, text):
        start = head.start() - 2
        length = IBAN_LENGTHS.get(text.plain[start : start + 2].upper())
        body = (
            _IBAN_BODY.match(text.plain, head.end())
            if length and not word_before(text.plain, start)
            else None
        )
        if length is None or body is None:
            continue
        end = _end_after(text.plain, start, length)
        if end is not None and end <= body.end() and _iban_is_right(text.plain[start:end]):
            yield start, end


def _end_after(text: str, start: int, count: int) -> int | None:
    """Where `count` letters and digits from `start` end, if a word ends there too."""
    for end in range(start, min(len(text), start + 2 * count)):
        if text[end].isalnum():
            count -= 1
            if not count:
                return None if text[end + 1 : end + 2].isalnum() else end + 1
    return None


def _iban_is_right(text: str) -> bool:
    compact = text.replace(" ", "").replace("-", "").upper()
    return int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1


_CARD = re.compile(
    rf"[0-9]{AT_START}(?:[0-9]{{11,18}}+(?![0-9])"
    r"|[0-9]{3}([ .-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?![0-9])"
    r"|[0-9]{3}([ .-])[0-9]{6}\2[0-9]{4,5}(?![0-9]))"
)
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|3[47]\d{13}|3[0689]\d{12,17}|35\d{14,17}|5[1-5]\d{14}|(?:1800|2131)\d{11}"
    r"|(?:50|5[6-9]|6\d)\d{10,17}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
)


def cards(text: Text) -> Iterator[Span]:
    """Card numbers: of an issuer's range, grouped as on cards or not at all, with a right check digit."""
    for match in matches(_CARD, text):
        digits = re.sub(r"\D", "", match.group())
        if _ISSUERS.fullmatch(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield match.span()
