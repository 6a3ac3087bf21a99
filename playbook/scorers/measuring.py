"""The measurements: each scorer on each set that fits it, beside "the longer answer wins"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from playbook.scorers.figures import Case, spearman, told
from playbook.scorers.sets import DIMENSIONS, Article, Llmfao, Pair, PandaLM, Segment

Agree = Callable[[str, str], float]
"""How much a text agrees with a reference."""

HUMAN_SUMMARIES = "two human summaries"
HUMAN = "ref"
"""The human translation in WMT's file."""
CLOUDS = ("GPT 4", "GPT 3.5 Turbo", "Claude v1")
"""Models of LLMFAO that stand for the cloud, each in its turn."""
LABELS = ("vendor-extract", "basic-sentiment")
"""Prompts of LLMFAO that ask for a label alone."""
JSON = ("planets-json",)


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the result."""

    data: str
    what: str
    """Against what the answers are held."""
    measure: str
    scorer: str
    cases: Sequence[Case]
    longer: Sequence[Case]
    """The same for "the longer answer wins"."""


def on_pandalm(data: PandaLM, scorer: str, agree: Agree) -> Iterator[Measured]:
    """PandaLM's pairs against the expert's answer, and against a cloud model's."""
    for what, references in (("a person's answer", data.experts), ("text-davinci-003", data.clouds)):
        pairs = [pair for pair in data.pairs if references.get(pair.prompt, "").strip()]
        cases = [_held(pair, references[pair.prompt], agree) for pair in pairs]
        yield Measured("PandaLM", what, "pairs", scorer, cases, longer(pairs))


def on_llmfao(
    data: Llmfao, scorer: str, agree: Agree, *, clouds: Sequence[str] = CLOUDS, slugs: Sequence[str] = ()
) -> Iterator[Measured]:
    """LLMFAO's pairs against the answer of each cloud; all prompts, or those of some slugs."""
    for cloud in clouds:
        pairs = [
            pair
            for pair in data.pairs
            if cloud not in pair.names
            and data.answers[pair.prompt].get(cloud, "").strip()
            and (not slugs or data.slugs[pair.prompt] in slugs)
        ]
        cases = [_held(pair, data.answers[pair.prompt][cloud], agree) for pair in pairs]
        what = f"{cloud}, {' and '.join(slugs)}" if slugs else cloud
        yield Measured("LLMFAO", what, "pairs", scorer, cases, longer(pairs))


def on_wmt(segments: Sequence[Segment], scorer: str, agree: Agree) -> Iterator[Measured]:
    """Translations against the human one: of two systems, whose has fewer errors; and the ranks of all."""
    pairs: list[Case] = []
    pairs_longer: list[Case] = []
    ranks: list[Case] = []
    ranks_longer: list[Case] = []
    for number, segment in enumerate(segments):
        names = [name for name in segment.translations if name != HUMAN]
        texts = [segment.translations[name] for name in names]
        scores = [agree(text, segment.translations[HUMAN]) for text in texts]
        lengths = [float(len(text)) for text in texts]
        human = [-segment.penalties[name] for name in names]
        for a, b in combinations(range(len(names)), 2):
            if human[a] != human[b]:
                wins = human[a] > human[b]
                pairs.append(Case(number, told(scores[a], scores[b], first_wins=wins)))
                pairs_longer.append(Case(number, told(lengths[a], lengths[b], first_wins=wins)))
        for found, values in ((ranks, scores), (ranks_longer, lengths)):
            correlation = spearman(values, human)
            if correlation is not None:
                found.append(Case(number, correlation))
    yield Measured("WMT21 TED", "the human translation", "pairs", scorer, pairs, pairs_longer)
    yield Measured("WMT21 TED", "the human translation", "Spearman", scorer, ranks, ranks_longer)


def on_summaries(articles: Sequence[Article], scorer: str, agree: Agree) -> Iterator[Measured]:
    """Summaries against the two that people wrote."""
    scores = [
        [_mean([agree(text, reference) for reference in article.references]) for text in article.summaries]
        for article in articles
    ]
    lengths = _lengths(articles)
    for dimension in DIMENSIONS:
        human = [article.human[dimension] for article in articles]
        measure = f"Spearman, {dimension}"
        cases, by_length = _correlations(scores, human), _correlations(lengths, human)
        yield Measured("SummEval", HUMAN_SUMMARIES, measure, scorer, cases, by_length)
        of_systems, by_mean_length = (
            spearman(np.mean(table, axis=0), np.mean(human, axis=0)) for table in (scores, lengths)
        )
        if of_systems is not None and by_mean_length is not None:
            measure = f"Spearman of 16 systems, {dimension}"
            cases, by_length = [Case(0, of_systems)], [Case(0, by_mean_length)]
            yield Measured("SummEval", HUMAN_SUMMARIES, measure, scorer, cases, by_length)


def on_other_summaries(articles: Sequence[Article], scorer: str, agree: Agree) -> Iterator[Measured]:
    """Summaries against the article itself; and against another system's, each the cloud in its turn."""
    whole = [[agree(text, article.text) for text in article.summaries] for article in articles]
    tables = [_each_other(article.summaries, agree) for article in articles]
    for dimension in DIMENSIONS:
        human = [article.human[dimension] for article in articles]
        by_length = _correlations(_lengths(articles), human)
        measure = f"Spearman, {dimension}"
        yield Measured("SummEval", "the article", measure, scorer, _correlations(whole, human), by_length)
        # The system that is the cloud is left out of the ranks that it makes.
        found = [
            Case(number, correlation)
            for number, table in enumerate(tables)
            for cloud, row in enumerate(table)
            if (correlation := spearman(_without(row, cloud), _without(human[number], cloud))) is not None
        ]
        yield Measured("SummEval", "another system's summary", measure, scorer, found, by_length)


def judged(pairs: Sequence[Pair], verdicts: Callable[[Pair], str]) -> list[Case]:
    """How often a judge model's verdict is people's; a tie or none is one half."""
    scores = {"a": (1, 0), "b": (0, 1)}
    return [
        Case(pair.prompt, told(*scores.get(verdicts(pair), (0, 0)), first_wins=pair.first_wins))
        for pair in pairs
    ]


def longer(pairs: Sequence[Pair]) -> list[Case]:
    """How often the longer answer is that which people prefer."""
    return [Case(pair.prompt, told(*map(len, pair.answers), first_wins=pair.first_wins)) for pair in pairs]


def _held(pair: Pair, reference: str, agree: Agree) -> Case:
    first, second = (agree(answer, reference) for answer in pair.answers)
    return Case(pair.prompt, told(first, second, first_wins=pair.first_wins))


def _correlations(scores: Sequence[Sequence[float]], human: Sequence[Sequence[float]]) -> list[Case]:
    found = []
    for number, (row, people) in enumerate(zip(scores, human, strict=True)):
        correlation = spearman(row, people)
        if correlation is not None:
            found.append(Case(number, correlation))
    return found


def _each_other(texts: Sequence[str], agree: Agree) -> list[list[float]]:
    """How much each agrees with each; each with itself, which is never looked at, is 1."""
    table = [[1.0] * len(texts) for _ in texts]
    for a, b in combinations(range(len(texts)), 2):
        table[a][b] = table[b][a] = agree(texts[a], texts[b])
    return table


def _lengths(articles: Sequence[Article]) -> list[list[float]]:
    return [[float(len(text)) for text in article.summaries] for article in articles]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _without(row: Sequence[float], place: int) -> list[float]:
    return [*row[:place], *row[place + 1 :]]
