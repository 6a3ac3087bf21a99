"""The case for finance: what it costs, what it saves, when it is paid back, and how sure that is. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from playbook.finance.answers import RESULT_WORDS, Result
from playbook.finance.inputs import WORDS
from playbook.finance.inputs import Name as Input
from playbook.finance.reference import Published, findings, published
from playbook.report.book import Book
from playbook.report.deadline import deadline
from playbook.report.document import (
    Block,
    Card,
    Cards,
    Column,
    Figure,
    Name,
    Note,
    Paragraph,
    Section,
    Span,
    Table,
    Text,
    text,
)
from playbook.report.facts import NANOS_PER_DOLLAR, Fact, Kind, Reference, computed
from playbook.report.money import Money, money_of
from playbook.report.pictures.money import cash_flow
from playbook.report.risk import SHOWN, risk_sections
from playbook.report.spending import spend_section
from playbook.report.whose import whose_money

SOURCES = {"measured": "measured", "setting": "setting", "published": "published", "unknown": "unknown"}


def finance(book: Book) -> Section:
    """The whole case."""
    money = money_of(book.gathered)
    lead = Paragraph(
        text(
            "What does it cost, what does it save, and what would change the answer? What the book has"
            " measured is taken"
            " from there; what nobody knows is a range or stays open, and is never a convenient number."
        ),
        lead=True,
    )
    model = _model(money) if money else [_without()]
    parts = [spend_section(book), *model, *deadline(book, money), _worked_example()]
    return Section(
        "finance", text("The finance case"), (lead, *whose_money(book, money)), tuple(parts), new_page=True
    )


def _model(money: Money) -> list[Section]:
    return [_results(money), _inputs(money), *risk_sections(money)]


def answer_text(money: Money, name: Result) -> Text:
    """A result, or the range over what is unknown, or that it is not measured."""
    first, *rest = answer_parts(money, name)
    return text(first, *([" ", *rest] if rest else []))


def answer_parts(money: Money, name: Result) -> tuple[Fact, *tuple[Span, ...]]:
    """The same, as what stands out and what is said beside it."""
    found = money.answers[name]
    if found.value is not None or found.low is None:
        return (money.result(name),)
    low, high = money.result_low(name), money.result_high(name)
    if name == "payback_months":
        if money.hopeless:
            return (low, "at the soonest") if low.value != "never" else (low,)
        if high.value == "never":
            return low, "at the soonest, or ", high
    return (low,) if low.text == high.text else (low, "to ", high)


def _results(money: Money) -> Section:
    cards = Cards(tuple(_card(money, name) for name in SHOWN))
    blocks: list[Block] = [cards]
    unknown = sorted({name for result in SHOWN for name in money.answers[result].unknown})
    if unknown:
        blocks.append(
            Note(
                "What is not known",
                text(
                    "Neither measured nor set: ",
                    Name("; ".join(WORDS[name] for name in unknown)),
                    ". A result that depends on it is a range over what is possible, or not measured where"
                    " there is no range. Put it into ",
                    Name("[finance]", "code"),
                    " or ",
                    Name("[plan]", "code"),
                    " of the settings.",
                ),
            )
        )
    if money.hopeless:
        blocks.append(_too_little(money))
    outcome = money.outcome
    if outcome is None:
        blocks.append(
            Paragraph(
                text(
                    Name("The cash flow is not drawn: ", "strong"),
                    "nothing is known of ",
                    Name("; ".join(WORDS[name] for name in money.blank)),
                    ".",
                )
            )
        )
        return Section("results", text("What it costs and saves"), tuple(blocks))
    flows = [flow / NANOS_PER_DOLLAR for flow in outcome.flows]
    turn = _crossing(outcome.flows)
    inputs = money.inputs(frozenset(money.case))
    how = "months from the first day of work until the sum of all flows is no longer negative"
    since = computed("finance/turn", turn, "months", how, inputs, name="when the sum turns")
    what = "Cash flow by month from the first day of work: bars are a month, the line is their sum"
    drawn = computed(
        "picture/cash flow",
        ", ".join(map(str, outcome.flows)),
        "picture",
        "monthly flows of the model, each input at its value or the middle of its range",
        inputs,
        name="picture: cash flow",
    )
    blocks.append(
        Figure(
            "cash-flow",
            cash_flow(flows, turn or None),
            "Bars and line: cash flow by month",
            text(what),
            (drawn,),
        )
    )
    if turn is None:
        blocks.append(Paragraph(text("Within three years the sum does not come back to nothing.")))
    elif not turn:
        blocks.append(Paragraph(text("The sum is never below nothing: nothing has to be earned back.")))
    else:
        blocks.append(
            Paragraph(
                text(
                    "The sum comes back to nothing ",
                    since,
                    " after the first day of work; the payback above counts from the day on which all is at"
                    " home, at the prices after the renewal.",
                )
            )
        )
    if money.guessed:
        blocks.append(
            Paragraph(
                text(
                    "In the picture the middle of its range stands for what is not known: ",
                    Name("; ".join(WORDS[name] for name in money.guessed)),
                    ".",
                )
            )
        )
    return Section("results", text("What it costs and saves"), tuple(blocks))


def _card(money: Money, name: Result) -> Card:
    first, *rest = answer_parts(money, name)
    return Card(RESULT_WORDS[name], first, text(*rest))


def _too_little(money: Money) -> Note:
    """What a reader must not miss where nothing of what is possible pays."""
    return Note(
        "At this spend it does not pay",
        text(
            "Whatever is unknown, the cost paid once is not earned back within three years: the cloud costs ",
            money.input(Input.CLOUD),
            " at today's prices, and the work costs the same however little is spent. A migration may have"
            " other reasons than money; the other cases tell them.",
        ),
    )


def _crossing(flows: Sequence[int]) -> float | None:
    """Months after which the sum of the flows is never below zero, within a month in proportion; None if it
    ends there. The first flow is of the first day, before month 1."""
    found: float | None = 0.0
    total = 0
    for month, flow in enumerate(flows):
        before, total = total, total + flow
        if total < 0:
            found = None
        elif before < 0:
            # Not in month 0, before which the sum is 0.
            found = month - 1 - before / flow
    return found


def _inputs(money: Money) -> Section:
    rows = tuple(
        (
            text(Name(WORDS[name])),
            text(money.input(name) if item.value is not None else Name("unknown", "quiet")),
            _range(money, name),
            text(Name(SOURCES[item.source.kind])),
            text(money.source(name)),
        )
        for name, item in money.case.items()
    )
    table = Table(
        (
            Column("input", share=1.7),
            Column("value", "right", share=1.1),
            Column("range", "right", share=1.35),
            Column("kind", share=0.85),
            Column("source", share=3.2),
        ),
        rows,
        text("Every input of the model"),
        small=True,
    )
    return Section("inputs", text("What it rests on"), (table,))


def _range(money: Money, name: Input) -> Text:
    item = money.case[name]
    if item.low is None or item.low == item.high:
        return text("–")
    return text(money.low(item.name), " to ", money.high(item.name))


def _worked_example() -> Section:
    """The published case, with what its figures support."""
    item = published()

    def said(what: str, key: str) -> Fact:
        return Fact(
            f"published/{key}", what, "text", Reference(Kind.PUBLISHED, "the published case", _cited(item))
        )

    rows = tuple(
        (
            text(said(found.what, f"said {number}")),
            text(Name("holds" if found.holds else "does not hold", "strong")),
            text(
                Fact(
                    f"published/arithmetic {number}",
                    found.arithmetic,
                    "text",
                    Reference(
                        Kind.COMPUTED,
                        "the published case, computed again",
                        "the finance model with the case's own figures",
                        inputs=(said(found.what, f"said {number}"),),
                    ),
                )
            ),
        )
        for number, found in enumerate(findings(item), 1)
    )
    table = Table(
        (
            Column("what is published", share=2),
            Column("does it hold?", share=0.8),
            Column("what its own figures say", share=3),
        ),
        rows,
        text(Name(item.title)),
        small=True,
    )
    before = Paragraph(
        text(
            "The same model on a case that is told as published. It is here so that the figures above can be"
            " read with the same doubt."
        )
    )
    return Section("worked-example", text("A published case, checked"), (before, table))


def _cited(item: Published) -> str:
    return f"{item.source}. {item.note} It is {item.article}, {item.url}"


def _without() -> Section:
    return Section(
        "results",
        text("What it costs and saves"),
        (
            Paragraph(
                text(
                    Name("Not measured. ", "strong"),
                    "The finance model had no inputs: ",
                    Name("homeward finance", "code"),
                    " says what is missing.",
                )
            ),
        ),
    )
