"""What a pool of GPUs costs, and who bore it.

A pool costs the same whether it serves or not. Of a period's cost, the share in which the pool was busy is
spread over the legs that began in the period, by weighted tokens; the rest is idle. Rates are integer
nano-dollars per million tokens, and a leg costs what `pricing.price` makes of them; idle is what remains, so
that legs and idle add up to the pool's cost to the nano-dollar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

import numpy as np

from services.ledger.core.booking import Flags, Ints
from services.ledger.core.pricing import MAX_NANOS, NANOS_PER_DOLLAR, TOKENS_PER_RATE, Rate, Rates

HOURS_PER_YEAR = 8766
"""365.25 days."""
HOURS_PER_MONTH = Fraction(HOURS_PER_YEAR, 12)
SECONDS_PER_HOUR = 3600
WATTS_PER_KW = 1000


class Figures(Protocol):
    """What the settings say of a pool (`services.ledger.config.PoolSettings`); all GPUs together."""

    @property
    def hardware_usd(self) -> Decimal:
        """Dollars that the servers cost."""

    @property
    def life_years(self) -> Decimal:
        """Years over which that is written off."""

    @property
    def power_watts(self) -> Decimal:
        """Watts that they draw on average."""

    @property
    def pue(self) -> Decimal:
        """Watts of the building for each watt of the servers."""

    @property
    def usd_per_kwh(self) -> Decimal:
        """Dollars a kilowatt-hour."""

    @property
    def hosting_usd_per_month(self) -> Decimal:
        """Dollars a month for space, network and support."""

    @property
    def people_usd_per_month(self) -> Decimal:
        """Dollars a month for those who run it."""


@dataclass(frozen=True, slots=True)
class HourlyCost:
    """Dollars an hour, exact."""

    hardware: Fraction
    power: Fraction
    hosting: Fraction
    people: Fraction

    @property
    def total(self) -> Fraction:
        """All four."""
        return self.hardware + self.power + self.hosting + self.people


def hourly_cost(figures: Figures) -> HourlyCost:
    """What a pool costs an hour: hardware written off over its life, power, hosting, people."""
    watts = Fraction(figures.power_watts) * Fraction(figures.pue)
    return HourlyCost(
        hardware=Fraction(figures.hardware_usd) / (Fraction(figures.life_years) * HOURS_PER_YEAR),
        power=watts / WATTS_PER_KW * Fraction(figures.usd_per_kwh),
        hosting=Fraction(figures.hosting_usd_per_month) / HOURS_PER_MONTH,
        people=Fraction(figures.people_usd_per_month) / HOURS_PER_MONTH,
    )


def cost_nanos(usd_per_hour: Fraction, start_s: int, end_s: int) -> int:
    """What a pool costs from one time to another (seconds since 1970), in nano-dollars.

    It is the difference of two rounded running sums, so the parts of a time add up to the cost of the whole.
    """
    nanos_per_s = usd_per_hour * NANOS_PER_DOLLAR / SECONDS_PER_HOUR
    return round(nanos_per_s * end_s) - round(nanos_per_s * start_s)


def touched(
    start_s: int, end_s: int, closed: Sequence[tuple[int, int]], period_s: int
) -> list[tuple[int, int]]:
    """The periods (start and end in seconds since 1970) that a time touches, as far as they are closed.

    Args:
        start_s: when it begins; the period of this is among them even if it was never closed.
        end_s: when it ends.
        closed: periods around it that are closed, ascending.
        period_s: the length of one that was never closed: it begins at a multiple of that since 1970, and
            takes nothing from its neighbours.
    """
    found = [period for period in closed if period[0] < end_s and period[1] > start_s]
    if any(begin <= start_s for begin, _ in found):
        return found
    begin = start_s // period_s * period_s
    begin = max([begin, *(end for _, end in closed if end <= start_s)])
    end = min([start_s // period_s * period_s + period_s, *(other for other, _ in closed if other > start_s)])
    return [(begin, end), *found]


class BusyTime:
    """How long at least one leg was under way in a period: the length of the union of their times."""

    def __init__(self, start_us: int, end_us: int) -> None:
        self._start_us = start_us
        self._end_us = end_us
        self._reached_us = start_us
        self.busy_us = 0

    def add(self, starts_us: Ints, latencies_us: Ints) -> None:
        """Counts legs, in the order of their starts over all calls; both have shape (legs,), in microseconds.

        What lies outside of the period is left out, so a leg that began before it counts as far as it
        reaches in.
        """
        if not len(starts_us):
            return
        begins = np.clip(starts_us, self._start_us, self._end_us)
        ends = np.clip(starts_us + latencies_us, self._start_us, self._end_us)
        reached = np.maximum.accumulate(np.concatenate(([self._reached_us], ends)))
        self.busy_us += int(np.maximum(ends - np.maximum(begins, reached[:-1]), 0).sum())
        self._reached_us = int(reached[-1])


@dataclass(slots=True)
class Totals:
    """What the legs that began in a period have consumed."""

    leg_count: int = 0
    unknown_count: int = 0
    """Legs whose tokens nobody knows: they bear nothing."""
    input_tokens: int = 0
    """Of all input classes."""
    output_tokens: int = 0
    """Reasoning included."""

    def add(self, counts: Ints, known: Flags, billed: Flags) -> None:
        """Counts legs.

        Args:
            counts: tokens (legs, 5) by class, in the order of `book.TokenClass`.
            known: where they are known.
            billed: (legs,) False where the server refused the leg: it consumed nothing.
        """
        counted = known.all(axis=1)
        self.leg_count += len(counts)
        self.unknown_count += int((billed & ~counted).sum())
        bearing = counts[counted & billed]
        self.input_tokens += int(bearing[:, :3].sum())
        self.output_tokens += int(bearing[:, 3:].sum())


@dataclass(frozen=True, slots=True)
class PoolRates:
    """What a pool's tokens cost in a period, in nano-dollars per million."""

    input_nanos_per_mtok: int
    """Of every input class."""
    output_nanos_per_mtok: int
    """Reasoning included."""

    def rates(self, version: str) -> Rates:
        """As those of a price list; `version` is the period."""
        fresh, output = Rate(self.input_nanos_per_mtok), Rate(self.output_nanos_per_mtok)
        return Rates("pool", version, fresh, fresh, fresh, output, output)


def spread(amount_nanos: int, totals: Totals, output_weight: Decimal) -> PoolRates:
    """The rates that spread an amount over tokens, rounded down.

    Args:
        amount_nanos: what is spread.
        totals: over what.
        output_weight: how many input tokens one output token is worth.
    """
    weight = Fraction(output_weight)
    weighted = totals.input_tokens + weight * totals.output_tokens
    if not weighted:
        return PoolRates(0, 0)
    rate = amount_nanos * TOKENS_PER_RATE / weighted
    return PoolRates(min(int(rate), MAX_NANOS), min(int(rate * weight), MAX_NANOS))


@dataclass(frozen=True, slots=True)
class Closing:
    """Who bore a period's cost."""

    cost_nanos: int
    leg_cost_nanos: int
    rates: PoolRates

    @property
    def idle_nanos(self) -> int:
        """What no leg bore. Never negative."""
        return self.cost_nanos - self.leg_cost_nanos


def close(
    cost_nanos: int,
    busy_us: int,
    period_us: int,
    totals: Totals,
    output_weight: Decimal,
    leg_cost_nanos: Callable[[PoolRates], int],
) -> Closing:
    """Spreads a period's cost over its legs.

    Args:
        cost_nanos: what the pool cost in the period.
        busy_us: microseconds of it with a leg under way.
        period_us: its microseconds.
        totals: what the legs that began in it have consumed.
        output_weight: how many input tokens one output token is worth.
        leg_cost_nanos: what those legs cost together at some rates.
    """
    amount = cost_nanos * busy_us // period_us
    cut = 0
    while True:
        rates = spread(amount, totals, output_weight)
        spent = leg_cost_nanos(rates)
        if spent <= cost_nanos:
            return Closing(cost_nanos, spent, rates)
        # Each leg is rounded by itself, and half of them up: with many small legs that is more than the
        # rates' own rounding down has left. Twice as much each time, so that it takes few passes.
        cut = max(2 * (spent - cost_nanos), 2 * cut)
        amount = max(0, amount - cut)


def nanos_per_mtok(amount_nanos: int, tokens: int) -> int | None:
    """What a million tokens cost on average, in nano-dollars, rounded half to even; None without tokens."""
    return round(Fraction(amount_nanos * TOKENS_PER_RATE, tokens)) if tokens else None
