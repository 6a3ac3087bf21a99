"""What would change the finance case: each input over its range, and all of them drawn at once. Pure."""

from __future__ import annotations

from fractions import Fraction

from playbook.finance.answers import RESULT_WORDS, Result
from playbook.finance.inputs import WORDS
from playbook.finance.model import NEVER
from playbook.finance.notes import rosy
from playbook.finance.risk import draws, tornado
from playbook.report.document import Block, Column, Figure, Name, Paragraph, Section, Table, text
from playbook.report.facts import NANOS_PER_DOLLAR, Fact, Value, computed
from playbook.report.money import Money
from playbook.report.pictures.money import tornado as tornado_picture

SHOWN: tuple[Result, ...] = ("one_time", "saving_year", "payback_months", "npv")
GAINS: tuple[Result, ...] = ("saving_year", "npv")
TOO_SMALL = 100
"""An input that moves the result by less than this part of what the first does has no bar."""


def risk_sections(money: Money) -> list[Section]:
    """Both; none if an input has no range."""
    every = [swing for swing in tornado(money.case, "npv") if swing.size]
    swings = [swing for swing in every if swing.size * TOO_SMALL >= every[0].size]
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
        name="picture: what matters",
    )
    figure = Figure(
        "tornado",
        tornado_picture(rows, outcome.npv / NANOS_PER_DOLLAR, "three-year NPV"),
        "Bars: how far the NPV moves with each input",
        text("What matters: the NPV when one input goes from the low end of its range to the high one"),
        (drawn,),
    )
    blocks: list[Block] = [figure]
    if len(swings) < len(every):
        small = "; ".join(WORDS[swing.name] for swing in every[len(swings) :])
        blocks.append(Paragraph(text("Less than a hundredth of the first is moved by: ", Name(small), ".")))
    found = draws(money.case)
    if found:

        def drawn_fact(name: Result, word: str, value: int | Fraction) -> Fact:
            told: Value = round(value)
            unit = "nanos"
            if name == "payback_months":
                told, unit = ("never", "text") if value >= NEVER else (float(value), "payback")
            return drawn_of(name, word, told, unit)

        def drawn_of(name: Result, word: str, told: Value, unit: str) -> Fact:
            how = "seeded draws of all inputs from their ranges, each by itself: `homeward finance`"
            return computed(f"draws/{name}/{word}", told, unit, how, inputs, name="Monte-Carlo draws")

        blocks.append(
            Table(
                (
                    Column("result", share=2),
                    Column("one in ten below", "right", share=1),
                    Column("middle", "right", share=1),
                    Column("one in ten above", "right", share=1),
                    Column("chance of a gain", "right", share=1),
                ),
                tuple(
                    (
                        text(Name(RESULT_WORDS[name])),
                        *(
                            text(drawn_fact(name, word, spread.quantiles[word]))
                            for word in ("p10", "p50", "p90")
                        ),
                        text(drawn_of(name, "positive", float(spread.positive), "share"))
                        if name in GAINS
                        else text("–"),
                    )
                    for name, spread in found.items()
                    if name in SHOWN
                ),
                text("All inputs drawn from their ranges at once, many times"),
                small=True,
            )
        )
        blocks += [Paragraph(text(Name(line))) for line in rosy(money.case, found)]
    return [Section("risk", text("What would change it"), tuple(blocks))]
