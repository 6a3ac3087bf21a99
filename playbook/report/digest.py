"""Hashes of what a document says beside its facts: its words, and the mappings that it was made with. Pure.

A fact is in them by its key alone and a picture not at all: both are compared by themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from playbook.report.document import Column, Document, Name, Section, Table, text
from playbook.report.facts import Fact, Kind, Reference
from playbook.report.mappings import Law


def words(document: Document) -> dict[str, str]:
    """A hash by section, without those below it; the title's is under no name."""
    found = {"": _hash([document.title, _plain(document.subtitle)])}
    for section in _every((*document.sections, *document.appendix)):
        found[section.name] = _hash([_plain(section.title), _plain(section.blocks)])
    return found


def mappings_section(laws: Sequence[Law]) -> Section:
    """Which mappings a document was made with."""
    rows = tuple(
        (
            text(Name(law.name)),
            text(
                Fact(
                    f"mapping/{law.name}",
                    _hash(asdict(law)),
                    "hash",
                    Reference(Kind.SETTING, f"mapping: {law.name}", f"{law.title}, as its file has it"),
                )
            ),
        )
        for law in laws
    )
    table = Table(
        (Column("mapping", share=1.2), Column("hash of what its file says", share=3)),
        rows,
        text("The mappings, as they were when this was made"),
        small=True,
    )
    return Section("mappings", text("The mappings themselves"), (table,))


def _every(sections: Sequence[Section]) -> Iterator[Section]:
    for section in sections:
        yield section
        yield from _every(section.sections)


def _plain(found: Any) -> Any:
    if isinstance(found, Fact):
        return ["fact", found.key]
    if isinstance(found, bytes):
        return None
    if isinstance(found, (list, tuple)):
        return [_plain(item) for item in found]
    if is_dataclass(found):
        return [type(found).__name__, *(_plain(getattr(found, item.name)) for item in fields(found))]
    return found


def _hash(found: Mapping[str, Any] | Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(found, ensure_ascii=False).encode()).hexdigest()
