"""How workloads moved, by the journal, and how soon they came back. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from playbook.report.book import Book, DecisionFound
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
from playbook.report.pictures.serving import Flow, traffic
from playbook.report.pictures.style import PANELS
from playbook.report.standing import back_in_force, rollbacks

SHOWN_DECISIONS = 40
"""Entries of the table; the others are counted. The journal has all."""


def moves_section(book: Book) -> Section:
    """Which target answered when, and the decisions behind it."""
    blocks: list[Block] = []
    flows, step_s = _flows(book)
    if flows:
        blocks.append(
            Figure(
                "traffic",
                traffic(flows, step_s),
                "Areas: answered requests by target over time, with a line at each decision, by workload",
                text(
                    "Which target answered applications over time; dotted lines are decisions (UTC)",
                    *some_of(PANELS, len(flows)),
                ),
                (book.drawn("traffic", "traffic", book.rows("traffic")),),
            )
        )
    every = [item for name in book.workloads for item in book.decisions(name)]
    if every:
        shown = sorted(every, key=lambda item: item.number)[-SHOWN_DECISIONS:]
        blocks.append(_decisions(shown))
        if len(every) > len(shown):
            blocks.append(
                Paragraph(text("The journal has ", book.decision_count("entries", every), " such entries."))
            )
    else:
        blocks.append(nothing("The journal has no decision about these workloads, or could not be asked."))
    blocks.append(
        Paragraph(
            text(
                "Each entry has the hash of the chain up to it, so that none can be changed or taken out"
                " unseen; ",
                Name("homeward ledger verify", "code"),
                " checks the whole chain.",
            )
        )
    )
    return Section("decisions", text("How it moved: the journal"), tuple(blocks))


def _decisions(shown: list[DecisionFound]) -> Table:
    return Table(
        (
            Column("entry", "right", share=0.6),
            Column("time (UTC)", share=1.9),
            Column("workload", share=1.4),
            Column("to", share=1.5),
            Column("by", share=0.9),
            Column("why", share=3.2),
            Column("hash", share=1.35),
        ),
        tuple(
            (
                text(item.fact("decision_id", "count")),
                text(item.fact("decide_time", "time")),
                text(Name(item.row["workload"])),
                text(item.fact("to", "text")),
                text(Name(item.row["actor"])),
                text(item.fact("reason", "text")),
                text(item.fact("entry_sha256", "hash")),
            )
            for item in shown
        ),
        text("Decisions, the oldest first"),
        small=True,
    )


def _flows(book: Book) -> tuple[list[Flow], float]:
    asked = book.gathered.answers.get("traffic")
    if asked is None or not asked.rows:
        return [], 0.0
    made = []
    for name in book.workloads:
        rows = book.rows("traffic", workload=name)
        moves = [
            (_moment(item.row["decide_time"]), str(item.row["to"]).replace("CANARY ", ""))
            for item in book.decisions(name)
        ]
        if not rows or (len({row["target"] for row in rows}) < 2 and not moves):
            continue
        times = sorted({_moment(row["step_time"]) for row in rows})
        counts = {(row["target"], _moment(row["step_time"])): row["requests"] for row in rows}
        made.append(
            Flow(
                name,
                times,
                [counts.get(("cloud", time), 0) for time in times],
                [counts.get(("sovereign", time), 0) for time in times],
                [(moment, label) for moment, label in moves if moment >= times[0]],
            )
        )
    made.sort(key=lambda flow: -sum(flow.home))
    return made, float(asked.parameters["step_s"])


def rollbacks_section(book: Book) -> Section:
    """The ways back, and how soon each was in force."""
    rows = []
    for name in book.workloads:
        for item in rollbacks(book, name):
            query = f"in_force/{item.number}"
            rows.append(
                (
                    text(Name(name)),
                    text(item.fact("decide_time", "time")),
                    text(Name(item.row["actor"])),
                    text(item.fact("reason", "text")),
                    text(back_in_force(book, item.number)),
                    text(book.fact(query, "late_requests", "count")),
                    text(book.fact(query, "cloud_requests", "count")),
                )
            )
    if not rows:
        return Section(
            "rollbacks",
            text("Rollback drills"),
            (
                nothing("No rollback is in the journal: the way back was not drilled in this period."),
                Paragraph(
                    text("Drill it with ", Name("homeward rollback WORKLOAD --reason drill", "code"), ".")
                ),
            ),
        )
    table = Table(
        (
            Column("workload", share=1.2),
            Column("decided (UTC)", share=1.7),
            Column("by", share=0.8),
            Column("why", share=2.9),
            Column("in force after", "right", share=0.9),
            Column("began at home since", "right", share=0.9),
            Column("then in the cloud", "right", share=0.8),
        ),
        tuple(rows),
        text("Ways back in the period, from the decision to its effect"),
        small=True,
    )
    how = Paragraph(
        text(
            "In force is a decision with the first request that began in the cloud and after which none"
            " began at home. It is measured by requests, so that it can't be sooner than the next of them."
            " An alarm or a breaker decides by itself (here as ",
            Name("shadow", "code"),
            "); a drill is a person's.",
        )
    )
    return Section("rollbacks", text("Rollback drills"), (how, table))


def _moment(value: str) -> datetime:
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
