"""The two public workloads: their rows, their splits, and the words around them."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

DATA = Path(__file__).parents[2] / "data" / "workloads"
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
TUNE_SHARE = 16
"""Banking77 has no validation split: one row in so many of its train split is ours."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request and the label that people gave it."""

    text: str
    label: str
    fine: str
    """The finest label that the data has (CLINC150's intent). Training may look at it; no prompt shows it."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as `prompts.json` has it."""

    name: str
    prompts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The one property of the answer: `domain` or `intent`."""
        return str(self.prompts["property"])

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the answer."""
        schema: dict[str, Any] = self.prompts["json"]["response_format"]["json_schema"]["schema"]
        return schema

    @property
    def labels(self) -> list[str]:
        """The values that the schema allows, sorted."""
        return list(self.schema["properties"][self.key]["enum"])

    def rows(self, split: Split) -> list[Row]:
        """The rows of a split, in the order of the file."""
        return _voice(split) if self.name == "voice-domain" else _bank(split)


def workloads() -> dict[str, Workload]:
    """Every workload of `prompts.json`, by name."""
    prompts = json.loads((DATA / "prompts.json").read_text(encoding="utf-8"))
    return {name: Workload(name, prompts[name]) for name in prompts}


def _voice(split: Split) -> list[Row]:
    domains = json.loads((DATA / "clinc150_domains.json").read_text(encoding="utf-8"))
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    rows = json.loads((DATA / "clinc150_full.json").read_text(encoding="utf-8"))[split]
    return [Row(text, domain_of[intent], intent) for text, intent in rows]


def _bank(split: Split) -> list[Row]:
    name = "banking77_test.csv" if split == "test" else "banking77_train.csv"
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        rows = [Row(row["text"], row["category"], row["category"]) for row in csv.DictReader(file)]
    if split == "test":
        return rows
    return [row for row in rows if (zlib.crc32(row.text.encode()) % TUNE_SHARE == 0) == (split == "val")]
