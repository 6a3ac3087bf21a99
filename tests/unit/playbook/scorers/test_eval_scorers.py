"""The evaluation on a part of the public judgements: the scorers as registered, with the shipped encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from playbook.scorers.__main__ import agreeing
from playbook.scorers.embedding import Embedding
from playbook.scorers.figures import figure
from playbook.scorers.measuring import (
    CLOUDS,
    JSON,
    LABELS,
    Agree,
    Measured,
    judged,
    on_llmfao,
    on_pandalm,
    on_summaries,
    on_wmt,
)
from playbook.scorers.sets import SUMMEVAL_VARIABLE, Article, PandaLM, llmfao, pandalm, summeval, wmt_ted

PROMPTS = 40


@pytest.fixture(scope="module")
def embed() -> Embedding:
    return Embedding(threads=1)


@pytest.fixture(scope="module")
def pairs() -> PandaLM:
    """Of the first prompts."""
    whole = pandalm()
    prompts = list(dict.fromkeys(pair.prompt for pair in whole.pairs))[:PROMPTS]
    return replace(whole, pairs=tuple(pair for pair in whole.pairs if pair.prompt in prompts))


def means(rows: list[Measured]) -> list[float]:
    return [figure(row.cases).mean for row in rows]


@pytest.mark.parametrize(("name", "least"), [("text_overlap@1", 0.71), ("token_f1@1", 0.67)])
def test_the_text_scorers_agree_with_people_and_do_not_on_the_answers_to_other_prompts(
    name: str, least: float, embed: Embedding, pairs: PandaLM
) -> None:
    agree = agreeing(name, embed)
    rows = list(on_pandalm(pairs, name, agree))
    turned = replace(pairs, experts=_turned(pairs.experts), clouds=_turned(pairs.clouds))
    assert min(means(rows)) > least
    assert min(means(rows)) > figure(rows[0].longer).mean + 0.02
    assert max(means(list(on_pandalm(turned, name, agree)))) < 0.64


@pytest.mark.parametrize(
    ("name", "slugs", "least"), [("exact_match@1", LABELS, 0.85), ("json_fields@1", JSON, 0.58)]
)
def test_the_scorers_of_labels_and_fields_agree_with_people(
    name: str, slugs: tuple[str, ...], least: float, embed: Embedding
) -> None:
    (row,) = on_llmfao(llmfao(), name, agreeing(name, embed), clouds=CLOUDS[:1], slugs=slugs)
    assert figure(row.cases).mean > least
    assert figure(row.longer).mean < 0.3


def test_the_sets_have_the_rows_that_the_literature_counts(pairs: PandaLM) -> None:
    whole, crowd, segments = pandalm(), llmfao(), wmt_ted()
    assert len(whole.pairs) == 422 + 472
    assert len({pair.prompt for pair in crowd.pairs}) == 13
    assert len(segments) == 160
    assert {len(segment.translations) for segment in segments} == {14}
    decided = [pair for pair in crowd.pairs if crowd.gpt4[pair.id] != "tie"]
    assert figure(judged(decided, lambda pair: crowd.gpt4[pair.id])).mean == pytest.approx(0.746, abs=5e-4)


def test_translations_with_fewer_errors_agree_more_and_turned_round_less(embed: Embedding) -> None:
    segments = wmt_ted()[:40]
    agree = agreeing("text_overlap@1", embed)

    def turned(text: str, reference: str) -> float:
        return -agree(text, reference)

    pairs, ranks = means(list(on_wmt(segments, "text_overlap@1", agree)))
    assert pairs > 0.52
    assert ranks > 0.05
    assert max(means(list(on_wmt(segments, "", turned)))[:1]) < 0.48


def test_without_summeval_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SUMMEVAL_VARIABLE, str(tmp_path / "none.jsonl"))
    assert summeval() is None


def test_summaries_are_ranked_as_by_hand() -> None:
    texts = ("a b c", "a b", "a", "")
    ratings = (4.0, 3.0, 2.0, 1.0)
    dimensions = ("coherence", "consistency", "fluency", "relevance")
    article = Article("a b c d", ("a b c", "a b c"), texts, dict.fromkeys(dimensions, ratings))

    def by_words(text: str, reference: str) -> float:
        return len(set(text.split()) & set(reference.split()))

    agree: Agree = by_words
    assert means(list(on_summaries([article], "", agree))) == pytest.approx([1.0] * 8)
    assert means(list(on_summaries([article], "", lambda a, b: -by_words(a, b)))) == pytest.approx([-1.0] * 8)


def _turned(references: Mapping[str, str]) -> dict[str, str]:
    """Each prompt with the answer to the next."""
    answers = list(references.values())
    return dict(zip(references, [*answers[1:], answers[0]], strict=True))
