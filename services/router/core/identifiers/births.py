"""Dates of birth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.router.core.identifiers.text import Span, Text, matches, said_before

_MONTH = (
    r"(?:jan|feb|fév|mar|mär|apr|avr|abr|may|mai|mag|maj|jun|jui|giu|jul|lug|aug|aoû|ago|sep|set|oct|okt|ott|out"
    r"|nov|dec|dez|déc|dic)[^\W\d_]{0,8}\.?"
)
DATE = re.compile(
    rf"[0-9](?<!\w.)(?:[0-9]{{3}}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,2}}"
    rf"|[0-9]?[-/.] ?[0-9]{{1,2}}[-/.] ?(?:[0-9]{{4}}|[0-9]{{2}})"
    rf"|[0-9]?(?:st|nd|rd|th|\.|er|º)? (?:of |de )?{_MONTH},? (?:de )?[0-9]{{4}}"
    rf"|[0-9]?(?:st|nd|rd|th)?,? [0-9]{{4}})(?!\w)",
    re.IGNORECASE,
)
_MONTH_BEFORE = re.compile(rf"\b{_MONTH} \Z", re.IGNORECASE)
_DAY_AND_YEAR = re.compile(r"[0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}")
_BORN = re.compile(
    r"(?:\bborn\b|birth|\bd\.?o\.?b\b|geboren|geburt|\bgeb\.|\bn[ée]e? le\b|naissance|nacid[oa]|nacimiento"
    r"|\bnat[oa] il\b|nascita|nascid[oa]|nascimento|geboortedatum|\bfødt\b|\bfödd\b|syntym)[^\n]{0,32}+\Z",
    re.IGNORECASE,
)


def birth_dates(text: Text) -> Iterator[Span]:
    """Dates before which a word says that somebody was born then."""
    for match in matches(DATE, text):
        start = match.start()
        if not said_before(_BORN, text.plain, start):
            continue
        if _DAY_AND_YEAR.fullmatch(match.group()):
            month = _MONTH_BEFORE.search(text.plain, max(0, start - 16), start)
            if month is None:
                continue
            start = month.start()
        yield start, match.end()
