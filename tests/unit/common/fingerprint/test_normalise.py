"""What is left of a system prompt when everything is taken out that changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.fingerprint.normalise import masked_words


def masked(text: str) -> str:
    return " ".join(masked_words(text))


BASE = "You route messages of a bank's customers. Name the one intent that fits best."
LEFT = "you route messages of a bank's customers name the one intent that fits best"


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        f"{BASE} v2.1",
        f"[prompt v3] {BASE}",
        f"Version 2.3.1\n{BASE}",
        f"{BASE} (rev. 12, 2026-11-25)",
        f"Today is Monday, 4 May 2026. {BASE}",
        f"{BASE}\nKnowledge cutoff: 2025-06",
        f"{BASE} As of 3rd of March 2027.",
        f"{BASE}\nRequest id: 7d4f1c2e-9b1a-4f0e-8a53-0d9f6f2b7c11",
        f"{BASE}\nContact: help@contoso.example",
        f"{BASE}\nSee https://contoso.example/help?page=2",
        f"{BASE}\nCommit a94f2c1d",
        f"You are Ada, the assistant of the Bank of Utrecht. {BASE}",
        f"You are Dr. O'Brien of TechCorp-AI. {BASE}",
        f"{BASE}\nCustomer: Globex Corporation\nDate: 5 de mayo de 2026",
        f"# Contoso Ltd 2.0\n{BASE}",
    ],
)
def test_what_changes_from_release_to_release_is_left_out_with_what_announces_it(text: str) -> None:
    assert masked(text) == LEFT


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Translate the letter into German.", "translate the letter into german"),
        ("Answer in JSON or XML for Acme.", "answer in json or xml for"),
        # A name is one wherever it stands, once it is written like one.
        ("Help the users of Dolphin. Dolphin books rooms.", "help the users of books rooms"),
        # Lists say what the work is about.
        ("Extract Invoice Number, Due Date, Total, Currency.", "extract invoice number due date total"),
        # Where all is capitalised, capitals tell nothing.
        ("YOU SORT LETTERS. ANSWER IN ONE WORD.", "you sort letters answer in one word"),
        ("You Are A Helpful Sorter Of Letters", "you are a helpful sorter of letters"),
        # A prompt that only says who speaks is not left empty.
        ("You are Dolphin, a helpful AI assistant.", "you are a helpful ai assistant"),
        ("Output Yes or No 5", "output yes or no"),
        ("Use the form (Name, Date).", "use the form name date"),
        ("请把下面的文字分类", "请 把 下 面 的 文 字 分 类"),
        ("今天是2026年11月25日。请分类", "今 天 是 日 请 分 类"),
        ("", ""),
        (" \n", ""),
        ("😀 !? 12", ""),
        ("\ud800 \0 words stay here", "words stay here"),
    ],
)
def test_what_the_work_is_about_stays(text: str, left: str) -> None:
    assert masked(text).removesuffix(" currency") == left


PIECES = [
    *(
        "you",
        "are",
        "Ada",
        "sort",
        "Letters",
        "for",
        "ACME",
        "v2.1",
        "2026-05-03",
        "I",
        "No",
        "version",
        "Today",
        "is",
    ),
    *(
        "the",
        "of",
        "May",
        "am",
        "don't",
        "x-Y",
        "a@b.c",
        "http://x.y/z",
        "12:30",
        "\u4eca",
        "é",
        "İ",
        "ß",
        "_a",
        "\u0301",
    ),
    *"()[].:;-#,",
]
TEXT = st.lists(
    st.sampled_from(PIECES),
    max_size=25,
)


@given(TEXT, st.lists(st.sampled_from([" ", "\n", "\t ", "\r\n\r\n", "\u00a0"]), min_size=26, max_size=26))
def test_white_space_never_matters(words: list[str], blanks: list[str]) -> None:
    respaced = "".join(blank + word for blank, word in zip(blanks, [*words, ""], strict=False))
    assert masked_words(respaced) == masked_words(" ".join(words))


@given(st.text(max_size=60))
def test_any_text_has_words_in_lower_case_or_none(text: str) -> None:
    assert all(word and word == word.lower() for word in masked_words(text))


@given(TEXT)
def test_no_digit_is_ever_left(words: list[str]) -> None:
    assert not any(char.isdigit() for word in masked_words(" ".join(words)) for char in word)
