"""The record of processing and the skeleton of an impact assessment. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from playbook.report.book import Book
from playbook.report.clauses import clause_table
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
    joined,
    text,
)
from playbook.report.facts import NOT_DECLARED, Fact
from playbook.report.mappings import Law
from playbook.report.registration import data_class_of, registered
from playbook.report.standing import outside

DECLARED: Mapping[str, str] = {
    "purpose": "(b) Purpose",
    "legal_basis": "Legal basis (Art. 6, 9)",
    "data_subjects": "(c) People concerned",
    "data_categories": "(c) Categories of data",
    "recipients": "(d) Recipients",
}
"""`[compliance.workloads.NAME]`: what only the organisation can say, in the order of Art. 30(1)."""
ERASURE = {"erasure": "(f) Time limit for erasure"}
ORGANISATION: Mapping[str, str] = {
    "controller": "(a) Controller",
    "joint_controller": "(a) Joint controller, if there is one",
    "contact": "(a) Contact",
    "dpo": "(a) Data protection officer",
    "representative": "(a) Representative in the Union",
}
"""`[compliance]`: of the organisation."""
HERE = "from settings and book; to be checked"
THEIRS = "the organisation's"


def record_section(book: Book) -> Section:
    """For each workload, what a record of processing asks."""
    blocks: list[Block] = [
        Paragraph(
            text(
                "What a controller's record asks, by the letters of paragraph ",
                Name("1"),
                ". What the organisation has not declared is marked; it belongs into ",
                Name("[compliance]", "code"),
                " of the settings.",
            )
        ),
        _pairs(
            [
                (label, book.setting(f"compliance/{key}", default=NOT_DECLARED))
                for key, label in ORGANISATION.items()
            ],
            text("The organisation"),
        ),
    ]
    for name in book.workloads:
        blocks.append(
            _pairs(
                [
                    ("Owner", registered(book, name, "owner", default=NOT_DECLARED)),
                    ("What it does", registered(book, name, "description", default=NOT_DECLARED)),
                    *_declared(book, name),
                    ("(d) Processors in the period", _providers(book, name)),
                    ("(e) Regions in the period", _regions(book, name)),
                    ("(e) Grounds of transfers", Link("by provider, above", "transfers")),
                    *_declared(book, name, ERASURE),
                    ("(g) Data class", data_class_of(book, name)),
                    ("(g) Security measures", Link("connections and keys, above", "transport")),
                ],
                text("Processing activity: ", Name(name)),
            )
        )
    return Section(
        "record", text("Record of processing activities (", Name("GDPR Art. 30"), ")"), tuple(blocks)
    )


def _declared(book: Book, workload: str, keys: Mapping[str, str] = DECLARED) -> Iterator[tuple[str, Span]]:
    for key, label in keys.items():
        yield label, book.setting(f"compliance/workloads/{workload}/{key}", default=NOT_DECLARED)


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


def dpia_section(book: Book, risks: Sequence[Law]) -> Section:
    """The parts of an assessment, filled in as far as settings and book can; the mappings have the risks."""
    requests = book.fact("totals", "requests", "count")
    parts: list[tuple[str, str, Text, str]] = [
        (
            "Art. 35(1), (3)",
            "Whether one is needed",
            _by_workload(book, "assessment"),
            THEIRS,
        ),
        (
            "Art. 35(7)(a)",
            "Description of the processing",
            text(
                "Requests of ",
                Name(", ".join(book.workloads)),
                " (",
                requests,
                " answers in the period) are answered by language models in the cloud or at home; a sample"
                " is compared. What each is for is in the ",
                Link("record", "record"),
                "; where each ran, by whom and how long what is kept: ",
                Link("where the data went", "residency"),
                ", ",
                Link("processors", "sub-processors"),
                ", ",
                Link("transfers", "transfers"),
                ", ",
                Link("retention", "retention"),
                ".",
            ),
            HERE,
        ),
        (
            "Art. 35(7)(b)",
            "Necessity and proportionality",
            _by_workload(book, "necessity"),
            THEIRS,
        ),
        (
            "Art. 35(7)(c)",
            "Risks to people",
            text("Those of the table below, each with its likelihood and severity for the people concerned."),
            "risks listed; to be judged",
        ),
        (
            "Art. 35(7)(d)",
            "Measures",
            text(
                "Data classes fix targets and regions; no text in the book; approval before a move; ",
                Link("rollbacks", "rollbacks"),
                " by a person, a breaker or the alarm; a journal that can be verified. Calls outside of what"
                " is allowed: ",
                outside(book),
                ".",
            ),
            HERE,
        ),
        (
            "Art. 35(2), (9)",
            "Advice and views",
            text(
                "Of the data protection officer (",
                book.setting("compliance/dpo", default=NOT_DECLARED),
                "), and of the people concerned or their representatives, where that is fitting.",
            ),
            THEIRS,
        ),
        (
            "Art. 35(11), 36",
            "Review, and asking the authority",
            text(
                "Again when the risk changes: each ",
                Link("decision", "decisions"),
                " about a workload is such an occasion. If the risk stays high, ask the authority before.",
            ),
            THEIRS,
        ),
    ]
    table = Table(
        (
            Column("clause", share=1.1),
            Column("part", share=1.3),
            Column("skeleton", share=4),
            Column("who", share=1.3),
        ),
        tuple(
            (text(Name(clause)), text(Name(part)), said, text(Name(who))) for clause, part, said, who in parts
        ),
        text("The parts"),
        small=True,
    )
    titles = ("risk", "what could happen", "measure")
    tables = [
        clause_table(book, law, titles, text(Name(law.title), "; likelihood and severity are to be judged"))
        for law in risks
    ]
    title = text("Impact assessment: a skeleton (", Name("GDPR Art. 35"), ")")
    return Section("dpia", title, (table, *tables))


def _by_workload(book: Book, key: str) -> Text:
    return joined(
        [
            text(Name(f"{name}: "), book.setting(f"compliance/workloads/{name}/{key}", default=NOT_DECLARED))
            for name in book.workloads
        ],
        "; ",
    ) or text("No workload.")
