"""The inputs of the finance model: each has a name, a unit, a source and a range. Pure.

Money is nano-dollars, shares are parts of one, and all are exact fractions: nothing here is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal

from playbook.finance.money import NANOS_PER_DOLLAR, money

Unit = Literal["$", "$ a month", "share", "share a year", "weeks", "months"]
SourceKind = Literal["measured", "setting", "published", "unknown"]
"""In the book, in the settings, in a reference, or not at all."""


class Name(StrEnum):
    """What the model must be told."""

    CLOUD = "cloud_month"
    MOVES = "share_that_moves"
    CHANGE = "renewal_change"
    RENEWS = "months_to_renewal"
    RUNNING = "running_month"
    HOME_SHARE = "home_share"
    INFRASTRUCTURE = "infrastructure"
    ENGINEERING = "engineering"
    PARALLEL = "parallel_share"
    WEEKS = "weeks_until_home"
    DISCOUNT = "discount_rate"


UNITS: Mapping[Name, Unit] = {
    Name.CLOUD: "$ a month",
    Name.MOVES: "share",
    Name.CHANGE: "share",
    Name.RENEWS: "months",
    Name.RUNNING: "$ a month",
    Name.HOME_SHARE: "share",
    Name.INFRASTRUCTURE: "$",
    Name.ENGINEERING: "$",
    Name.PARALLEL: "share",
    Name.WEEKS: "weeks",
    Name.DISCOUNT: "share a year",
}
WORDS: Mapping[Name, str] = {
    Name.CLOUD: "cloud spend at today's prices",
    Name.MOVES: "share of the spend that moves",
    Name.CHANGE: "price change at the renewal",
    Name.RENEWS: "time to the renewal",
    Name.RUNNING: "running cost at home",
    Name.HOME_SHARE: "cost at home of a cloud dollar",
    Name.INFRASTRUCTURE: "infrastructure (paid once)",
    Name.ENGINEERING: "engineering (paid once)",
    Name.PARALLEL: "cost of experiments",
    Name.WEEKS: "time until all is at home",
    Name.DISCOUNT: "discount rate",
}
"""As a board reads them."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a figure comes from."""

    kind: SourceKind
    text: str
    """The query with what it was asked, the setting's key, or the reference."""


@dataclass(frozen=True, slots=True)
class Input:
    """A figure. Without a value it is unknown; the range, if there is one, is then all that is known."""

    name: Name
    value: Fraction | None
    low: Fraction | None
    high: Fraction | None
    source: Source

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self.name}: half a range")
        if self.value is not None and self.low is None:
            raise ValueError(f"{self.name}: a value without a range")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.name}: a range from {self.low} to {self.high}")
        if self.value is not None and not (self.low or 0) <= self.value <= (self.high or 0):
            raise ValueError(f"{self.name}: {self.value} is outside of its range")

    @property
    def unit(self) -> Unit:
        """What it is counted in; `$` are nano-dollars."""
        return UNITS[self.name]

    @property
    def middle(self) -> Fraction | None:
        """Its value; of an unknown one the middle of the range."""
        if self.value is not None:
            return self.value
        return None if self.low is None or self.high is None else (self.low + self.high) / 2


Case = Mapping[Name, Input]
"""All inputs: every Name is there."""


def known(
    name: Name,
    value: Fraction | int,
    source: Source,
    low: Fraction | int | None = None,
    high: Fraction | int | None = None,
) -> Input:
    """An input that is known; without a range it is certain."""
    exact = Fraction(value)
    least, most = (exact if end is None else Fraction(end) for end in (low, high))
    return Input(name, exact, least, most, source)


def unknown(
    name: Name, text: str, low: Fraction | int | None = None, high: Fraction | int | None = None
) -> Input:
    """An input that nobody knows, with what its range rests on, or what to do about it."""
    least, most = (None if end is None else Fraction(end) for end in (low, high))
    return Input(name, None, least, most, Source("unknown", text))


def nanos(usd: Decimal | Fraction | int) -> Fraction:
    """Dollars as nano-dollars."""
    return Fraction(usd) * NANOS_PER_DOLLAR


def told(unit: Unit, value: Fraction | None) -> str:
    """A figure for people: `$1,234`, `8.5 %`, `12.5 weeks`; unknown if it is."""
    if value is None:
        return "unknown"
    if unit in ("$", "$ a month"):
        return money(round(value))
    if unit in ("share", "share a year"):
        return f"{float(100 * value):.3g} %"
    return f"{float(value):.1f} {unit}"


def told_range(item: Input) -> str:
    """Its range for people; `none` if nothing is known."""
    if item.low is None or item.high is None:
        return "none"
    if item.low == item.high:
        return "exact"
    low, high = told(item.unit, item.low), told(item.unit, item.high)
    ending = next((end for end in (" %", f" {item.unit}") if low.endswith(end)), "")
    return f"{low.removesuffix(ending)} to {high}"


def number(unit: Unit, value: Fraction | None) -> int | float | None:
    """A figure as JSON: nano-dollars are whole."""
    if value is None:
        return None
    return round(value) if unit.startswith("$") else float(value)


def document(item: Input) -> dict[str, Any]:
    """An input as JSON: null is unknown."""
    return {
        "name": item.name.value,
        "words": WORDS[item.name],
        "unit": item.unit.replace("$", "nano-dollars"),
        "value": number(item.unit, item.value),
        "low": number(item.unit, item.low),
        "high": number(item.unit, item.high),
        "source": {"kind": item.source.kind, "text": item.source.text},
    }
