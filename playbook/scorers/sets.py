"""The public judgements: what people said of answers, read from `data/judgments`."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "data" / "judgments"
SUMMEVAL_VARIABLE = "HOMEWARD_SUMMEVAL"
BESIDE = ROOT.parent / "shared" / "data" / "judgments" / "summeval.jsonl"
"""SummEval's articles belong to their publishers: it is read where it lies, and no copy is in the project."""
DIMENSIONS = ("coherence", "consistency", "fluency", "relevance")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a prompt, of which people preferred one."""

    id: int
    prompt: str
    names: tuple[str, str]
    """Of the models that answered."""
    answers: tuple[str, str]
    first_wins: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence and its translations by system, each with what professionals took off for errors."""

    translations: Mapping[str, str]
    penalties: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Article:
    """An article with two human summaries, and those of 16 systems with what experts said of them."""

    text: str
    references: tuple[str, ...]
    summaries: tuple[str, ...]
    """In the order of the systems' names."""
    human: Mapping[str, tuple[float, ...]]
    """By dimension, in the same order; the mean of three experts, 1 to 5."""


@dataclass(frozen=True, slots=True)
class PandaLM:
    """The pairs of PandaLM with what else is known of their prompts."""

    pairs: tuple[Pair, ...]
    """Those on which two of three people or more prefer the same; ties are left out."""
    experts: Mapping[str, str]
    """By prompt: the answer of the person who wrote the prompt (Self-Instruct)."""
    clouds: Mapping[str, str]
    """By prompt: the answer of text-davinci-003 (Self-Instruct)."""
    judges: Mapping[str, Mapping[int, str]]
    """By judge model and pair: its published verdict, `a`, `b`, `tie` or empty."""


@dataclass(frozen=True, slots=True)
class Llmfao:
    """The pairs of LLMFAO."""

    pairs: tuple[Pair, ...]
    """Those on which more of the crowd prefer the winner than say anything else; ties are left out."""
    answers: Mapping[str, Mapping[str, str]]
    """By prompt and model."""
    slugs: Mapping[str, str]
    """By prompt: its short name."""
    gpt4: Mapping[int, str]
    """By pair: the verdict of GPT-4, `a`, `b` or `tie`."""


def pandalm(folder: Path = FOLDER) -> PandaLM:
    """Reads PandaLM's test set and the references of its prompts."""
    pairs = []
    for row in _rows(folder / "pandalm_pairs.jsonl.gz"):
        winner, votes = Counter(row["annotators"]).most_common(1)[0]
        if winner != "tie" and votes >= 2:
            first, second = row["models"].split("_")
            pairs.append(_pair(row, _prompt(row), (first, second), winner))
    references = {_prompt(row): row for row in _rows(folder / "pandalm_references.jsonl.gz")}
    judges = list(_rows(folder / "pandalm_judges.jsonl.gz"))
    return PandaLM(
        tuple(pairs),
        {prompt: row["expert"] for prompt, row in references.items()},
        {prompt: row["text_davinci_003"] for prompt, row in references.items()},
        {judge: {row["id"]: row[judge] for row in judges} for judge in ("gpt35", "pandalm_7b")},
    )


def llmfao(folder: Path = FOLDER) -> Llmfao:
    """Reads LLMFAO's crowd judgements."""
    pairs, answers, slugs, gpt4 = [], dict[str, dict[str, str]](), {}, {}
    for row in _rows(folder / "llmfao_crowd.jsonl.gz"):
        prompt, names = row["prompt"], (row["model_a"], row["model_b"])
        slugs[prompt] = row["slug"]
        answers.setdefault(prompt, {}).update(zip(names, (row["output_a"], row["output_b"]), strict=True))
        gpt4[row["id"]] = row["gpt4"]
        votes = row["human_votes"]
        winners = [name for name, count in votes.items() if count == max(votes.values())]
        if winners in (["a"], ["b"]):
            pairs.append(_pair(row, prompt, names, winners[0]))
    return Llmfao(tuple(pairs), answers, slugs, gpt4)


def wmt_ted(folder: Path = FOLDER) -> list[Segment]:
    """Reads the segments of WMT21's TED talks, English to German."""
    found: dict[tuple[str, str], tuple[dict[str, str], dict[str, float]]] = {}
    for row in _rows(folder / "wmt_ted_mqm_ende.jsonl.gz"):
        translations, penalties = found.setdefault((row["doc"], row["seg"]), ({}, {}))
        translations[row["system"]] = row["target"]
        penalties[row["system"]] = row["mqm_penalty"]
    return [Segment(*both) for both in found.values()]


def summeval() -> list[Article] | None:
    """Reads SummEval from HOMEWARD_SUMMEVAL or beside the project; None where it is not."""
    path = Path(os.environ.get(SUMMEVAL_VARIABLE) or BESIDE)
    if not path.is_file():
        return None
    found = []
    for row in _rows(path):
        systems = [row["systems"][name] for name in sorted(row["systems"])]
        found.append(
            Article(
                row["source"],
                tuple(row["references"]),
                tuple(system["summary"] for system in systems),
                {name: tuple(system["human"][name] for system in systems) for name in DIMENSIONS},
            )
        )
    return found


def _pair(row: Mapping[str, Any], prompt: str, names: tuple[str, str], winner: str) -> Pair:
    return Pair(row["id"], prompt, names, (row["output_a"], row["output_b"]), winner == "a")


def _prompt(row: Mapping[str, Any]) -> str:
    return f"{row['instruction']}\n\n{row['input']}"


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)
