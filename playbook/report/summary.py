"""The first page: what was found, in a minute's reading, and what is asked of whom. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from playbook.report.book import Book
from playbook.report.deadline import plan_fact
from playbook.report.document import (
    Block,
    Card,
    Cards,
    Column,
    Link,
    Name,
    Note,
    Paragraph,
    Points,
    Section,
    Table,
    Text,
    text,
)
from playbook.report.facts import Fact, computed
from playbook.report.finance import answer_text
from playbook.report.money import money_of
from playbook.report.standing import (
    evidence_of,
    home_share,
    outside,
    request_cost,
    rollbacks,
    stage_of,
)

ASKED = 5
"""Workloads that are told what they wait for."""
SHOWN = 12
"""Workloads of the table: more would not fit the page."""


def summary(book: Book, cases: Sequence[str]) -> Section:
    """The summary of the chosen cases."""
    blocks: list[Block] = [_period(book), _cards(book), _workloads(book)]
    points = [line for case in cases if (line := _LINES[case](book)) is not None]
    blocks.append(Points(tuple(points)))
    asked = [waits for name in book.workloads if (waits := _asked(book, name)) is not None]
    if book.gathered.plan is not None and book.gathered.plan["decide_by"]:
        asked.insert(0, _decide(book))
    if asked:
        blocks.append(Paragraph(text(Name("What is asked of whoever decides", "strong"))))
        blocks.append(Points(tuple(asked[:ASKED])))
    if book.gathered.problems:
        blocks.append(Note("What could not be asked", text(Name("; ".join(book.gathered.problems) + "."))))
    return Section("summary", text("Summary"), tuple(blocks))


def _decide(book: Book) -> Text:
    return text(
        "Decide by ",
        plan_fact(book, "decide_by", "date"),
        ": the new prices begin on ",
        plan_fact(book, "renewal", "date"),
        ". ",
        Link("What later costs", "deadline"),
        ".",
    )


def _asked(book: Book, workload: str) -> Text | None:
    """What a workload waits for; None if it waits for nothing."""
    found, stage = evidence_of(book, workload), stage_of(book, workload)
    where = str(stage.value) if stage else "OBSERVED"
    name = Name(workload, "strong")
    if where == "ROLLED_BACK":
        return text(
            name, ": came back to the cloud. Find the cause, then decide whether it is compared anew."
        )
    if found is None:
        return None
    if found.verdict == "REJECTED":
        return text(
            name,
            ": stays in the cloud; this model is not within the margin. Another model begins a new epoch.",
        )
    if where == "HOME":
        return text(
            name, ": is at home and is watched. Settle what the contract with the provider still needs."
        )
    if found.verdict == "READY":
        return text(
            name,
            ": is proven. Approve its next step: ",
            Name(f"homeward cutover {workload} --approve", "code"),
        )
    return text(name, ": is still compared. Nothing is to be decided yet.")


def _period(book: Book) -> Paragraph:
    return Paragraph(
        text(
            "Between ",
            book.fact("totals", "first_time", "time"),
            " and ",
            book.fact("totals", "last_time", "time"),
            " (UTC), applications got ",
            book.fact("totals", "requests", "count"),
            " answers, of which the model at home gave ",
            book.fact("totals", "home_requests", "count"),
            "; ",
            book.fact("totals", "experiment_legs", "count"),
            " further calls compared the two. Every number here can be looked up in the appendix.",
        )
    )


def _cards(book: Book) -> Cards:
    ready, every = _ready(book)
    cards = [
        Card("workloads READY to move", ready, text("of ", every, " compared")),
        Card("legs outside of their data class", outside(book)),
        _rollback_card(book),
    ]
    money = money_of(book.gathered)
    if money is not None:
        found = money.answers["payback_months"]
        if found.value is None and found.low is not None:
            more = text("to ", money.result_high("payback_months"))
            cards.append(Card("payback", money.result_low("payback_months"), more))
        else:
            cards.append(Card("payback", money.result("payback_months")))
    return Cards(tuple(cards))


def _ready(book: Book) -> tuple[Fact, Fact]:
    found = [item for name in book.workloads if (item := evidence_of(book, name)) is not None]
    facts = [item.last.fact("verdict", "text") for item in found] or [
        book.missing("windows", "verdict", "text")
    ]
    ready = sum(item.verdict == "READY" for item in found) if found else None
    return (
        computed("summary/ready", ready, "count", "workloads whose last window says READY", facts),
        computed(
            "summary/compared",
            len(found) if found else None,
            "count",
            "workloads with a closed window",
            facts,
        ),
    )


def _rollback_card(book: Book) -> Card:
    facts = [
        book.fact(f"in_force/{item.number}", "last_s", "s")
        for name in book.workloads
        for item in rollbacks(book, name)
    ]
    if not facts:
        return Card("slowest rollback", book.missing("in_force", "last_s", "s"), text("none was drilled"))
    known = [fact.number for fact in facts if fact.number is not None]
    slowest = max(known) if len(known) == len(facts) else None
    count = computed("summary/rollbacks", len(facts), "count", "rollbacks in the journal", facts)
    fact = computed("summary/slowest rollback", slowest, "s", "the slowest of them to be in force", facts)
    return Card("slowest rollback to be in force", fact, text("of ", count))


def _workloads(book: Book) -> Table:
    shown = sorted(book.workloads, key=lambda name: (evidence_of(book, name) is None, name))[:SHOWN]
    rows = []
    for name in shown:
        found = evidence_of(book, name)
        stage = stage_of(book, name)
        rows.append(
            (
                text(Name(name, "strong")),
                text(stage) if stage else text(Name("no entry")),
                text(found.last.fact("verdict", "text")) if found else text(Name("not compared")),
                text(found.last.fact("lower_bound", "difference")) if found else text("–"),
                text(home_share(book, name)),
                text(request_cost(book, name, "cloud")),
                text(request_cost(book, name, "sovereign")),
                text(book.fact(f"outside/{name}", "outside_legs", "count")),
            )
        )
    left = len(book.workloads) - len(shown)
    caption: Text = text("Workloads")
    if left > 0:
        more = Name(f"Workloads; {left} more are in the cases")
        caption = text(more)
    return Table(
        (
            Column("workload", share=2.6),
            Column("stage", share=1.35),
            Column("verdict", share=1.25),
            Column("home − cloud, at least", "right", share=1),
            Column("answered at home", "right", share=0.9),
            Column("1,000 requests, cloud", "right", share=1),
            Column("1,000 requests, home", "right", share=1),
            Column("legs outside", "right", share=0.75),
        ),
        tuple(rows),
        caption,
        small=True,
    )


def _engineering(book: Book) -> Text:
    ready, every = _ready(book)
    return text(
        Name("Engineering. ", "strong"),
        "Of ",
        every,
        " workloads that were compared, the model at home is proven to be within the margin for ",
        ready,
        "; the others stay where they are until they are proven, or another model is tried. ",
        Link("Evidence", "engineering"),
        ".",
    )


def _finance(book: Book) -> Text:
    money = money_of(book.gathered)
    if money is None:
        return text(
            Name("Finance. ", "strong"),
            "The model has no inputs yet, so that cost, saving and payback are not measured. ",
            Link("What was spent", "finance"),
            ".",
        )
    return text(
        Name("Finance. ", "strong"),
        "Paid once: ",
        *answer_text(money, "one_time"),
        "; saved a year: ",
        *answer_text(money, "saving_year"),
        "; payback: ",
        *answer_text(money, "payback_months"),
        ". ",
        Link("What it rests on", "finance"),
        ".",
    )


def _legal(book: Book) -> Text:
    return text(
        Name("Legal. ", "strong"),
        outside(book),
        " legs ran outside of the targets and regions that their data class allows. What the organisation"
        " has to declare"
        " and to do is listed by clause. ",
        Link("Where the data went", "legal"),
        ".",
    )


def _procurement(_book: Book) -> Text:
    return text(
        Name("Procurement. ", "strong"),
        "Staying, migrating and building are compared with the inputs of each; the cloud remains a target,"
        " so that a"
        " move can be taken back. ",
        Link("Alternatives", "procurement"),
        ".",
    )


_LINES = {"engineering": _engineering, "finance": _finance, "legal": _legal, "procurement": _procurement}
