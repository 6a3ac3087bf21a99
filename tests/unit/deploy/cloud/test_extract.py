"""The method: pure functions over text."""

import random

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.cloud import extract, tokens, vectors


@given(st.text())
def test_tokens_put_together_are_the_text(text: str) -> None:
    assert "".join(tokens.split(text)) == text
    assert tokens.count(text) == len(tokens.split(text))


@given(st.text())
def test_every_sentence_is_from_the_text(text: str) -> None:
    single = "".join(text.split())
    assert all("".join(sentence.split()) in single for sentence in extract.sentences(text))


@given(st.lists(st.text(alphabet="abc .", min_size=1), max_size=30), st.integers(1, 50))
def test_the_central_sentences_are_some_of_them_in_order(candidates: list[str], limit: int) -> None:
    taken = extract.central(candidates, max_tokens=limit, noise=random.Random(1))
    rest = iter(candidates)
    assert all(sentence in rest for sentence in taken)
    assert len(taken) <= extract.MAX_SENTENCES
    assert len(taken) <= 1 or sum(tokens.count(sentence) for sentence in taken) <= limit


def test_sentences_are_split_at_their_ends_and_not_within() -> None:
    text = 'It is 3.5 m long. "Really?" she asked. He said e.g. this.\nA line\n\nThe end'
    assert extract.sentences(text) == [
        "It is 3.5 m long.",
        '"Really?" she asked.',
        "He said e.g. this.",
        "A line",
        "The end",
    ]


def test_what_the_text_is_about_is_central(text: str) -> None:
    taken = extract.central(extract.sentences(text))
    assert len(taken) == 3
    assert all("workload" in sentence or "request" in sentence for sentence in taken)


def test_a_question_draws_the_sentences_about_it(text: str) -> None:
    taken = extract.central(extract.sentences(text), focus=extract.stems("What are cats fond of in boxes?"))
    assert "Cats are fond of boxes." in taken


def test_noise_chooses_among_near_ties_and_a_seed_repeats(text: str) -> None:
    def draw(seed: int, temperature: float = 2) -> tuple[str, ...]:
        noise = random.Random(seed)
        return tuple(extract.central(extract.sentences(text), noise=noise, temperature=temperature))

    assert len({draw(seed) for seed in range(20)}) > 1
    assert draw(7) == draw(7)
    assert draw(1, 0) == draw(2, 0) == tuple(extract.central(extract.sentences(text)))


def test_a_sentence_alone_is_given_even_above_the_limit(text: str) -> None:
    assert len(extract.central(extract.sentences(text), max_tokens=1)) == 1


@given(st.text(), st.integers(1, vectors.DIMENSIONS))
def test_vectors_have_length_one(text: str, dimensions: int) -> None:
    vector = vectors.embed(text, dimensions)
    assert len(vector) == dimensions
    assert abs(sum(value * value for value in vector) - 1) < 1e-9


def test_texts_that_share_words_are_near() -> None:
    def near(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(vectors.embed(one), vectors.embed(other), strict=True))

    question = "Where is my parcel?"
    assert near(question, "My parcel has not arrived") > near(question, "Translate into French")
