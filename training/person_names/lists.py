"""Makes the lists of known names and of common words.

Names are Faker's (MIT) of all locales that write in Latin letters, and the family and given names of the
census of the United States (public domain, as `names` ships them). Common words are the most frequent ones of
twelve languages (wordfreq, CC BY-SA 4.0), and those that the training texts have in small letters.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from faker.config import AVAILABLE_LOCALES  # type: ignore[import-not-found]
from wordfreq import top_n_list  # type: ignore[import-not-found]

from services.router.core.identifiers.name_clues import WORD, Lists
from training.person_names.sources import Row

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "fi", "nb")
COMMON_OF_EACH = {"en": 20_000}
COMMON_ELSE = 6_000
CENSUS_FAMILY = 25_000
"""Family names of the census, the most frequent first: nine in ten people have one of them."""
OFTEN = 4
"""Times that a word stands in small letters, and is no name, before it counts as an ordinary word."""
_LATIN = re.compile(r"[A-Za-zÀ-ɏḀ-ỿ'’]{2,24}")


def _fold(word: str) -> str:
    return "".join(sign for sign in unicodedata.normalize("NFD", word) if not unicodedata.combining(sign))


def _of_faker() -> tuple[set[str], set[str]]:
    given: set[str] = set()
    family: set[str] = set()
    for locale in sorted(AVAILABLE_LOCALES):
        try:
            provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        except ImportError:
            continue
        for name in dir(provider):
            values = getattr(provider, name)
            if not isinstance(values, tuple | list | dict):
                continue
            if name.startswith("first_name"):
                given |= _words(values)
            elif name.startswith("last_name"):
                family |= _words(values)
    return given, family


def _words(values: Iterable[str]) -> set[str]:
    parts = {part.lower() for value in values for part in re.split(r"[\s-]+", str(value))}
    parts = {part for part in parts if _LATIN.fullmatch(part)}
    return parts | {_fold(part) for part in parts}


def _of_census() -> tuple[set[str], set[str]]:
    folder = Path(importlib.import_module("names").__file__ or "").parent
    read = {
        name: [line.split()[0].lower() for line in (folder / f"dist.{name}").read_text().splitlines()]
        for name in ("male.first", "female.first", "all.last")
    }
    return {*read["male.first"], *read["female.first"]}, set(read["all.last"][:CENSUS_FAMILY])


def made(training: Iterable[Row]) -> Lists:
    """The lists, for these training texts."""
    given, family = _of_faker()
    more_given, more_family = _of_census()
    given |= more_given
    family |= more_family
    small: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for text, spans in training:
        inside = {place for start, end in spans for place in range(start, end)}
        for match in WORD.finditer(text):
            if match.group().islower():
                (named if match.start() in inside else small)[match.group()] += 1
    ordinary = {word for word, count in small.items() if count >= OFTEN and count > 20 * named[word]}
    frequent = {
        word
        for language in LANGUAGES
        for word in top_n_list(language, COMMON_OF_EACH.get(language, COMMON_ELSE))
        if WORD.fullmatch(word)
    }
    classes = {
        word: "b" if word in given and word in family else "f" if word in given else "l"
        for word in given | family
    }
    classes = {word: kind.upper() if word in ordinary else kind for word, kind in classes.items()}
    # A given name is a common word only if the texts have it in small letters: "will", not "david".
    common = {word for word in ordinary | frequent if word in ordinary or word not in given}
    common = {word for word in common if not (named[word] and word not in ordinary)}
    return Lists(frozenset(common), classes)
