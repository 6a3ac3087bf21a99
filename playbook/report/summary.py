"""The first page: what was found, in a minute's reading, and what is asked of whom. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from playbook.report.book import Book
from playbook.report.deadline import nothing_left, plan_fact
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
    Span,
    Table,
    Text,
    text,
)
from playbook.report.facts import Fact, computed
from playbook.report.finance import answer_parts, answer_text
from playbook.report.money import money_of
from playbook.report.standing import (
    TARGETS,
    back_in_force,
    came_back,
    evidence_of,
    home_share,
    outside,
    partly_known,
    request_cost,
    rollbacks,
    stage_of,
)

ASKED = 5
"""Workloads that are told what they wait for."""
NAMED = 3
"""Workloads that came back and are told by name."""
OBSERVED = "OBSERVED"
"""The stage of a workload about which nothing has been decided."""
PARTLY = "*"
"""Marks a cost that is of some requests only."""
WEEK_S = 7 * 86_400
SHOWN = 10
"""Workloads of the table: more would not fit the page."""
LAST_DAY = {"in time": "decide_by", "tight": "decide_at_the_latest"}
"""The last day of a decision that is still to come, by how the plan stands."""


def summary(book: Book, cases: Sequence[str]) -> Section:
    """The summary of the chosen cases."""
    blocks: list[Block] = [_period(book), *_short(book), _cards(book), _workloads(book)]
    points = [line for case in cases if (line := _LINES[case](book)) is not None]
    blocks.append(Points(tuple(points)))
    asked = [waits for name in book.workloads if (waits := _asked(book, name)) is not None]
    plan = book.gathered.plan or {}
    if nothing_left(book):
        if plan.get("notice_by") and plan.get("standing") != "passed":
            asked.insert(0, _notice(book, late=plan["notice_by"] < plan["as_of"]))
    elif key := LAST_DAY.get(str(plan.get("standing"))):
        asked.insert(0, _decide(book, key))
    if asked:
        blocks.append(Paragraph(text(Name("What is asked of whoever decides", "strong"))))
        blocks.append(Points(tuple(asked[:ASKED])))
    if book.gathered.problems:
        blocks.append(Note("What could not be asked", text(Name("; ".join(book.gathered.problems) + "."))))
    return Section("summary", text("Summary"), tuple(blocks))


def _decide(book: Book, key: str) -> Text:
    return text(
        "Decide by ",
        plan_fact(book, key, "date"),
        ": the new prices begin on ",
        plan_fact(book, "renewal", "date"),
        ". ",
        Link("What later costs", "deadline"),
        ".",
    )


def _notice(book: Book, *, late: bool) -> Text:
    """All that is left to ask for where all is at home."""
    return text(
        "Notice to the provider was due by " if late else "Give notice to the provider by ",
        plan_fact(book, "notice_by", "date"),
        ": ask for a later one, or for a short term, for the new prices begin on "
        if late
        else ": the new prices begin on ",
        plan_fact(book, "renewal", "date"),
        ".",
    )


def _asked(book: Book, workload: str) -> Text | None:
    """What a workload waits for; None if it waits for nothing."""
    found, stage = evidence_of(book, workload), stage_of(book, workload)
    where = str(stage.value) if stage else OBSERVED
    name = Name(workload, "strong")
    if came_back(book, workload):
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
            " answers, of which models at home gave ",
            book.fact("totals", "home_requests", "count"),
            "; ",
            book.fact("totals", "experiment_legs", "count"),
            " further calls compared cloud and home. Every number leads to where it comes from.",
        )
    )


def _short(book: Book) -> list[Block]:
    """What a reader must know of a book that is younger than a week."""
    span = book.fact("totals", "span_s", "s")
    if span.number is None or span.number >= WEEK_S:
        return []
    return [
        Note(
            "A short time",
            text(
                "All of this is from ",
                span,
                " of traffic. What is said of a month or a year goes far beyond it, and no week was seen as a"
                " whole.",
            ),
        )
    ]


def _cards(book: Book) -> Cards:
    ready, every = _ready(book)
    cards = [
        Card("workloads proven to be within their margin", ready, text("of ", every, " compared")),
        Card("calls outside of their data class", outside(book), text("of ", _calls(book))),
        _rollback_card(book),
    ]
    money = money_of(book.gathered)
    if money is not None:
        payback, *more = answer_parts(money, "payback_months")
        cards.append(Card("payback", payback, text(*more)))
    return Cards(tuple(cards))


def _calls(book: Book) -> Fact:
    """All calls that were looked at for that."""
    facts = [book.fact(f"outside/{name}", "legs", "count") for name in book.workloads]
    values = [fact.number for fact in facts]
    value = None if None in values or not values else round(sum(item for item in values if item is not None))
    return computed(
        "outside/calls",
        value,
        "count",
        "sum over the workloads",
        facts or [book.missing("outside", "legs", "count")],
        name="calls of all workloads",
    )


def _ready(book: Book) -> tuple[Fact, Fact]:
    found = [item for name in book.workloads if (item := evidence_of(book, name)) is not None]
    facts = [item.last.fact("verdict", "text") for item in found] or [
        book.missing("windows", "verdict", "text")
    ]
    ready = sum(item.verdict == "READY" for item in found) if found else None
    return (
        computed(
            "summary/ready",
            ready,
            "count",
            "workloads whose last window says READY",
            facts,
            name="workloads READY",
        ),
        computed(
            "summary/compared",
            len(found) if found else None,
            "count",
            "workloads with a closed window",
            facts,
            name="workloads compared",
        ),
    )


def _rollback_card(book: Book) -> Card:
    facts = [back_in_force(book, item.number) for name in book.workloads for item in rollbacks(book, name)]
    if not facts:
        missing = book.missing("in_force", "seen_s", "s")
        return Card("slowest rollback", missing, text("the way back was not tried"))
    known = [fact.number for fact in facts if fact.number is not None]
    slowest = max(known) if len(known) == len(facts) else None
    count = computed(
        "summary/rollbacks", len(facts), "count", "rollbacks in the journal", facts, name="rollbacks"
    )
    how = "the slowest of them to be in force"
    fact = computed("summary/slowest rollback", slowest, "s", how, facts, name="slowest rollback")
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
                text(stage) if stage else text(Name(OBSERVED)),
                text(found.last.fact("verdict", "text")) if found else text(Name("not compared")),
                text(found.last.fact("lower_bound", "difference")) if found else text("–"),
                text("−", found.last.fact("margin", "number")) if found else text("–"),
                text(home_share(book, name)),
                _request_cost(book, name, "cloud"),
                _request_cost(book, name, "sovereign"),
                text(book.fact(f"outside/{name}", "outside_legs", "count")),
            )
        )
    left = len(book.workloads) - len(shown)
    caption: Text = text(
        "Workloads; the score of home less that of the cloud, and the margin that it may not fall below"
    )
    if any(partly_known(book, name, target) for name in shown for target in TARGETS):
        caption = text(*caption, "; ", PARTLY, " of those with a known cost")
    if left > 0:
        caption = text(*caption, Name(f"; {left} more are in the cases"))
    return Table(
        (
            Column("workload", share=2.7),
            Column("stage", share=1.45),
            Column("verdict", share=1.25),
            Column("home − cloud, at least", "right", share=0.95),
            Column("margin", "right", share=0.75),
            Column("answered at home", "right", share=0.9),
            Column("1,000 requests, cloud", "right", share=1),
            Column("1,000 requests, home", "right", share=1),
            Column("calls outside", "right", share=0.75),
        ),
        tuple(rows),
        caption,
        small=True,
    )


def _request_cost(book: Book, workload: str, target: str) -> Text:
    """What a thousand requests cost, marked where it is of some only."""
    return text(request_cost(book, workload, target), PARTLY if partly_known(book, workload, target) else "")


def _engineering(book: Book) -> Text:
    ready, every = _ready(book)
    back = [name for name in book.workloads if came_back(book, name)]
    said: list[Span] = [
        Name("Engineering. ", "strong"),
        "The model at home is proven to be within the margin for ",
        ready,
        " of the ",
        every,
        " workloads that were compared. ",
    ]
    if back:
        stages = [stage for name in back if (stage := stage_of(book, name)) is not None]
        count = computed("summary/came back", len(back), "count", "workloads that are ROLLED_BACK", stages)
        said += [
            *([Name(", ".join(back))] if len(back) <= NAMED else [count, " workloads"]),
            " came back to the cloud after its move: " if len(back) == 1 else " came back to the cloud: ",
            Link("why", "rollbacks"),
            ". ",
        ]
    return text(*said, Link("Evidence", "engineering"), ".")


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
        " of ",
        _calls(book),
        " calls ran outside of the targets and regions that their data class allows. What the organisation"
        " has to declare and to do is listed by clause. ",
        Link("Where the data went", "legal"),
        ".",
    )


def _procurement(_book: Book) -> Text:
    return text(
        Name("Procurement. ", "strong"),
        "Staying, migrating and building are compared with the inputs of each; the cloud remains a target,"
        " so that a move can be taken back. ",
        Link("Alternatives", "procurement"),
        ".",
    )


_LINES = {"engineering": _engineering, "finance": _finance, "legal": _legal, "procurement": _procurement}
