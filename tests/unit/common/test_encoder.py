"""The encoder as it is shipped: real weights, real runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.common.encoder import EMBEDDING, MAX_TOKENS, STATE, Encoder

FOLDER = Path(__file__).parents[3] / "models" / "classifier"
LANGUAGES = [
    "Wie wird das Wetter morgen?",
    "Quel temps fera-t-il demain ?",
    "¿Qué tiempo hará mañana?",
    "Che tempo farà domani?",
    "Como estará o tempo amanhã?",
    "Wat voor weer wordt het morgen?",
    "Hur blir vädret i morgon?",
    "Hvordan bliver vejret i morgen?",
    "Hvordan blir været i morgen?",
    "Millainen sää on huomenna?",
    "Milyen idő lesz holnap?",
    "Jaká bude zítra počasí?",
    "Jaka będzie jutro pogoda?",
    "Cum va fi vremea mâine?",
    "Какая завтра будет погода?",
    "Яка завтра буде погода?",
    "Какво ще бъде времето утре?",
    "Τι καιρό θα κάνει αύριο;",
    "Yarın hava nasıl olacak?",
    "מה יהיה מזג האוויר מחר?",
    "كيف سيكون الطقس غدا؟",
    "فردا هوا چطور است؟",
    "कल मौसम कैसा रहेगा?",
    "আগামীকাল আবহাওয়া কেমন হবে?",
    "நாளை வானிலை எப்படி இருக்கும்?",
    "พรุ่งนี้อากาศเป็นอย่างไร",
    "Thời tiết ngày mai thế nào?",
    "明天天气怎么样？",
    "明日の天気はどうですか？",
    "내일 날씨는 어때요?",
]
ODD = ["", " \n\t ", "🦆🎉👩‍👩‍👧‍👦", "\x00\x01\x7f\xff", "\ud83e", "a" * 100_000, "￿￾", "é" * 5000]
PLAIN = [
    "Cancel my order, please.",
    "Write a poem on rain. " * 30,
    "Is it?",
    "Translate this: " + "word " * 400,
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(FOLDER)


@pytest.mark.parametrize("texts", [LANGUAGES, ODD, PLAIN], ids=["languages", "odd", "plain"])
def test_any_text_gives_finite_numbers_and_an_embedding_of_length_one(
    encoder: Encoder, texts: list[str]
) -> None:
    encoded = encoder.encode(texts)
    assert encoded.embeddings.shape == (len(texts), EMBEDDING)
    assert encoded.states.shape == (len(texts), STATE)
    assert encoded.embeddings.dtype == encoded.states.dtype == np.float32
    assert np.isfinite(encoded.states).all()
    assert np.linalg.norm(encoded.embeddings, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)


def test_a_text_gives_the_same_bits_alone_in_company_and_again(encoder: Encoder) -> None:
    texts = [*PLAIN, *LANGUAGES]
    together = encoder.encode(texts)
    for row, text in enumerate(texts):
        alone = encoder.encode([text])
        assert np.array_equal(alone.embeddings[0], together.embeddings[row])
        assert np.array_equal(alone.states[0], together.states[row])


def test_texts_of_like_meaning_are_nearer(encoder: Encoder) -> None:
    question, same, other = encoder.encode(
        [
            "How do I reset my password?",
            "I forgot my login, how can I get a new one?",
            "Bake a cake with plums.",
        ]
    ).embeddings
    assert question @ same > question @ other + 0.2


def test_what_lies_beyond_the_limit_of_tokens_is_not_read(encoder: Encoder) -> None:
    head = "word " * (MAX_TOKENS - 2)
    whole, cut = encoder.encode([head + "and then some", head]).states
    assert np.array_equal(whole, cut)


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).embeddings.shape == (0, EMBEDDING)


def test_a_folder_without_the_model_is_told_with_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make train-classifier"):
        Encoder(tmp_path)
