"""The case for finance: what it costs, what it saves, when it is paid back, and how sure that is. Pure."""

from __future__ import annotations

from fractions import Fraction

from playbook.finance.answers import RESULT_WORDS, Result
from playbook.finance.inputs import WORDS
from playbook.finance.model import NEVER
from playbook.finance.reference import findings, published
from playbook.finance.risk import draws, tornado
from playbook.report import pictures
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
    Table,
    Text,
    text,
)
from playbook.report.facts import NANOS_PER_DOLLAR, Fact, Kind, Reference, Value, computed
from playbook.report.money import Money, money_of
from playbook.report.spending import spend_section

SHOWN: tuple[Result, ...] = ("one_time", "saving_year", "payback_months", "npv")
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
    return Section("finance", text("The finance case"), (lead,), tuple(parts), new_page=True)


def _model(money: Money) -> list[Section]:
    return [_results(money), _inputs(money), *_risk(money)]


def answer_text(money: Money, name: Result) -> Text:
    """A result, or the range over what is unknown, or that it is not measured."""
    found = money.answers[name]
    if found.value is None and found.low is not None:
        return text(money.result_low(name), " to ", money.result_high(name))
    return text(money.result(name))


def _results(money: Money) -> Section:
    cards = Cards(tuple(_card(money, name) for name in SHOWN))
    blocks: list[Block] = [cards]
    unknown = sorted({name for result in SHOWN for name in money.answers[result].unknown})
    if unknown:
        blocks.append(
            Note(
                "What is not known",
                text(
                    Name("; ".join(WORDS[name] for name in unknown)),
                    ". A result that depends on it is a range over what is possible, or not measured where"
                    " there is no"
                    " range. Put it into ",
                    Name("[finance]", "code"),
                    " or ",
                    Name("[plan]", "code"),
                    " of the settings.",
                ),
            )
        )
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
    turn = _crossing(flows)
    inputs = money.inputs(frozenset(money.case))
    how = "months from the first day of work until the sum of all flows is no longer negative"
    since = computed("finance/turn", turn, "months", how, inputs)
    said = (
        "By month from the first day of work: bars are what is saved less what is paid, the line is the"
        " sum. It comes back to nothing after ",
        since,
        "; the payback above counts from the day on which all is at home",
    )
    drawn = computed(
        "picture/cash flow",
        ", ".join(map(str, outcome.flows)),
        "picture",
        "monthly flows of the model, each input at its value or the middle of its range",
        inputs,
    )
    blocks.append(
        Figure(
            "cash-flow",
            pictures.cash_flow(flows, turn),
            "Bars and line: cash flow by month",
            text(*said),
            (drawn,),
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
    found = money.answers[name]
    label = RESULT_WORDS[name]
    if found.value is None and found.low is not None:
        return Card(label, money.result_low(name), text("to ", money.result_high(name)))
    return Card(label, money.result(name))


def _crossing(flows: list[float]) -> float | None:
    """Months until the sum of the flows is zero, within a month in proportion."""
    total = 0.0
    for month, flow in enumerate(flows):
        if total < 0 <= total + flow:
            return month - 1 + -total / flow + (1 if month == 0 else 0)
        total += flow
    return None


def _inputs(money: Money) -> Section:
    rows = tuple(
        (
            text(Name(WORDS[name])),
            text(money.input(name)),
            _range(money, name),
            text(Name(SOURCES[item.source.kind])),
            text(Name(_first(item.source.text))),
        )
        for name, item in money.case.items()
    )
    table = Table(
        (
            Column("input", share=1.9),
            Column("value", "right", share=0.9),
            Column("range", "right", share=1.3),
            Column("kind", share=0.8),
            Column("source", share=3),
        ),
        rows,
        text("Every input of the model"),
        small=True,
    )
    return Section("inputs", text("What it rests on"), (table,))


def _range(money: Money, name: object) -> Text:
    item = money.case[name]  # type: ignore[index]
    if item.low is None or item.low == item.high:
        return text("–")
    return text(money.low(item.name), " to ", money.high(item.name))


def _first(told: str, limit: int = 160) -> str:
    line = " ".join(told.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _risk(money: Money) -> list[Section]:
    swings = [swing for swing in tornado(money.case, "npv") if swing.size]
    outcome = money.outcome
    if not swings or outcome is None:
        return []
    rows = [
        (WORDS[swing.name], float(swing.at_low) / NANOS_PER_DOLLAR, float(swing.at_high) / NANOS_PER_DOLLAR)
        for swing in swings
    ]
    inputs = money.inputs(frozenset(money.case))
    drawn = computed(
        "picture/tornado",
        "; ".join(f"{swing.name.value}: {swing.at_low} {swing.at_high}" for swing in swings),
        "picture",
        "three-year NPV with one input at the ends of its range, the others at their value or middle",
        inputs,
    )
    figure = Figure(
        "tornado",
        pictures.tornado(rows, outcome.npv / NANOS_PER_DOLLAR, "three-year NPV"),
        "Bars: how far the NPV moves with each input",
        text("What matters: the NPV when one input goes from the low end of its range to the high one"),
        (drawn,),
    )
    blocks: list[Block] = [figure]
    found = draws(money.case)
    if found:

        def drawn_fact(name: Result, word: str, value: int | Fraction) -> Fact:
            told: Value = round(value)
            unit = "nanos"
            if name == "payback_months":
                told, unit = ("never", "text") if value >= NEVER else (float(value), "months")
            how = "a seeded Monte-Carlo draw of all inputs from their ranges, independently"
            return computed(f"draws/{name}/{word}", told, unit, how, inputs)

        blocks.append(
            Table(
                (
                    Column("result", share=2),
                    Column("one in ten below", "right", share=1),
                    Column("middle", "right", share=1),
                    Column("one in ten above", "right", share=1),
                    Column("chance that it is a gain, or comes", "right", share=1.4),
                ),
                tuple(
                    (
                        text(Name(RESULT_WORDS[name])),
                        *(
                            text(drawn_fact(name, word, spread.quantiles[word]))
                            for word in ("p10", "p50", "p90")
                        ),
                        text(
                            computed(
                                f"draws/{name}/positive",
                                float(spread.positive),
                                "share",
                                "share of the draws that are above nothing; of a payback, that come",
                                inputs,
                            )
                        )
                        if name != "one_time"
                        else text("–"),
                    )
                    for name, spread in found.items()
                    if name in SHOWN
                ),
                text("All inputs drawn from their ranges at once"),
                small=True,
            )
        )
    return [Section("risk", text("What would change it"), tuple(blocks))]


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
            Column("", share=0.8),
            Column("what its own figures say", share=3),
        ),
        rows,
        text(Name(item.title)),
        small=True,
    )
    before = Paragraph(
        text(
            "The same model on a case that others have published. It is here so that the figures above can"
            " be read with"
            " the same doubt."
        )
    )
    return Section("worked-example", text("A published case, checked"), (before, table))


def _cited(item: object) -> str:
    return f"{item.source}, {item.url}"  # type: ignore[attr-defined]


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
