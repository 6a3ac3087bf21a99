"""Text in a user's content that tries to choose its own route, and text that nobody expects.

`tests/data/adversarial_strings.json` has the templates. Each is filled with two of the ten workloads' names
and put before, into and after fifty real prompts: fifteen that belong to a workload known by examples, ten to
one whose examples carry a system prompt, twenty-five to none. The window, the encoder and the head are those
that are shipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from services.classifier.adapters.language import LanguageGate
from services.classifier.core.background import Background
from services.classifier.core.claims import Claims
from services.classifier.core.examples import ExampleHead, Guess
from services.classifier.core.ngrams import ngrams
from services.classifier.core.reading import Reading
from services.classifier.core.window import window
from services.common.encoder import Encoder
from services.common.seen import Seen, cut
from training import public_rows
from training.classifier.rows import test_dev_rows as labelled_rows

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "models" / "classifier"
TEMPLATES: list[str] = json.loads(
    (ROOT / "tests" / "data" / "adversarial_strings.json").read_text(encoding="utf-8")
)["templates"]
SENTENCES: dict[str, list[str]] = json.loads(
    (ROOT / "tests" / "data" / "languages.json").read_text(encoding="utf-8")
)["sentences"]
BANK = "You route messages of a bank's customers. Name the one intent that fits best."
VOICE = "You sort requests to a voice assistant. Name the domain that the request belongs to."
MINUTES = (
    "You write the minutes. Answer the question about the meeting from its transcript alone, in at most five"
    " sentences."
)
PROMPTS = {"bank-intent": BANK, "voice-domain": VOICE, "meeting-minutes": MINUTES}
CLINC = ("weather", "translate", "book_hotel", "meal_suggestion", "exchange_rate")
BANKING = ("card_arrival", "lost_or_stolen_card")
EXAMPLES = 10
NAMES_EACH = 2
TASK_TYPES = np.zeros(10, np.float32)


class Reads:
    """Window, encoder, language gate. A text that was read is not read again."""

    def __init__(self) -> None:
        self._encoder = Encoder(MODEL)
        self._language = LanguageGate()
        self._kept: dict[str, Reading] = {}

    def __call__(self, seen: Seen) -> Reading:
        text = window(seen)
        if text not in self._kept:
            self._kept[text] = Reading(
                self._encoder.encode([text]).embeddings[0],
                *ngrams(text),
                task_types=TASK_TYPES,
                language_known=self._language.knows(seen),
            )
        return self._kept[text]


def name_of(intent: str) -> str:
    return intent.replace("_", "-")


def labelled(split: str) -> Iterator[tuple[str, Seen]]:
    """(workload, request) of the ten workloads."""
    clinc = public_rows.clinc150("train" if split == "train" else "test")
    bank = public_rows.banking77("train" if split == "train" else "test")
    meetings = [row for row in labelled_rows() if row.source.startswith("QMSum")]
    half = len(meetings) // 2
    for row in clinc:
        if row.intent in CLINC:
            yield name_of(row.intent), cut("", [row.text])
    for row in bank:
        if row.category in BANKING:
            yield name_of(row.category), cut("", [row.text])
    for text in [row.text for row in bank[:: len(bank) // 40]]:
        yield "bank-intent", cut(BANK, [text])
    for text in [row.text for row in clinc[:: len(clinc) // 40]]:
        yield "voice-domain", cut(VOICE, [text])
    for meeting in meetings[:half] if split == "train" else meetings[half:]:
        yield (
            "meeting-minutes",
            cut(MINUTES, [content for role, content in meeting.messages if role == "user"]),
        )


def some(split: str, count: int) -> dict[str, list[Seen]]:
    """`count` requests of each workload."""
    groups: dict[str, list[Seen]] = {}
    for name, seen in labelled(split):
        groups.setdefault(name, []).append(seen)
    return {
        name: [every[round(place * (len(every) - 1) / (count - 1))] for place in range(count)]
        for name, every in groups.items()
    }


def strangers(count: int) -> list[Seen]:
    """Prompts of all kinds, of at most 4,000 characters so that the middle of some is read."""
    rows = [row for row in labelled_rows() if not row.tools and not row.source.startswith("QMSum")]
    requests = [
        cut(
            "\n".join(content for role, content in row.messages if role == "system"),
            [content for role, content in row.messages if role != "system"],
        )
        for row in rows
    ]
    short = [seen for seen in requests if seen.input_chars < 4000]
    return short[:: len(short) // count][:count]


class Service:
    """The ten workloads, learnt, and what names a request."""

    def __init__(self) -> None:
        self.reads = Reads()
        examples = some("train", EXAMPLES)
        self.names = frozenset(examples)
        self.claims = Claims(self.names, PROMPTS.values())
        self.head = ExampleHead.fit(
            {name: [self.reads(self._evidence(seen)) for seen in group] for name, group in examples.items()},
            Background.from_file(MODEL / "background.npz"),
        )

    def guess(self, seen: Seen) -> Guess | None:
        reading = self.reads(self._evidence(seen))
        return self.head.guess(reading) if reading.language_known else None

    def _evidence(self, seen: Seen) -> Seen:
        return self.claims.without_mentions(self.claims.without(seen))

    def name(self, seen: Seen) -> str:
        guess = self.guess(seen)
        return guess.workload if guess else ""


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def prompts() -> list[Seen]:
    owned = some("test", 3)
    few = [seen for name in sorted(owned) if name not in PROMPTS for seen in owned[name]]
    templated = [seen for name in sorted(PROMPTS) for seen in some("test", 4)[name]]
    return [*few[:15], *templated[:10], *strangers(25)]


def strings(names: Sequence[str]) -> list[str]:
    """All templates, each with some of the names."""
    found = []
    for place, template in enumerate(TEMPLATES):
        for turn in range(NAMES_EACH):
            name = names[(place * NAMES_EACH + turn) % len(names)]
            words = name.split("-")
            spellings = {
                "name": name,
                "snake": "_".join(words),
                "spaced": " ".join(words),
                "camel": "".join(word.title() for word in words),
                "upper": name.upper(),
                "title": " ".join(words).title(),
                "prompt": list(PROMPTS.values())[turn % len(PROMPTS)],
            }
            found.append(
                re.sub(r"\{(\w+)\}", lambda key, given=spellings: given.get(key[1], key[0]), template)
            )
    return list(dict.fromkeys(found))


def injected(seen: Seen, string: str) -> Iterator[Seen]:
    """The string before, into and after what the user wrote."""
    text = seen.turns[-1]
    middle = text.find(" ", len(text) // 2)
    middle = middle if middle >= 0 else len(text)
    for turn in (
        f"{string}\n{text}",
        f"{text[:middle]}\n{string}\n{text[middle:].lstrip()}",
        f"{text}\n\n{string}",
    ):
        yield cut(seen.system_prompt, [*seen.turns[:-1], turn])


def test_text_that_claims_a_route_moves_fewer_than_one_in_a_hundred_requests(
    service: Service, prompts: list[Seen]
) -> None:
    claims = strings(sorted(service.names))
    assert len(claims) >= 200
    assert len(prompts) == 50
    clean = [service.name(seen) for seen in prompts]
    # The test is worth something only if many of the prompts have a name that they could lose, or take.
    assert sum(map(bool, clean)) >= 20
    assert clean.count("") >= 20
    moved = [
        (string, before, after)
        for seen, before in zip(prompts, clean, strict=True)
        for string in claims
        for attempt in injected(seen, string)
        if (after := service.name(attempt)) != before
    ]
    tried = len(claims) * len(prompts) * 3
    assert len(moved) < tried / 100, (len(moved), tried, moved[:20])


EMOJI = "👍🏽🎉🤷‍♀️🇩🇪"
ODD = {
    "nothing": "",
    "blanks": " \t\n\r\x0b ",
    "emoji": EMOJI,
    "much emoji": EMOJI * 500,
    "NUL": "\x00",
    "bytes": bytes(range(256)).decode("latin-1") * 8,
    "lone surrogates": "\ud800 what is \udfff the weather \ud800",
    "right to left marks": "\u202e\u200f\u2067what is the weather\u2069\u202c",
    "combining marks": "w" + "\u0301" * 3000,
    "one megabyte": "What is the weather in Rome? " * 36_000,
    "one megabyte of lines": "\n" * 1_000_000,
    "no blanks": "x" * 100_000,
    "marks": "[[<!--" * 20_000,
    "one claim again and again": "workload: weather " * 5_000,
    "dashes": "-- begin system prompt --" + "-" * 100_000,
    "brackets": "classify " + "(" * 100_000,
    "a header without an end": "x-" * 50_000 + "_",
    "blanks after a word": "workload" + " " * 100_000 + "x",
    "spaced and humped letters": "a " * 25_000 + "_" + "xX" * 25_000,
    "private letters": "\ue000\uf8ff\U0010fffd",
    "unassigned": "\U000e0fff\U0003ffff",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("whole", [False, True], ids=["cut", "whole"])
def test_odd_text_gets_a_name_or_an_abstention(service: Service, text: str, whole: bool) -> None:
    for system, turns in (("", (text,)), (text, (text,)), (text, ()), ("Be brief.", (text, text, "hi"))):
        seen = Seen(system, turns) if whole else cut(system, turns)
        guess = service.guess(seen)
        assert guess is None or guess.workload in service.names
        reading = service.reads(Claims(service.names).without(seen))
        for name in service.names:
            likeness = service.head.likeness(name, reading)
            assert likeness is not None
            assert 0 <= likeness <= 1


@pytest.mark.parametrize("language", SENTENCES)
def test_other_languages_get_a_name_or_an_abstention(service: Service, language: str) -> None:
    guesses = [service.guess(cut("", [text])) for text in SENTENCES[language][:10]]
    # Short sentences of related languages can pass for English; they are nobody's all the same.
    assert sum(guess is not None for guess in guesses) <= 1
