"""The language of a text, or none where it does not say."""

from __future__ import annotations

import pytest

from services.shadow.adapters.language import MAX_CHARS, Language

LANGUAGE = Language()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Please summarise the following ticket for me.", "en"),
        ("Bitte fasse das folgende Ticket für mich zusammen.", "de"),
        ("Résume le ticket suivant pour moi, s'il te plaît.", "fr"),
        ("次のチケットを要約してください。", "ja"),
        ("hello", ""),
        ("12345 678 / 90", ""),
        ("", ""),
        ("\ud800" * 40, ""),
        ("Das ist ein Satz. " * (MAX_CHARS // 10) + "This is one too. " * 10_000, "de"),
    ],
)
def test_the_language_of_a_text(text: str, code: str) -> None:
    assert LANGUAGE.of(text) == code
