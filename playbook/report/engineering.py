"""The case for engineering: what was compared, what it says, how it moved, and how it comes back. Pure."""

from __future__ import annotations

from playbook.report import pictures
from playbook.report.book import Book
from playbook.report.comparison import compared_section, verdicts_section
from playbook.report.document import (
    Block,
    Column,
    Figure,
    Name,
    Paragraph,
    Section,
    Table,
    nothing,
    some_of,
    text,
)
from playbook.report.moves import moves_section, rollbacks_section
from playbook.report.pictures import SPREADS
from playbook.report.standing import evidence_of


def engineering(book: Book) -> Section:
    """The whole case."""
    found = {name: item for name in book.workloads if (item := evidence_of(book, name)) is not None}
    parts = [
        compared_section(book, found),
        verdicts_section(book, found),
        _capabilities(book),
        _latency(book),
        moves_section(book),
        rollbacks_section(book),
        _examples(),
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
                    text(Name(item["needed"])),
                    text(book.shadow(name, f"{path}/passed", "yes")),
                    text(Name(item["found"])),
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


def _latency(book: Book) -> Section:
    blocks: list[Block] = []
    sampled = book.rows("latency", kind="sampled")
    if sampled:
        blocks.append(
            Paragraph(
                text(
                    "Side by side: only requests that were compared, so that both targets had the same ones"
                    " at the same"
                    " time. Answered legs; a percentile is within a hundredth of the exact one."
                )
            )
        )
        spreads = [
            pictures.Spread(
                row["workload"],
                row["target"],
                *(None if row[name] is None else row[name] / 1000 for name in ("p50_us", "p95_us", "p99_us")),
            )
            for row in sampled
        ]
        blocks.append(
            Figure(
                "latency",
                pictures.latency(spreads),
                "Dots: median, 95th and 99th percentile of the latency at both targets, by workload",
                text(
                    "How long answers took at both targets, on the same requests",
                    *some_of(SPREADS, len({row["workload"] for row in sampled})),
                ),
                (book.drawn("latency", "latency", sampled),),
            )
        )
        blocks.append(_percentiles(book, "sampled", "The same requests at both targets"))
    if book.rows("latency", kind="production"):
        blocks.append(
            _percentiles(
                book, "production", "What applications waited for: the cloud before, home after the move"
            )
        )
    if not blocks:
        blocks.append(nothing("No answered leg is in the period."))
    return Section("latency", text("Latency"), tuple(blocks))


def _percentiles(book: Book, kind: str, caption: str) -> Table:
    columns = ("p50_us", "p95_us", "p99_us", "ttft_p50_us", "ttft_p95_us")
    return Table(
        (
            Column("workload", share=2),
            Column("target", share=1.2),
            Column("legs", "right"),
            *(Column(name, "right") for name in ("p50", "p95", "p99", "first token p50", "first token p95")),
        ),
        tuple(
            (
                text(Name(row["workload"])),
                text(Name("at home" if row["target"] == "sovereign" else "cloud")),
                text(row.fact("legs", "count")),
                *(text(row.fact(name, "us")) for name in columns),
            )
            for row in book.rows("latency", kind=kind)
        ),
        text(caption),
        small=True,
    )


def _examples() -> Section:
    return Section(
        "disagreement",
        text("Examples of disagreement"),
        (
            Paragraph(
                text(
                    "None are shown, because none are kept: a sample's text is deleted when it is scored,"
                    " whatever its"
                    " data class. The book has the scores of each triplet and the ids of its legs and trace."
                )
            ),
        ),
    )
