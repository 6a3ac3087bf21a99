"""Telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.router.core.identifiers.births import DATE
from services.router.core.identifiers.text import Span, Text, matches, said_before

_PHONE = re.compile(
    r"[+(0-9](?<![\w+][+(0-9])(?<![0-9][.,][+(0-9])(?:[ ().\-/]{0,3}+[0-9]){6,15}+"
    r"(?: ?(?:x|ext\.?) ?[0-9]{1,5})?+(?!\w|[.,/-][0-9])"
)
_INTERNATIONAL = re.compile(r"\+[1-9]|00[1-9]|\(\+[1-9]")
_TRUNK = re.compile(r"\(?0[1-9]")
_NORTH_AMERICAN = re.compile(r"(?:1[ .-])?\(?[2-9][0-9]{2}(?:\) ?|[ .-])[2-9][0-9]{2}[ .-][0-9]{4}")
_CALLED = re.compile(
    r"(?<![^\W_])(?:phone|tel|telephone|mobile|cell|cellphone|call|calling|fax|whatsapp|sms|text me|ring|dial"
    r"|desk|office|reach|contact|answering|telefon|handy|rufnummer|mobil|t[eé]l[eé]phone|tel[eé]fono|m[oó]vil"
    r"|celular|telefone|telefono|cellulare|telefoon|puhelin)(?:[_ ]?(?:number|nummer|no|nr))?(?![^\W_])"
    r"[^0-9]{0,32}+\Z",
    re.IGNORECASE,
)
_CALLED_AFTER = re.compile(r"[ -]{1,2}(?:fax|mobile|office|home|work|cell)\b", re.IGNORECASE)


def phones(text: Text) -> Iterator[Span]:
    """Telephone numbers: international, with a trunk's 0 or in North America's groups; others where a word
    says that it is one."""
    for match in matches(_PHONE, text):
        start, end = match.span()
        number = match.group()
        digits = sum(map(str.isdigit, number))
        if digits < 7 or (DATE.match(number) and ("/" in number or DATE.fullmatch(number))):
            continue
        if (
            _is_phone(number, digits)
            or said_before(_CALLED, text.plain, start)
            or _CALLED_AFTER.match(text.plain, end)
        ):
            yield start, end


def _is_phone(number: str, digits: int) -> bool:
    if _INTERNATIONAL.match(number):
        # Serial numbers begin with zeros too.
        return digits >= 8 and (number[0] != "0" or not number.isdigit())
    if _NORTH_AMERICAN.match(number):
        return digits in (10, 11) or "x" in number
    # Grouped digits that begin with a 0 are dates too.
    return digits >= 9 and len(number) > digits and bool(_TRUNK.match(number)) and not DATE.match(number)
