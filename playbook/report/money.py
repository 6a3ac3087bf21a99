"""The finance model's inputs and results as facts. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from playbook.finance.answers import DEPENDS, RESULT_WORDS, Answer, Result, answer, answers
from playbook.finance.inputs import WORDS, Case, Input, Name, Source, Unit
from playbook.finance.model import MONTHS, NEVER, Outcome, Values, evaluate
from playbook.report.book import Book
from playbook.report.facts import Fact, Kind, Reference, Value, computed
from playbook.report.gathered import Gathered, Row

UNIT_OF: Mapping[Unit, str] = {
    "$": "nanos",
    "$ a month": "nanos a month",
    "share": "share",
    "share a year": "share a year",
    "weeks": "weeks",
    "months": "months",
}
"""The model's units as facts'."""
BARE = {"nanos a month": "nanos", "share a year": "share", "weeks": "number", "months": "number"}
"""Of the low end of a range, whose high end says the rest."""
_KINDS = {
    "measured": Kind.QUERY,
    "setting": Kind.SETTING,
    "published": Kind.PUBLISHED,
    "unknown": Kind.SETTING,
}
SHORT = 200
"""Signs of a source that is told beside its input; the appendix has all of it."""
HOW: Mapping[Result, str] = {
    "one_time": "infrastructure + engineering + parallel running until all is at home",
    "parallel": "months until home × (running cost at home + experiments' share × moving spend)",
    "saving_year": "12 × (moving spend × (1 + price change − cost at home of a dollar) − running cost)",
    "payback_months": "cost paid once / saving a year × 12",
    "npv": "36 monthly flows, each discounted to the first day",
}


def kept(case: Case) -> list[dict[str, Any]]:
    """A case as JSON, exact."""

    def exact(value: Fraction | None) -> str | None:
        return None if value is None else str(value)

    return [
        {
            "name": item.name.value,
            "value": exact(item.value),
            "low": exact(item.low),
            "high": exact(item.high),
            "source": {"kind": item.source.kind, "text": item.source.text},
        }
        for item in case.values()
    ]


def case_of(rows: Sequence[Row]) -> Case:
    """The case again."""

    def exact(value: str | None) -> Fraction | None:
        return None if value is None else Fraction(value)

    return {
        (name := Name(row["name"])): Input(
            name, exact(row["value"]), exact(row["low"]), exact(row["high"]), Source(**row["source"])
        )
        for row in rows
    }


@dataclass(frozen=True)
class Money:
    """A case with its facts."""

    case: Case
    book: Book
    """With the queries that its sources name."""

    def input(self, name: Name) -> Fact:
        """An input's value; not measured if it is unknown."""
        return self._input(name, "", lambda item: item.value)

    def low(self, name: Name) -> Fact:
        """The least that it may be, as the beginning of a range."""
        return self._input(name, "/low", lambda item: item.low, bare=True)

    def high(self, name: Name) -> Fact:
        """The most that it may be."""
        return self._input(name, "/high", lambda item: item.high)

    def source(self, name: Name) -> Fact:
        """Where an input comes from, in a few words."""
        source = self.case[name].source
        told = textwrap.shorten(source.text.replace("`", ""), SHORT, placeholder=" …")
        return Fact(f"finance/{name.value}/source", told, "text", self._source(name, source))

    def _input(
        self, name: Name, end: str, value: Callable[[Input], Fraction | None], *, bare: bool = False
    ) -> Fact:
        item = self.case[name]
        found, unit = value(item), UNIT_OF[item.unit]
        unit = BARE.get(unit, unit) if bare else unit
        told: Value = None if found is None else round(found) if unit.startswith("nanos") else float(found)
        reference = self._source(name, item.source)
        return Fact(f"finance/{name.value}{end}", told, unit, reference)

    def _source(self, name: Name, source: Source) -> Reference:
        """A measured input follows from queries; all others stand somewhere."""
        named = re.findall(r"([a-z_]+)\.sql", source.text) if source.kind == "measured" else ()
        used = [self.book.asked_of(query) for query in dict.fromkeys(named)]
        kind = Kind.COMPUTED if used else _KINDS[source.kind]
        return Reference(kind, f"input: {WORDS[name]}", source.text, inputs=tuple(used))

    @cached_property
    def answers(self) -> dict[Result, Answer]:
        """All results."""
        return answers(self.case)

    def result(self, name: Result) -> Fact:
        """A result; not measured if something that it depends on is unknown."""
        return self._result(name, "", self.answers[name].value)

    def result_low(self, name: Result) -> Fact:
        """Its least over the ranges of what is unknown."""
        return self._result(name, "/low", self.answers[name].low)

    def result_high(self, name: Result) -> Fact:
        """Its most over the ranges of what is unknown."""
        return self._result(name, "/high", self.answers[name].high)

    def _result(self, name: Result, end: str, value: int | Fraction | None) -> Fact:
        told: Value
        if name == "payback_months":
            told = None if value is None else "never" if value >= NEVER else float(value)
            unit = "text" if told == "never" else "payback"
        else:
            told, unit = None if value is None else round(value), "nanos"
        return computed(
            f"finance/{name}{end}",
            told,
            unit,
            HOW[name],
            self.inputs(DEPENDS[name]),
            name=f"result: {RESULT_WORDS[name]}",
        )

    def inputs(self, names: frozenset[Name]) -> list[Fact]:
        """Facts of some inputs, in the order of all."""
        return [self.input(name) for name in Name if name in names]

    @cached_property
    def outcome(self) -> Outcome | None:
        """The months by the value of each input, or the middle of its range; None if one has neither."""
        middles = {name: item.middle for name, item in self.case.items()}
        if None in middles.values():
            return None
        return evaluate({name: value for name, value in middles.items() if value is not None})

    @cached_property
    def hopeless(self) -> bool:
        """Whether nothing of what is possible earns back within three years what is paid once: neither at the
        prices after the renewal, from which a payback is computed, nor at those that each month has."""
        soonest = self.answers["payback_months"].low
        if soonest is None or soonest <= MONTHS:
            return False
        turns = answer(self.case, DEPENDS["npv"], _turns).low
        return turns is None or turns > MONTHS

    @property
    def guessed(self) -> list[Name]:
        """The inputs of which the middle of a range is taken, because nobody knows them."""
        return [name for name in Name if self.case[name].value is None and self.case[name].middle is not None]

    @property
    def blank(self) -> list[Name]:
        """The inputs of which nothing is known."""
        return [name for name in Name if self.case[name].middle is None]


def _turns(values: Values) -> int | Fraction:
    """Months until the sum of all flows is no longer negative; NEVER if it is at the end."""
    found = evaluate(values).turns
    return NEVER if found is None else found


def money_of(found: Gathered) -> Money | None:
    """The finance of what was gathered; None if there is none."""
    return Money(case_of(found.finance), Book(found)) if found.finance is not None else None
