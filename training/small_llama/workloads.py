"""The two public workloads: their rows, their splits, and the words around them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from training import public_rows

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
    prompts = public_rows.prompts()
    return {name: Workload(name, prompts[name]) for name in prompts}


def _voice(split: Split) -> list[Row]:
    return [Row(row.text, row.domain, row.intent) for row in public_rows.clinc150(split)]


def _bank(split: Split) -> list[Row]:
    source = public_rows.banking77("test" if split == "test" else "train")
    rows = [Row(row.text, row.category, row.category) for row in source]
    if split == "test":
        return rows
    return [row for row in rows if (zlib.crc32(row.text.encode()) % TUNE_SHARE == 0) == (split == "val")]
