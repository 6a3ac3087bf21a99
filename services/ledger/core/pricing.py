"""What a leg costs: token counts times rates, in integer nano-dollars.

Rates are nano-dollars per million tokens, so that the cheapest published price ($0.0375 per million) is
exact. A sum is rounded once, half to even.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

NANOS_PER_DOLLAR = 1_000_000_000
TOKENS_PER_RATE = 1_000_000
MAX_NANOS = 2**63 - 1
"""The largest cost that the book can hold: nine billion dollars. A larger one is somebody's mistake."""


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


UNKNOWN = Price(None, "unknown", "")
NOT_BILLED = Price(0, "not_billed", "")
"""The server refused the call or was not reached: nothing was generated, nothing is billed."""


def price(tokens: Tokens, rates: Rates | None) -> Price:
    """The cost of a leg; unknown if a count or a rate that it needs is unknown."""
    if rates is None:
        return UNKNOWN
    if tokens.input is None and tokens.output is None:
        return UNKNOWN
    pairs: Sequence[tuple[int | None, Rate | None]] = (
        (tokens.input, rates.input),
        (tokens.cached_input, rates.cached_input),
        (tokens.cache_write, rates.cache_write),
        (tokens.output, rates.output),
        (tokens.reasoning, rates.reasoning),
    )
    all_input = sum(count or 0 for count, _ in pairs[:3])
    total = 0
    for count, rate in pairs:
        if count is None:
            return UNKNOWN
        if count == 0:
            continue
        if rate is None:
            return UNKNOWN
        total += count * rate.at(all_input)
    cost_nanos = _divide(total, TOKENS_PER_RATE) + rates.per_request
    return Price(cost_nanos, rates.source, rates.version) if cost_nanos <= MAX_NANOS else UNKNOWN


def nanos(dollars: Decimal) -> int:
    """Dollars as integer nano-dollars, rounded half to even."""
    return int((dollars * NANOS_PER_DOLLAR).to_integral_value())


def _divide(total: int, by: int) -> int:
    whole, rest = divmod(total, by)
    if 2 * rest > by or (2 * rest == by and whole % 2):
        return whole + 1
    return whole
