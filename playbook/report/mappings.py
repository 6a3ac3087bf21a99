"""The control mappings: what laws ask and what answers it, as data files that a lawyer can change."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "compliance"
FILES = ("gdpr.toml", "hipaa.toml", "sox.toml", "eu_ai_act.toml", "dpia.toml")
"""In the order of the document."""
EVIDENCE_KINDS = ("query", "section", "settings", "command", "document")
"""What an evidence may point to, before the colon; `journal` stands alone."""
RISK, ASSESSMENT = "risk", "dpia"
"""The table that a law may show, and the section that a mapping may belong to."""
_TEXTS = ("name", "title", "source", "applies")
_CLAUSE_TEXTS = ("clause", "asks", "control", "remains")


class MappingError(Exception):
    """A mapping is wrong; the message names the file and the clause."""


@dataclass(frozen=True, slots=True)
class Clause:
    """What one clause asks, and what answers it."""

    clause: str
    asks: str
    control: str
    evidence: tuple[str, ...]
    remains: str


@dataclass(frozen=True, slots=True)
class Law:
    """A law and its clauses."""

    name: str
    title: str
    source: str
    applies: str
    reviewed: str
    """Who has read it, and when; empty: nobody."""
    clauses: tuple[Clause, ...]
    shows: str = ""
    """A table that stands above the clauses: `risk`, what is declared of each workload's risk class."""
    belongs: str = ""
    """The section in which it stands: `dpia`, of which the clauses are risks. Empty: one of its own."""


def read_laws(folder: Path = FOLDER) -> list[Law]:
    """All mappings.

    Raises:
        MappingError: one is missing, or is not what it must be.
    """
    return [_law(folder / name) for name in FILES]


def _law(file: Path) -> Law:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MappingError(f"{file}: {error}") from None
    for key in _TEXTS:
        _text(found, key, f"{file}")
    places = {"shows": RISK, "belongs": ASSESSMENT}
    for key, place in places.items():
        if found.get(key, place) != place:
            raise MappingError(f"{file}: {key} {found[key]!r}; expected {place}")
    clauses = found.get("clauses")
    if not isinstance(clauses, list) or not clauses:
        raise MappingError(f"{file}: no [[clauses]]")
    return Law(
        **{key: found[key] for key in _TEXTS},
        reviewed=str(found.get("reviewed", "")),
        clauses=tuple(_clause(item, file, number) for number, item in enumerate(clauses, 1)),
        **{key: str(found.get(key, "")) for key in places},
    )


def _clause(found: dict[str, Any], file: Path, number: int) -> Clause:
    where = f"{file}: clause {found.get('clause', number)}"
    for key in _CLAUSE_TEXTS:
        _text(found, key, where)
    unknown = set(found) - {*_CLAUSE_TEXTS, "evidence"}
    if unknown:
        raise MappingError(f"{where}: unknown {', '.join(sorted(unknown))}")
    evidence = found.get("evidence", [])
    for item in evidence:
        kind, _, what = str(item).partition(":")
        if item != "journal" and (kind not in EVIDENCE_KINDS or not what):
            raise MappingError(
                f"{where}: evidence {item!r}; expected journal or one of {', '.join(EVIDENCE_KINDS)} and what"
            )
    return Clause(**{key: found[key] for key in _CLAUSE_TEXTS}, evidence=tuple(evidence))


def _text(found: dict[str, Any], key: str, where: str) -> None:
    if not isinstance(found.get(key), str) or not found[key].strip():
        raise MappingError(f"{where}: {key} is missing")


def queries(laws: Sequence[Law]) -> set[str]:
    """The names of the queries that are evidence."""
    every = (item for law in laws for clause in law.clauses for item in clause.evidence)
    return {item.removeprefix("query:") for item in every if item.startswith("query:")}
