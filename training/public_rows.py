"""The rows of the two public data sets in `data/workloads`, and the prompts around them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

DATA = Path(__file__).parents[1] / "data" / "workloads"


class Clinc(NamedTuple):
    """A row of CLINC150."""

    text: str
    intent: str
    domain: str


class Banking(NamedTuple):
    """A row of Banking77."""

    text: str
    category: str


def clinc150(split: Literal["train", "val", "test"]) -> list[Clinc]:
    """The rows of a split, without the out-of-scope ones."""
    domains = json.loads((DATA / "clinc150_domains.json").read_text(encoding="utf-8"))
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    rows = json.loads((DATA / "clinc150_full.json").read_text(encoding="utf-8"))[split]
    return [Clinc(text, intent, domain_of[intent]) for text, intent in rows]


def banking77(split: Literal["train", "test"]) -> list[Banking]:
    """The rows of a split."""
    with (DATA / f"banking77_{split}.csv").open(encoding="utf-8", newline="") as file:
        return [Banking(row["text"], row["category"]) for row in csv.DictReader(file)]


def prompts() -> dict[str, Any]:
    """What `prompts.json` says of each workload, by its name."""
    document: dict[str, Any] = json.loads((DATA / "prompts.json").read_text(encoding="utf-8"))
    return document
