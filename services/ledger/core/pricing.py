"""What a leg costs: token counts times rates, in integer nano-dollars.

Rates are nano-dollars per million tokens, so that the cheapest published price ($0.0375 per million) is
exact. A sum is rounded once, half to even; its parts are the differences of the rounded running sums, so that
they add up to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, TypeAlias

NANOS_PER_DOLLAR = 1_000_000_000
TOKENS_PER_RATE = 1_000_000
MAX_NANOS = 2**63 - 1
"""The largest cost that the book can hold: nine billion dollars. A larger one is somebody's mistake."""

Parts: TypeAlias = tuple[int, int, int, int, int, int]
"""Nano-dollars by `book.TokenClass`, in its order."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of one token class, by how many input tokens the request has.

    A request that crosses a threshold pays the higher rate for all of its tokens: how Anthropic, Google
    and OpenAI bill long contexts (genai-prices, `TieredPrices`).
    """

    base: int
    """Nano-dollars per million tokens."""
    tiers: tuple[tuple[int, int], ...] = ()
    """(input tokens above which it holds, nano-dollars per million tokens), ascending."""

    def at(self, input_tokens: int) -> int:
        """The rate for a request with that many input tokens of all classes."""
        rate = self.base
        for above, tier in self.tiers:
            if input_tokens > above:
                rate = tier
        return rate

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"base": self.base, "tiers": [list(tier) for tier in self.tiers]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Rate:
        """What `to_dict` gave."""
        return Rate(data["base"], tuple((above, rate) for above, rate in data["tiers"]))


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model's tokens cost."""

    source: str
    """Who says so: `settings` or `genai-prices`."""
    version: str
    """Which edition of it."""
    input: Rate | None
    cached_input: Rate | None
    cache_write: Rate | None
    output: Rate | None
    reasoning: Rate | None
    per_request: int = 0
    """Nano-dollars for each request."""

    @property
    def by_class(self) -> tuple[Rate | None, Rate | None, Rate | None, Rate | None, Rate | None]:
        """The rates of the five classes of tokens, in the order of `book.TokenClass`."""
        return (self.input, self.cached_input, self.cache_write, self.output, self.reasoning)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.to_dict() if isinstance(value, Rate) else value for name, value in values.items()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Rates:
        """What `to_dict` gave."""
        values: dict[str, Any] = {
            name: Rate.from_dict(value) if isinstance(value, Mapping) else value
            for name, value in data.items()
        }
        return Rates(**values)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token counts of a leg, in disjoint classes; None is unknown."""

    input: int | None
    cached_input: int | None
    cache_write: int | None
    output: int | None
    reasoning: int | None


@dataclass(frozen=True, slots=True)
class Price:
    """The cost of a leg, and where it comes from."""

    cost_nanos: int | None
    """None is unknown, which is not zero."""
    source: str
    version: str
    parts_nanos: Parts | None
    """What of it was paid for each class, None if the cost is unknown; they add up to it."""


UNKNOWN = Price(None, "unknown", "", None)
NOT_BILLED = Price(0, "not_billed", "", (0, 0, 0, 0, 0, 0))
"""The server refused the call or was not reached: nothing was generated, nothing is billed."""
PENDING = Price(None, "pool", "", None)
"""It ran on GPUs of the organisation's own: known when their hour is over and spread over its legs."""


def price(tokens: Tokens, rates: Rates | None) -> Price:
    """The cost of a leg; unknown if a count or a rate that it needs is unknown."""
    if rates is None:
        return UNKNOWN
    if tokens.input is None and tokens.output is None:
        return UNKNOWN
    counts = (tokens.input, tokens.cached_input, tokens.cache_write, tokens.output, tokens.reasoning)
    all_input = sum(count or 0 for count in counts[:3])
    total = rounded = 0
    parts: list[int] = []
    for count, rate in zip(counts, rates.by_class, strict=True):
        if count is None:
            return UNKNOWN
        if count:
            if rate is None:
                return UNKNOWN
            total += count * rate.at(all_input)
        before, rounded = rounded, _divide(total, TOKENS_PER_RATE)
        parts.append(rounded - before)
    cost_nanos = rounded + rates.per_request
    if cost_nanos > MAX_NANOS:
        return UNKNOWN
    fresh, cached, written, output, reasoning = parts
    return Price(
        cost_nanos,
        rates.source,
        rates.version,
        (fresh, cached, written, output, reasoning, rates.per_request),
    )


def nanos(dollars: Decimal) -> int:
    """Dollars as integer nano-dollars, rounded half to even."""
    return int((dollars * NANOS_PER_DOLLAR).to_integral_value())


def _divide(total: int, by: int) -> int:
    whole, rest = divmod(total, by)
    if 2 * rest > by or (2 * rest == by and whole % 2):
        return whole + 1
    return whole
