"""Makes labelled texts: our sentences, with Faker's names in them."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path

from faker import Faker  # type: ignore[import-not-found]

from training.person_names.sources import Row

SENTENCES = Path(__file__).parent / "sentences.toml"
LOCALES = {
    "en": "en_US en_GB en_IN en_IE en_KE en_PK tr_TR vi_VN id_ID es_MX de_DE pl_PL fr_FR",
    "de": "de_DE de_AT de_CH tr_TR",
    "fr": "fr_FR fr_BE fr_DZ",
    "es": "es_ES es_MX es_AR",
    "it": "it_IT",
    "nl": "nl_NL nl_BE",
    "pl": "pl_PL",
    "pt": "pt_BR pt_PT",
    "sv": "sv_SE",
    "da": "da_DK",
    "fi": "fi_FI",
}
"""Whose names stand in the sentences of a language: English ones are about people from everywhere."""
_HOLE = re.compile(r"\{([nflce])\}")


def rows(each: int, seed: int) -> list[Row]:
    """`each` texts of each sentence's language: one to three sentences, names and places drawn for each."""
    rng = random.Random(seed)
    made: list[Row] = []
    of = tomllib.loads(SENTENCES.read_text(encoding="utf-8"))
    anywhere = of.pop("any")
    for language, sentences in of.items():
        fakers = [Faker(locale) for locale in LOCALES[language].split()]
        for place, fake in enumerate(fakers):
            fake.seed_instance(seed + place)
        for _ in range(each * (4 if language == "en" else 1)):
            fake = rng.choice(fakers)
            drawn = [
                rng.choice(anywhere if rng.random() < 0.2 else sentences) for _ in range(rng.randrange(1, 4))
            ]
            made.append(_filled(rng.choice((" ", "\n")).join(drawn), fake, rng))
    return made


def _filled(template: str, fake: Faker, rng: random.Random) -> Row:
    text, done = "", 0
    spans: list[tuple[int, int]] = []
    for hole in _HOLE.finditer(template):
        text += template[done : hole.start()]
        value = _value(hole[1], fake, rng)
        if hole[1] in "nfl":
            spans.append((len(text), len(text) + len(value)))
        text += value
        done = hole.end()
    return text + template[done:], spans


def _value(hole: str, fake: Faker, rng: random.Random) -> str:
    if hole == "c":
        return str(fake.country() if rng.random() < 0.3 else fake.city())
    if hole == "e":
        return str(fake.email())
    first, last = str(fake.first_name()), str(fake.last_name())
    if hole == "f":
        return first
    if hole == "l":
        return last
    drawn = rng.random()
    if drawn < 0.06:
        return f"{first[0]}. {last}"
    if drawn < 0.1:
        return f"{first} {rng.choice('ABCDEFGHJKLMPRSTW')}. {last}"
    if drawn < 0.14:
        return f"{first} {fake.first_name()} {last}"
    return f"{first} {last}"
