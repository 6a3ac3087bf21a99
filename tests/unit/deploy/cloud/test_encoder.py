"""The encoder as its publishers run it, and that nobody waits for it who asks for no choice."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.cloud import encoder, listed
from deploy.local.cloud.choose import Option, draw

PUBLISHED = {
    "This is an example sentence": [0.0677, 0.0635, 0.0487, 0.0793, 0.0374],
    "Each sentence is converted": [0.0864, 0.1028, 0.0054, 0.0020, -0.0100],
}
"""The first values that sentence-transformers gives for the sentences on the model's own page."""


@pytest.mark.parametrize(("text", "expected"), PUBLISHED.items())
def test_vectors_are_those_of_the_published_model(text: str, expected: list[float]) -> None:
    assert encoder.embed(text)[:5].tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("text", ["", " ", "😀", "word " * 1000, "\ud800", "日本語のテキスト"])
def test_any_text_has_a_vector_of_length_one(text: str) -> None:
    vector = encoder.embed(text)
    assert vector.shape == (encoder.DIMENSIONS,)
    assert float(vector @ vector) == pytest.approx(1, abs=1e-5)


def test_texts_of_like_meaning_are_near() -> None:
    question, like, other = map(
        encoder.embed, ("My parcel is late", "The delivery has not come", "I like jazz")
    )
    assert question @ like > question @ other + 0.2


def test_a_chat_without_a_choice_does_not_load_it() -> None:
    program = """
import asyncio, sys
import deploy.local.cloud.__main__
from deploy.local.cloud.ask import Ask, Turn
from deploy.local.cloud.cache import PrefixCache
from deploy.local.cloud.generate import Generator
ask = Ask("stand-in-mini", (Turn("system", "You are kind."), Turn("user", "Who are you?")))
answers = asyncio.run(Generator(PrefixCache()).answers(ask))
print("stand-in" in answers[0].text, "numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


@given(SCORES, st.integers(0, 99), st.floats(0, 2))
def test_what_is_drawn_is_one_of_them(scores: list[float], seed: int, temperature: float) -> None:
    assert 0 <= draw(scores, random.Random(seed), temperature) < len(scores)
    assert scores[draw(scores, None, temperature)] == max(scores)
    assert scores[draw(scores, random.Random(seed), 0)] == max(scores)


def test_draws_follow_the_softmax() -> None:
    noise = random.Random(7)
    drawn = [draw([0.0, 1.0], noise, 1.0) for _ in range(10_000)]
    # e / (1 + e) is 0.731; its standard deviation over 10,000 draws is 0.0044.
    assert sum(drawn) / len(drawn) == pytest.approx(0.731, abs=0.02)


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ("Answer with one of: billing, bug, other.", ["billing", "bug", "other"]),
        ("Reply with one of 'yes', 'no' or 'not sure'. Be brief.", ["yes", "no", "not sure"]),
        ("Say either positive or negative.", ["positive", "negative"]),
        ("Choose one of the labels: low; normal; high", ["low", "normal", "high"]),
        ("The categories are: billing | bug | other", ["billing", "bug", "other"]),
        (
            "Pick one of these:\n- refund: money back\n- repair — it is broken\n\nBe brief.",
            ["refund", "repair"],
        ),
        ("Labels:\n1. `spam`\n2. `ham`", ["spam", "ham"]),
        ("You triage tickets.", []),
        ("You are one of the best writers there are.", []),
        ("Answer one of the questions. The answer must be short, precise, and true.", []),
        ("", []),
    ],
)
def test_options_that_instructions_list_are_found(instructions: str, expected: list[str]) -> None:
    assert [option.name for option in listed.options(instructions)] == expected


def test_a_listed_option_keeps_its_description() -> None:
    found = listed.options("Choose one of:\n* refund: money back\n* repair - it is broken")
    assert found == [Option("refund", "money back"), Option("repair", "it is broken")]


@given(st.text())
def test_any_instructions_can_be_read(instructions: str) -> None:
    assert len(listed.options(f"One of: {instructions}")) != 1
