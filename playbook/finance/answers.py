"""What the inputs say together: a figure where all are known, else a range and what it depends on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any, Literal

from playbook.finance import money
from playbook.finance.inputs import WORDS, Case, Name
from playbook.finance.model import NEVER, WEEKS_PER_MONTH, Values, evaluate

Result = Literal["one_time", "parallel", "saving_year", "payback_months", "npv"]

_COST = frozenset(
    {Name.INFRASTRUCTURE, Name.ENGINEERING, Name.WEEKS, Name.RUNNING, Name.PARALLEL, Name.CLOUD, Name.MOVES}
)
_SAVING = frozenset({Name.CLOUD, Name.MOVES, Name.CHANGE, Name.RUNNING, Name.HOME_SHARE})
DEPENDS: Mapping[Result, frozenset[Name]] = {
    "one_time": _COST,
    "parallel": _COST - {Name.INFRASTRUCTURE, Name.ENGINEERING},
    "saving_year": _SAVING,
    "payback_months": _COST | _SAVING,
    "npv": frozenset(Name),
}
"""What each result follows from."""
DELAY_DEPENDS = _SAVING | {Name.WEEKS, Name.RENEWS}
RESULTS: Mapping[Result, Callable[[Values], int | Fraction]] = {
    "one_time": lambda values: evaluate(values).one_time,
    "parallel": lambda values: evaluate(values).parallel,
    "saving_year": lambda values: evaluate(values).saving_year,
    "payback_months": lambda values: evaluate(values).payback,
    "npv": lambda values: evaluate(values).npv,
}
RESULT_WORDS: Mapping[Result, str] = {
    "one_time": "cost paid once",
    "parallel": "of it parallel running",
    "saving_year": "saving a year",
    "payback_months": "payback",
    "npv": "three-year NPV",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A result: nano-dollars, or months."""

    value: int | Fraction | None
    """None if it depends on something unknown."""
    low: int | Fraction | None
    high: int | Fraction | None
    """Over the ranges of what is unknown alone; None if one of these has none."""
    unknown: tuple[Name, ...]
    """What it depends on that nobody knows."""


def answers(case: Case) -> dict[Result, Answer]:
    """All results."""
    return {name: answer(case, DEPENDS[name], compute) for name, compute in RESULTS.items()}


def answer(case: Case, depends: frozenset[Name], compute: Callable[[Values], int | Fraction]) -> Answer:
    """One result.

    Args:
        case: all inputs.
        depends: the inputs that it follows from.
        compute: it, from figures.
    """
    missing = tuple(name for name in Name if name in depends and case[name].value is None)
    if any(case[name].low is None for name in missing):
        return Answer(None, None, None, missing)
    found = [compute(values) for values in _corners(case, missing)]
    low, high = min(found), max(found)
    if low == high:
        # What is unknown makes no difference: a change of prices by nothing, say.
        return Answer(low, low, high, ())
    return Answer(None, low, high, missing)


def _corners(case: Case, missing: tuple[Name, ...]) -> Iterator[Values]:
    """The known figures with each combination of the ends of the others.

    In each input a result is a straight line, or one over another, and so has its least and its most at the
    ends; but for the time until all is at home, whose line has a bend at the renewal, and the discount rate,
    of whose bow the middle is looked at too.
    """
    base = {name: item.middle or Fraction(0) for name, item in case.items()}
    for chosen in product(*(_levels(case, name) for name in missing)):
        yield {**base, **dict(zip(missing, chosen, strict=True))}


def _levels(case: Case, name: Name) -> list[Fraction]:
    item = case[name]
    low, high = item.low or Fraction(0), item.high or Fraction(0)
    found = [low, high]
    if name is Name.DISCOUNT:
        found.append((low + high) / 2)
    if name is Name.WEEKS:
        renewals = (case[Name.RENEWS].low, case[Name.RENEWS].high)
        weeks = [end * WEEKS_PER_MONTH for end in renewals if end is not None]
        found += [end for end in weeks if low < end < high]
    return list(dict.fromkeys(found))


def words(name: Result, found: Answer) -> str:
    """An answer for people: a figure, a range, or unknown."""
    if found.value is not None:
        return _one(name, found.value)
    if found.low is None or found.high is None:
        return "unknown"
    told = span(name, found.low, found.high)
    if " to " in told:
        return f"unknown: {told}"
    # Both ends read the same: what is unknown hardly matters.
    return f"about {told}" if told[:1] in "-$0123456789" else told


def span(name: Result, low: int | Fraction, high: int | Fraction) -> str:
    """A range for people."""
    if name != "payback_months":
        return money.span(round(low), round(high))
    first, last = _one(name, low), _one(name, high)
    if first == last:
        return first
    return f"{first.removesuffix(' months') if last.endswith('months') else first} to {last}"


def why(found: Answer) -> str:
    """What an unknown answer depends on; empty if it is known."""
    return ", ".join(WORDS[name] for name in found.unknown)


def document(name: Result, found: Answer) -> dict[str, Any]:
    """As JSON: nano-dollars, months; null is unknown, a payback that never comes is "never"."""

    def one(value: int | Fraction | None) -> int | float | str | None:
        if name != "payback_months" or value is None:
            return None if value is None else round(value)
        return "never" if value >= NEVER else float(value)

    return {
        "value": one(found.value),
        "low": one(found.low),
        "high": one(found.high),
        "unknown": [item.value for item in found.unknown],
    }


LONG_MONTHS = 1200
"""A payback of more is told as that: its months say nothing."""


def _one(name: Result, value: int | Fraction) -> str:
    if name != "payback_months":
        return money.money(round(value))
    if value >= NEVER:
        return "never"
    return "over 100 years" if value > LONG_MONTHS else f"{float(value):,.1f} months"
