"""The case for engineering: what was compared, what it says, how it moved, and how it comes back. Pure."""

from __future__ import annotations

from playbook.report.book import Book
from playbook.report.comparison import compared_section, verdicts_section
from playbook.report.document import (
    Column,
    Name,
    Paragraph,
    Section,
    Table,
    nothing,
    text,
)
from playbook.report.examples import examples_section
from playbook.report.latency import latency_section
from playbook.report.moves import moves_section, rollbacks_section
from playbook.report.standing import evidence_of


def engineering(book: Book) -> Section:
    """The whole case."""
    found = {name: item for name in book.workloads if (item := evidence_of(book, name)) is not None}
    parts = [
        compared_section(book, found),
        verdicts_section(book, found),
        _capabilities(book),
        latency_section(book),
        moves_section(book),
        rollbacks_section(book),
        examples_section(book, sorted(found)),
    ]
    lead = Paragraph(
        text(
            "Is the model at home good enough, and how do we know? Requests were answered twice by the"
            " cloud and once"
            " at home; a score that was fixed beforehand says how much the answers differ beyond the"
            " cloud's own"
            " noise."
        ),
        lead=True,
    )
    return Section("engineering", text("The engineering case"), (lead,), tuple(parts), new_page=True)


def _capabilities(book: Book) -> Section:
    rows = []
    for name in book.workloads:
        for item in (book.migration(name) or {}).get("capabilities", ()):
            path = f"capabilities/{item['name']}"
            rows.append(
                (
                    text(Name(name)),
                    text(Name(item["name"])),
                    text(book.shadow(name, f"{path}/needed", "text")),
                    text(book.shadow(name, f"{path}/passed", "yes")),
                    text(book.shadow(name, f"{path}/found", "text")),
                )
            )
    if not rows:
        return Section(
            "capabilities",
            text("The capability gate"),
            (nothing("The endpoint at home was not probed yet, or shadow could not be asked."),),
        )
    table = Table(
        (
            Column("workload", share=1.4),
            Column("capability", share=1.2),
            Column("needed", share=2),
            Column("has it"),
            Column("the probe found", share=2),
        ),
        tuple(rows),
        text("What the samples of each workload used, and whether the endpoint at home has it"),
        small=True,
    )
    lead = Paragraph(text("Whatever the scores say, what the endpoint lacks blocks a move."))
    return Section("capabilities", text("The capability gate"), (lead, table))
