"""How long answers took: side by side on the same requests, and what applications waited for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from playbook.report.book import Book, Found
from playbook.report.document import (
    Block,
    Column,
    Figure,
    Name,
    Paragraph,
    Section,
    Table,
    Text,
    nothing,
    some_of,
    text,
)
from playbook.report.pictures.serving import SPREADS, Spread, latency

TARGETS = (("cloud", "cloud"), ("sovereign", "home"))
PERCENTILES = (("p50", "p50_us"), ("p95", "p95_us"), ("p99", "p99_us"))
FIRST = (("p50", "ttft_p50_us"), ("p95", "ttft_p95_us"))
"""Of the time to the first token."""


def latency_section(book: Book) -> Section:
    """Both, with a picture of the first."""
    sampled = book.rows("latency", kind="sampled")
    blocks: list[Block] = [*_side_by_side(book, sampled)] if sampled else []
    if book.rows("latency", kind="production"):
        blocks.append(_waited(book))
        blocks.append(
            Paragraph(
                text(
                    "The slowest of twenty (",
                    Name("p95"),
                    ") needs twenty calls, the slowest of a hundred (",
                    Name("p99"),
                    ") a hundred; of fewer it is not measured. Each is within a hundredth of the exact one."
                    " The time to the first token is that of streamed answers.",
                )
            )
        )
    if not blocks:
        blocks.append(nothing("No answered leg is in the period."))
    return Section("latency", text("Latency, before and after"), tuple(blocks))


def _side_by_side(book: Book, sampled: Sequence[Found]) -> list[Block]:
    names = list(dict.fromkeys(row["workload"] for row in sampled))
    spreads = [
        Spread(
            row["workload"],
            row["target"],
            *(None if row[name] is None else row[name] / 1000 for _, name in PERCENTILES),
        )
        for row in sampled
    ]
    blocks: list[Block] = [
        Paragraph(
            text(
                "Side by side: only requests that were compared and that both targets answered. In the cloud"
                " they were called twice, for the comparison, and all of these calls count."
            )
        ),
        Figure(
            "latency",
            latency(spreads),
            "Dots: median, slowest of twenty and of a hundred answers at both targets, by workload",
            text("How long the same requests took at both targets", *some_of(SPREADS, len(names))),
            (book.drawn("latency", "latency", sampled),),
        ),
        _pairs(book, names, PERCENTILES, "The same requests at both targets, to the end of the answer"),
    ]
    if any(row["streamed_legs"] for row in sampled):
        blocks.append(_pairs(book, names, FIRST, "The same requests at both targets, to the first token"))
    else:
        blocks.append(
            Paragraph(
                text(
                    "The time to the first token is not measured on the same requests: none of these calls"
                    " was streamed. Below it is that of the applications' own streamed requests."
                )
            )
        )
    return blocks


def _pairs(book: Book, names: Sequence[str], wanted: Sequence[tuple[str, str]], caption: str) -> Table:
    def row(name: str) -> tuple[Text, ...]:
        where = {"kind": "sampled", "workload": name}
        return (
            text(Name(name)),
            text(book.fact("latency", "requests", "count", target="sovereign", **where)),
            *(
                text(book.fact("latency", column, "us", target=target, **where))
                for _, column in wanted
                for target, _ in TARGETS
            ),
        )

    return Table(
        (
            Column("workload", share=1.8),
            Column("requests", "right"),
            *(Column(f"{word} {where}", "right") for word, _ in wanted for _, where in TARGETS),
        ),
        tuple(row(name) for name in names),
        text(caption),
        small=True,
    )


def _waited(book: Book) -> Table:
    columns = [name for _, name in (*PERCENTILES, *FIRST)]
    return Table(
        (
            Column("workload", share=1.8),
            Column("target", share=1),
            Column("answers", "right"),
            *(Column(word, "right") for word, _ in PERCENTILES),
            Column("of it streamed", "right"),
            *(Column(f"first token {word}", "right") for word, _ in FIRST),
        ),
        tuple(
            (
                text(Name(row["workload"])),
                text(Name("at home" if row["target"] == "sovereign" else "cloud")),
                text(row.fact("legs", "count")),
                *(text(row.fact(name, "us")) for name in columns[:3]),
                text(row.fact("streamed_legs", "count")),
                *(text(row.fact(name, "us")) for name in columns[3:]),
            )
            for row in book.rows("latency", kind="production")
        ),
        text("What applications waited for: the cloud before, home after the move"),
        small=True,
    )
