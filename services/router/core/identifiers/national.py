"""Numbers that states give to people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from stdnum import verhoeff
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn

from services.router.core.identifiers.text import AT_START, Span, Text, matches, said_before

_Check = Callable[[str], bool]


def _aadhaar(number: str) -> bool:
    digits = number.replace(" ", "")
    return digits[0] not in "01" and verhoeff.is_valid(digits)


def _shaped(_number: str) -> bool:
    return True


_NATIONAL: tuple[tuple[re.Pattern[str], _Check, re.Pattern[str] | None], ...] = tuple(
    (
        re.compile(shape.replace("^", AT_START)),
        check,
        re.compile(rf"(?:{words})[^\n]{{0,32}}+\Z", re.IGNORECASE) if words else None,
    )
    for shape, check, words in (
        (r"[0-9]^[0-9]{2}-[0-9]{2}-[0-9]{4}(?![\w-])", ssn.is_valid, ""),
        (r"[0-9]^[0-9]{2} ?[0-9]{2} ?[0-9]{4}(?!\w)", ssn.is_valid, r"\bssn\b|social security"),
        (
            r"[A-CEGHJ-PR-TW-Z](?<!\w.)[A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D](?!\w)",
            _shaped,
            "",
        ),
        (r"[0-9]^[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{4}(?![\w-])", nhs.is_valid, r"\bnhs\b"),
        (
            r"[0-9]^[0-9](?: ?[0-9]{3}){3}(?!\w)",
            idnr.is_valid,
            r"steuer|\bidnr|\btin\b|tax id|identifikationsnummer",
        ),
        (r"[12]^ ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}(?!\w)", nir.is_valid, ""),
        (r"[0-9]^[0-9]{7}-?[A-HJ-NP-TV-Z](?!\w)", dni.is_valid, ""),
        (r"[XYZ](?<!\w.)-?[0-9]{7}-?[A-HJ-NP-TV-Z](?!\w)", nie.is_valid, ""),
        (
            r"[A-Z](?<!\w.)[A-Z]{5}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z](?!\w)",
            codicefiscale.is_valid,
            "",
        ),
        (r"[0-9]^[0-9]{8}(?!\w)", bsn.is_valid, r"\bbsn\b|burgerservice|sofinummer"),
        (r"[0-9]^[0-9]{10}(?!\w)", pesel.is_valid, ""),
        (r"[0-9]^[0-9]{5}(?:[0-9]{2})?[-+][0-9]{4}(?![\w-])", personnummer.is_valid, ""),
        (r"[0-9]^[0-9]{5}[-+A-FU-Y][0-9]{3}[0-9A-Y](?!\w)", hetu.is_valid, ""),
        (r"[0-9]^[0-9]{2}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}(?!\w)", cpf.is_valid, ""),
        (r"[2-9]^[0-9]{3} [0-9]{4} [0-9]{4}(?![\w-]| [0-9]{4})", _aadhaar, ""),
        (r"[2-9]^[0-9]{11}(?!\w)", _aadhaar, r"aadh?aa?r"),
    )
)
"""Shape, what its check digits must fulfil, and the words without which so plain a shape says nothing: United
States, United Kingdom (insurance, health), Germany, France, Spain, Italy, Netherlands, Poland, Sweden,
Finland, Brazil, India."""


def national_ids(text: Text) -> Iterator[Span]:
    """Numbers that a state gives a person; those of the countries in `_NATIONAL`."""
    for shape, check, words in _NATIONAL:
        for match in matches(shape, text):
            if (words is None or said_before(words, text.plain, match.start())) and check(match.group()):
                yield match.span()
