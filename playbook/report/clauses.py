"""What each law asks, clause by clause, and where its evidence is. Pure."""

from __future__ import annotations

from playbook.report.book import Book
from playbook.report.document import (
    Column,
    Link,
    Name,
    Paragraph,
    Section,
    Table,
    Text,
    joined,
    text,
)
from playbook.report.mappings import Clause, Law

SECTIONS = {
    "decisions": "the journal's decisions",
    "dpia": "impact assessment",
    "record": "record of processing",
    "residency": "where the data went",
    "retention": "retention",
    "rollbacks": "rollback drills",
    "sub-processors": "sub-processors",
    "transport": "connections and keys",
}
"""Sections that are evidence, as links name them."""


def law_section(book: Book, law: Law) -> Section:
    """A law: whom it concerns, and its clauses."""
    head = Paragraph(
        text(
            Name(f"{law.title}. "),
            "It concerns the organisation if: ",
            Name(f"{law.applies} "),
            Name(law.source, "quiet"),
        )
    )
    table = Table(
        (
            Column("clause", share=1.1),
            Column("what it asks", share=1.9),
            Column("what answers it", share=2.6),
            Column("evidence", share=1.5),
            Column("what remains", share=2),
        ),
        tuple(
            (
                text(Name(item.clause, "strong")),
                text(Name(item.asks)),
                text(Name(item.control)),
                _evidence(book, item),
                text(Name(item.remains)),
            )
            for item in law.clauses
        ),
        (),
        small=True,
    )
    return Section(f"law-{law.name.lower().replace(' ', '-')}", text(Name(law.name)), (head, table))


def _evidence(book: Book, clause: Clause) -> Text:
    return joined([_one(book, item) for item in clause.evidence], "; ") or text("none")


def _one(book: Book, item: str) -> Text:
    kind, _, what = item.partition(":")
    match kind:
        case "journal":
            every = [entry for name in book.workloads for entry in book.decisions(name)]
            return text(book.decision_count("entries", every), " entries of the journal")
        case "query":
            rows = "rows" if what != "outside" else "rows each"
            return text("query ", Name(what, "code"), ", ", book.asked_of(what), f" {rows}")
        case "section":
            return text(Link(SECTIONS.get(what, what), what))
        case "settings":
            return text("settings ", Name(f"[{what}]", "code"))
    return text(Name(what, "code"))
