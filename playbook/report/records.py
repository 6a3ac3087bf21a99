"""The record of processing and the skeleton of an impact assessment. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from playbook.report.book import Book
from playbook.report.document import (
    Block,
    Column,
    Link,
    Name,
    Paragraph,
    Section,
    Span,
    Table,
    Text,
    text,
)
from playbook.report.facts import Fact
from playbook.report.standing import UNDECLARED, outside

DECLARED: Mapping[str, str] = {
    "purpose": "Purpose",
    "legal_basis": "Legal basis",
    "data_subjects": "People concerned",
    "data_categories": "Categories of data",
    "recipients": "Recipients",
    "erasure": "Time limit for erasure",
    "ai_act_risk": "Risk class (AI Act)",
}
"""`[compliance.workloads.NAME]`: what only the organisation can say, in the order of Art. 30."""
ORGANISATION: Mapping[str, str] = {
    "controller": "Controller",
    "contact": "Contact",
    "dpo": "Data protection officer",
    "representative": "Representative",
}
"""`[compliance]`: of the organisation."""
DPIA: tuple[tuple[str, str, str], ...] = (
    ("a", "Description of the processing", "filled"),
    ("b", "Necessity and proportionality", "Why a language model, why these data, what less would do."),
    (
        "c",
        "Risks to people",
        "Wrong answers that somebody acts on; personal data that reach a model or a provider without need;"
        " answers that disclose.",
    ),
    ("d", "Measures", "filled"),
)


def record_section(book: Book) -> Section:
    """For each workload, what a record of processing asks."""
    blocks: list[Block] = [
        Paragraph(
            text(
                "For each workload, what a record of processing asks. What the organisation has not"
                " declared is marked; it"
                " belongs into ",
                Name("[compliance]", "code"),
                " of the settings.",
            )
        ),
        _pairs(
            [
                (label, book.setting(f"compliance/{key}", default=UNDECLARED))
                for key, label in ORGANISATION.items()
            ]
        ),
    ]
    for name in book.workloads:
        blocks.append(
            _pairs(
                [
                    ("Owner", book.setting(f"workloads/{name}/owner", default=UNDECLARED)),
                    ("What it does", book.setting(f"workloads/{name}/description", default=UNDECLARED)),
                    *_declared(book, name),
                    ("Data class", book.setting(f"workloads/{name}/data_class", default="unrestricted")),
                    ("Processors in the period", _providers(book, name)),
                    ("Regions in the period", _regions(book, name)),
                    ("Security", Name("Connections and keys, above; data classes; hash-chained book")),
                ],
                text("Processing activity: ", Name(name)),
            )
        )
    return Section(
        "record", text("Record of processing activities (", Name("GDPR Art. 30"), ")"), tuple(blocks)
    )


def _declared(book: Book, workload: str) -> Iterator[tuple[str, Span]]:
    for key, label in DECLARED.items():
        yield label, book.setting(f"compliance/workloads/{workload}/{key}", default=UNDECLARED)


def _providers(book: Book, workload: str) -> Fact:
    return _listed(book, workload, "provider")


def _regions(book: Book, workload: str) -> Fact:
    return _listed(book, workload, "region")


def _listed(book: Book, workload: str, column: str) -> Fact:
    rows = book.rows("residency", workload=workload)
    found = sorted({row[column] or "not said" for row in rows})
    reference = (rows[0] if rows else book.missing("residency", column, "text")).reference
    return Fact(f"residency/workload={workload}/all {column}", ", ".join(found) or None, "text", reference)


def _pairs(rows: Sequence[tuple[str, Any]], caption: Text = ()) -> Table:
    return Table(
        (Column("", share=1.2), Column("", share=3)),
        tuple((text(Name(label, "quiet")), text(value)) for label, value in rows),
        caption,
        small=True,
    )


def dpia_section(book: Book) -> Section:
    """The parts of an assessment, filled in as far as settings and book can."""
    said = {
        "a": text(
            "Requests of ",
            Name(", ".join(book.workloads)),
            " are answered by language models in the cloud or at home; a sample is compared. Where each"
            " ran, by whom and"
            " for how long it is kept is in this document: ",
            Link("where the data went", "residency"),
            ", ",
            Link("sub-processors", "sub-processors"),
            ", ",
            Link("retention", "retention"),
            ".",
        ),
        "d": text(
            "Data classes fix targets and regions; no text in the book; approval before a move; ",
            Link("rollbacks", "rollbacks"),
            " by a person, a breaker or the alarm; a journal that can be verified. Legs outside of what is"
            " allowed: ",
            outside(book),
            ".",
        ),
    }
    rows = tuple(
        (
            text(Name(f"Art. 35(7)({letter})")),
            text(title),
            said.get(letter) or text(what),
            text(Name("from settings and book; to be checked" if what == "filled" else "to be written")),
        )
        for letter, title, what in DPIA
    )
    table = Table(
        (
            Column("clause", share=1),
            Column("part", share=1.3),
            Column("skeleton", share=4),
            Column("state", share=1.3),
        ),
        rows,
        (),
        small=True,
    )
    risks = Table(
        (
            Column("workload", share=1.5),
            Column("risk class, as declared", share=1.5),
            Column("quality sensitivity"),
        ),
        tuple(
            (
                text(Name(name)),
                text(book.setting(f"compliance/workloads/{name}/ai_act_risk", default=UNDECLARED)),
                text(book.setting(f"workloads/{name}/quality_sensitivity", default=UNDECLARED)),
            )
            for name in book.workloads
        ),
        text("What the organisation has declared of each workload's risk"),
        small=True,
    )
    return Section("dpia", text("Impact assessment: a skeleton (", Name("GDPR Art. 35"), ")"), (table, risks))
