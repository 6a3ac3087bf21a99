"""The language gate, on real sentences in forty languages (`tests/data/languages.json`)."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.classifier.adapters.language import LanguageGate
from services.common.seen import Seen, cut
from training import public_rows

SENTENCES: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[3] / "data" / "languages.json").read_text(encoding="utf-8")
)["sentences"]
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, und niemand sieht ihm dabei zu."
GATE = LanguageGate()


def known(*turns: str, system: str = "") -> bool:
    return GATE.knows(cut(system, turns))


def test_nine_in_ten_sentences_of_each_other_language_are_not_known() -> None:
    shares = {name: fmean(not known(text) for text in texts) for name, texts in SENTENCES.items()}
    assert len(shares) == 40
    assert fmean(shares.values()) >= 0.97, shares
    assert min(shares.values()) >= 0.8, shares


def test_nine_in_ten_prompts_of_three_sentences_of_each_other_language_are_not_known() -> None:
    for name, texts in SENTENCES.items():
        prompts = [" ".join(texts[start : start + 3]) for start in range(0, len(texts), 3)]
        assert fmean(not known(prompt) for prompt in prompts) >= 0.9, name


def test_english_requests_are_known() -> None:
    asked = [row.text for row in public_rows.clinc150("val")] + [
        row.text for row in public_rows.banking77("train")[::4]
    ]
    unknown = [text for text in asked if not known(text)]
    assert len(unknown) <= len(asked) / 1000, unknown


@pytest.mark.parametrize(
    "text",
    [
        "hi",
        "thanks!",
        "ok",
        "Why?",
        "Summarize.",
        "🎉🎉 great!",
        "Call John Müller at Deutsche Bank",
        "Meet Søren Kierkegård and Łukasz Żółty in Gdańsk tomorrow",
        "def area(radius):\n    return math.pi * radius ** 2",
        "SELECT name FROM customers WHERE city = 'Köln' ORDER BY name;",
        '#include <stdio.h>\nint main() { printf("hi"); }',
        "What does 你好 mean?",
        f"Translate into English: {GERMAN}",
        f"Translate this into English.\n\n{GERMAN} {GERMAN}",
        f"{GERMAN} {GERMAN}\n\nWhat does this text mean in English?",
        "次の文を英語に。\n\nPlease translate the sentence above into English.",
    ],
)
def test_english_code_names_and_english_about_other_languages_are_known(text: str) -> None:
    assert known(text)


@pytest.mark.parametrize(
    "text",
    [GERMAN, f"Übersetze ins Englische: {GERMAN}", "你好", "Как дела?", "何ですか", f"{GERMAN}\n" * 40],
)
def test_other_languages_are_not_known(text: str) -> None:
    assert not known(text)


@pytest.mark.parametrize(
    "text", ["", "   \n", "👍🏽", "12345", "{}[]();", "\x00\x01\x02", "\ud800", "\u202e\u200f"]
)
def test_what_has_no_letters_is_not_known(text: str) -> None:
    assert not GATE.knows(Seen(turns=(text,)))


def test_an_english_system_prompt_makes_a_request_known() -> None:
    assert known(GERMAN, system="You answer the questions of our customers. Be brief and friendly.")
    assert not known(GERMAN, system="Du beantwortest die Fragen unserer Kunden. Sei kurz und freundlich.")


def test_a_request_without_any_text_is_not_known() -> None:
    assert not GATE.knows(Seen())


@settings(max_examples=200)
@given(st.text(st.characters(codec=None), max_size=300), st.text(max_size=50))
def test_any_text_has_an_answer(turn: str, system: str) -> None:
    assert GATE.knows(Seen(system_prompt=system, turns=(turn,))) in (True, False)
