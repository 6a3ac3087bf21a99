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
from playbook.report.facts import NOT_DECLARED, NOT_SET
from playbook.report.mappings import RISK, Clause, Law
from playbook.report.registration import registered

SECTIONS = {
    "calls": "which key had which model answer",
    "compared": "what was compared",
    "decisions": "the journal's decisions",
    "disagreement": "examples of disagreement",
    "dpia": "impact assessment",
    "record": "record of processing",
    "residency": "where the data went",
    "retention": "retention",
    "rollbacks": "rollback drills",
    "sub-processors": "processors",
    "transfers": "transfers",
    "transport": "connections and keys",
    "verdicts": "verdicts",
}
"""Sections that are evidence, as links name them."""


def law_section(book: Book, law: Law) -> Section:
    """A law: whom it concerns, and its clauses."""
    head = Paragraph(
        text(
            Name(f"{law.title}. "),
            Name("Whom it concerns: ", "strong"),
            Name(f"{law.applies} "),
            Name(law.source, "quiet"),
        )
    )
    shown = [risk_table(book)] if law.shows == RISK and book.workloads else []
    table = clause_table(book, law, ("clause", "what it asks", "what answers it"))
    return Section(f"law-{law.name.lower().replace(' ', '-')}", text(Name(law.name)), (head, *shown, table))


def clause_table(book: Book, law: Law, titles: tuple[str, str, str], caption: Text = ()) -> Table:
    """The clauses, under such titles of their first columns."""
    return Table(
        (
            Column(titles[0], share=1.1),
            Column(titles[1], share=1.8),
            Column(titles[2], share=2.5),
            Column("evidence", share=1.75),
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
        caption,
        small=True,
    )


def risk_table(book: Book) -> Table:
    """What the organisation has declared of each workload's risk."""
    return Table(
        (
            Column("workload", share=1.5),
            Column("risk class, as declared", share=1.5),
            Column("quality sensitivity, as registered", share=1.5),
        ),
        tuple(
            (
                text(Name(name)),
                text(book.setting(f"compliance/workloads/{name}/ai_act_risk", default=NOT_DECLARED)),
                text(registered(book, name, "quality_sensitivity", default=NOT_SET)),
            )
            for name in book.workloads
        ),
        text("The risk class of each workload, which only the organisation can judge (", Name("Art. 6"), ")"),
        small=True,
    )


def _evidence(book: Book, clause: Clause) -> Text:
    return joined([_one(book, item) for item in clause.evidence], "; ") or text("none")


def _one(book: Book, item: str) -> Text:
    kind, _, what = item.partition(":")
    match kind:
        case "journal":
            every = [entry for name in book.workloads for entry in book.decisions(name)]
            return text(book.decision_count("entries", every), " entries of the journal")
        case "query":
            asked = book.asked_of(what)
            return text("query ", Name(what, "code"), ", ", asked, " row" if asked.value == 1 else " rows")
        case "section":
            return text(Link(SECTIONS.get(what, what), what))
        case "settings":
            return text("settings ", Name(f"[{what}]", "code"))
    return text(Name(what, "code"))
