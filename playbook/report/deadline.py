"""When it must be decided, and what deciding later costs: the plan, for the finance case. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playbook.report.book import Book
from playbook.report.document import Block, Column, Name, Paragraph, Points, Section, Table, Text, text
from playbook.report.facts import NOT_SET, Fact, computed
from playbook.report.money import Money

TERMS = ("renewal", "notice_days", "approval_weeks", "phase_weeks_low", "phase_weeks_high", "at_once")
STANDING = {
    "unknown": "The date of the renewal is not set, so that no last day follows from it.",
    "in time": "There is time for slow phases, if it is decided by then.",
    "tight": "There is time for fast phases only: not a day can be lost.",
    "too late": "Even fast phases end after the renewal.",
    "passed": "The renewal has been.",
}
DONE = "Nothing is left to move: what remains is this document, and the provider."
DECISIONS = frozenset({"decide_by", "decide_at_the_latest"})
TOLD = (("still", "What can still be done"), ("remarks", "What to know of the dates"))
"""What the plan says in sentences."""


def plan_fact(book: Book, key: str, unit: str) -> Fact:
    """A value of the plan, which follows from `[plan]` and the day of the document."""
    value: Any = book.gathered.plan
    for part in key.split("/"):
        value = value.get(part) if isinstance(value, Mapping) else None
    terms = [book.setting(f"plan/{term}", default=NOT_SET) for term in TERMS]
    how = "counted backwards from the renewal, or forwards from the day of the document: `homeward plan`"
    if value is None and not (terms[0].there and (key != "notice_by" or terms[1].number)):
        value, unit = NOT_SET, "text"
    return computed(f"plan/{key}", value, unit, how, terms, name="dates of the plan")


def deadline(book: Book, money: Money | None) -> list[Section]:
    """When it must be decided, and what later costs."""
    found = book.gathered.plan
    if found is None:
        return []
    days: tuple[tuple[str, str], ...] = (
        ("first day of the new prices", "renewal"),
        ("last day of a decision, with slow phases", "decide_by"),
        ("last day of a decision, with fast phases", "decide_at_the_latest"),
        ("last day of notice to the provider", "notice_by"),
        ("all done if it is decided now, at the latest", "home/slow"),
        ("all done if it is decided now, at the earliest", "home/fast"),
    )
    done = nothing_left(book)
    dates = Table(
        (Column("", share=2.4), Column("", share=1)),
        tuple(
            (text(label), text(plan_fact(book, key, "date")))
            for label, key in days
            if not (done and key in DECISIONS)
        ),
        text("The dates"),
        small=True,
    )
    standing = DONE if done else STANDING.get(str(found["standing"]), "")
    blocks: list[Block] = [Paragraph(text(standing)), dates, *_told(book)]
    if money is not None and found["delays"]:
        blocks.append(_delays(book, money, found["delays"]))
    return [Section("deadline", text("When it must be decided"), tuple(blocks))]


def nothing_left(book: Book) -> bool:
    """Whether all that is planned is at home."""
    return (book.gathered.plan or {}).get("first") == "report"


def _told(book: Book) -> list[Block]:
    terms = [book.setting(f"plan/{term}", default=NOT_SET) for term in TERMS]
    how = "as `homeward plan` says it"
    blocks: list[Block] = []
    for key, title in TOLD:
        facts = [
            computed(
                f"plan/{key}/{number}", said.replace("`", ""), "text", how, terms, name="the plan's words"
            )
            for number, said in enumerate((book.gathered.plan or {})[key], 1)
        ]
        if facts:
            blocks += [Paragraph(text(Name(title, "strong"))), Points(tuple(text(fact) for fact in facts))]
    return blocks


def _delays(book: Book, money: Money, delays: Sequence[Mapping[str, Any]]) -> Table:
    inputs = [*money.inputs(frozenset(money.case)), plan_fact(book, "renewal", "date")]

    def cost(item: Mapping[str, Any]) -> Text:
        def one(end: str) -> Fact:
            key = f"plan/delay of {item['months']} months/{end}"
            how = "the saving that is missed, at the prices of its time"
            return computed(key, item["cost"][end], "nanos", how, inputs, name="cost of deciding later")

        if item["cost"]["value"] is None and item["cost"]["low"] is not None:
            return text("between ", one("low"), " and ", one("high"))
        return text(one("value"))

    def told(item: Mapping[str, Any], key: str, unit: str) -> Fact:
        return computed(
            f"plan/delay of {item['months']} months/{key}",
            item[key],
            unit,
            "the same plan, decided later",
            [plan_fact(book, "renewal", "date")],
            name="plans that are decided later",
        )

    return Table(
        (
            Column("decided", share=1),
            Column("months later", share=0.8),
            Column("all done at the latest", share=1.2),
            Column("costs", "right", share=1.4),
        ),
        tuple(
            (
                text(told(item, "decide", "date")),
                text(told(item, "months", "count")),
                text(told(item, "home", "date")),
                cost(item),
            )
            for item in delays
        ),
        text("What it costs to decide later"),
        small=True,
    )
