"""What is spent today, as the book and the imports have it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from playbook.report.book import Book
from playbook.report.document import (
    Block,
    Column,
    Figure,
    Name,
    Note,
    Paragraph,
    Section,
    Table,
    Text,
    joined,
    text,
)
from playbook.report.facts import NANOS_PER_DOLLAR, Fact
from playbook.report.pictures.money import Bar, pareto
from playbook.report.pictures.style import HOME, RULE
from playbook.report.standing import experiment_cost, home_share, request_cost, unknown_costs

PARETO_BARS = 10


def spend_section(book: Book) -> Section:
    """Cost by workload, of comparing, and of the pools at home."""
    blocks: list[Block] = []
    bars, drawn, source = _pareto(book)
    if bars:
        blocks.append(
            Figure(
                "pareto",
                pareto(bars),
                "Bars: cost in the cloud by workload, the dearest first; line: share of the whole, added up",
                text(source),
                (drawn,),
            )
        )
    names = [name for name in book.workloads if book.rows("spend", workload=name)]
    if names:
        blocks.append(
            Table(
                (
                    Column("workload", share=1.8),
                    Column("requests", "right"),
                    Column("answered at home", "right"),
                    Column("cost, cloud", "right"),
                    Column("cost, home", "right"),
                    Column("1,000 requests, cloud", "right", share=1.1),
                    Column("1,000 requests, home", "right", share=1.1),
                    Column("cost of comparing", "right"),
                    Column("calls without a known cost", "right"),
                ),
                tuple(_row(book, name) for name in names),
                text("What workloads cost in the period, as booked; idle time at home is in the next table"),
                small=True,
            )
        )
        blocks += _partly(book, names)
        blocks.append(
            Paragraph(
                text(
                    "What a request at home costs is its part of what the machines cost while they worked; of"
                    " a workload that no application has used there, it is that of the comparison's calls. A"
                    " cost at home is known when its pool's period is closed."
                )
            )
        )
    pools = book.rows("pools")
    if pools:
        blocks.append(
            Table(
                (
                    Column("pool", share=1.4),
                    Column("time", "right"),
                    Column("busy", "right"),
                    Column("cost", "right"),
                    Column("of it idle", "right"),
                    Column("calls", "right"),
                ),
                tuple(
                    (
                        text(Name(row["pool"])),
                        text(row.fact("seconds", "s")),
                        text(row.fact("utilisation", "share")),
                        text(row.fact("cost", "nanos")),
                        text(row.fact("idle", "nanos")),
                        text(row.fact("legs", "count")),
                    )
                    for row in pools
                ),
                text("What the pools at home cost in their closed periods, whether they served or not"),
                small=True,
            )
        )
    if not blocks:
        blocks.append(
            Paragraph(text(Name("Not measured. ", "strong"), "No leg of these workloads is booked."))
        )
    return Section("spend", text("What is spent today"), tuple(blocks))


def _row(book: Book, name: str) -> tuple[Text, ...]:
    def cost(target: str) -> Fact:
        # Where no application was answered, nothing was spent; a cost of which nothing is known is unknown.
        return book.sum("spend", "known_nanos", "nanos", workload=name, target=target, purpose="production")

    return (
        text(Name(name)),
        text(book.sum("spend", "ok_legs", "count", workload=name, purpose="production")),
        text(home_share(book, name)),
        text(cost("cloud")),
        text(cost("sovereign")),
        text(request_cost(book, name, "cloud")),
        text(request_cost(book, name, "sovereign")),
        text(experiment_cost(book, name)),
        text(unknown_costs(book, name)),
    )


def _partly(book: Book, names: Sequence[str]) -> list[Block]:
    """That the costs are of a part of the calls, where they are."""
    unknown = [(name, fact) for name in names if (fact := unknown_costs(book, name)).value]
    if not unknown:
        return []
    return [
        Note(
            "Not all costs are known",
            text(
                "Calls without a known cost are in no sum: ",
                *joined([text(fact, " of ", Name(name)) for name, fact in unknown]),
                ". Each cost is of the others, so that the true one may be higher.",
            ),
        )
    ]


def _pareto(book: Book) -> tuple[list[Bar], Fact, str]:
    """Of the inventory if anything is imported, else of what the router booked."""
    found = book.gathered.inventory
    inside = {*book.workloads}
    if found is not None:
        priced = [row for row in found["workloads"] if (row["month_nanos"] or 0) > 0]
        rows = [(row["name"], row["month_nanos"]) for row in priced]
        drawn = Fact(
            "picture/pareto",
            ", ".join(f"{name}: {nanos}" for name, nanos in rows[:PARETO_BARS]),
            "picture",
            book.inventory("month", None, "nanos").reference,
        )
        source = (
            "What workloads cost in the cloud in a month, by imported usage and by what the router booked"
        )
    else:
        legs = [row for row in book.rows("spend", target="cloud", purpose="production") if row["known_nanos"]]
        rows = [(row["workload"], row["known_nanos"]) for row in legs]
        drawn = book.drawn("spend", "pareto", legs)
        source = "What workloads cost in the cloud in the period, as the router booked it"
    rows.sort(key=lambda row: -row[1])
    shown, rest = rows[:PARETO_BARS], rows[PARETO_BARS:]
    bars = [Bar(name, nanos / NANOS_PER_DOLLAR, HOME if name in inside else RULE) for name, nanos in shown]
    if rest:
        others = sum(nanos for _, nanos in rest) / NANOS_PER_DOLLAR
        bars.append(Bar(f"{len(rest)} others", others, RULE))
    return bars, drawn, source
