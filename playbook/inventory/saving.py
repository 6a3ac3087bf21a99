"""What a workload would save at home: what it costs in the cloud, less what the same tokens cost there.

Always a range. It rests on the best that there is: what the pools were measured to cost, else what they cost
by the settings at a published throughput, else published comparisons of both costs. Amounts are of a month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from playbook.inventory.spend import Tokens

NANOS_PER_DOLLAR = 1_000_000_000
TOKENS_PER_RATE = 1_000_000
SECONDS_PER_HOUR = 3600

PUBLISHED_LOW = Fraction(11, 200)
"""At home 0.11 for each 2.00 dollars of the API, per million tokens at continuous load: Lenovo,
"On-Premise vs Cloud: Generative AI Total Cost of Ownership (2026 Edition)", LP2368; the dollars as
aiexpert.news reports them."""
PUBLISHED_HIGH = Fraction(428, 1219)
"""At home 4.28 for each 12.19 dollars of the API, a user and month, Llama 3 70B with retrieval: Enterprise
Strategy Group for Dell, 2025, as gekro.com ("Token economics") reports it."""
PUBLISHED_SOURCE = (
    "home at 6 to 35 % of the API's cost: Lenovo's TCO paper of 2026 ($0.11 for $2.00 per million tokens) and"
    " ESG's for Dell of 2025 ($4.28 for $12.19 a user); both sell servers"
)

BEST_LOAD = (1000, 1000, Fraction(4205, 2))
WORST_LOAD = (5000, 500, Fraction(898, 2))
"""Input tokens, output tokens, and output tokens a second and GPU: Llama 3.3 70B in FP8 on H100 at maximum
load (NVIDIA, TensorRT-LLM 1.0, docs/source/performance/perf-overview.md: 4,205 and 898 on two GPUs)."""
MOST_BUSY, LEAST_BUSY = Fraction(6, 10), Fraction(2, 10)
"""Shares of that load which a pool serves in a month, for nobody sends requests at maximum load all night. An
assumption: arXiv 2606.11690 measured 2.5 to 24 times the cost of full load at moderate loads."""
MEASURED_TOKENS = 1_000_000
"""Tokens that a pool must have served, and `LEAST_BUSY` of its time it must have been busy, before its own
figures say what more work would cost there: of a pool that stands idle, the idle hours would be all of it."""
SETTINGS_SOURCE = (
    "the pools' hourly cost by [pools], at 70B throughput on H100 (NVIDIA, TensorRT-LLM 1.0), 20 to 60 % busy"
)

BasisName = Literal["measured", "settings", "published"]


@dataclass(frozen=True, slots=True)
class Range:
    """Nano-dollars a month."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a range from {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Rate:
    """Nano-dollars per million tokens of a pool."""

    input: Fraction
    output: Fraction

    def cost(self, tokens: Tokens) -> Fraction:
        """What tokens cost; a pool of one's own has no cheaper class of input."""
        return (self.input * tokens.all_input + self.output * tokens.output) / TOKENS_PER_RATE


@dataclass(frozen=True, slots=True)
class Basis:
    """What a home's cost rests on."""

    name: BasisName
    source: str
    rates: tuple[Rate, ...] = ()
    """The cheapest and the dearest are the range; empty: `PUBLISHED_LOW` to `PUBLISHED_HIGH` of the cloud's
    cost."""


@dataclass(frozen=True, slots=True)
class Saving:
    """What a workload saves, and what that rests on."""

    saving: Range
    home: Range
    basis: BasisName


@dataclass(frozen=True, slots=True)
class Served:
    """What a pool cost in a time, and the tokens that bore it (homeward.pool_periods)."""

    pool: str
    cost_nanos: int
    """With its idle hours."""
    leg_cost_nanos: int
    """Without them."""
    input_tokens: int
    output_tokens: int
    output_weight: Fraction
    """How many input tokens an output token is worth."""


PUBLISHED = Basis("published", PUBLISHED_SOURCE)


def measured(pools: Sequence[Served]) -> Basis | None:
    """Each pool's cost per million tokens, without and with idle; None if no pool has served enough."""
    enough = [
        pool
        for pool in pools
        if pool.input_tokens + pool.output_tokens >= MEASURED_TOKENS
        and pool.leg_cost_nanos >= pool.cost_nanos * LEAST_BUSY
    ]
    rates = [
        rate
        for pool in enough
        for cost in (pool.leg_cost_nanos, pool.cost_nanos)
        if (rate := _rate(cost, pool.input_tokens, pool.output_tokens, pool.output_weight)) is not None
    ]
    names = ", ".join(pool.pool for pool in enough)
    return (
        Basis("measured", f"pools as measured, without and with idle hours: {names}", tuple(rates))
        if rates
        else None
    )


def by_settings(pools: Mapping[str, tuple[Fraction, int, Fraction]]) -> Basis | None:
    """Each pool's cost per million tokens if it were as busy as others are.

    Args:
        pools: by name: dollars an hour, GPUs, and how many input tokens an output token is worth. Pools of no
            cost do not count: their settings are not filled in. Neither do those without GPUs.
    """
    rates = []
    for usd_per_hour, gpus, weight in pools.values():
        if usd_per_hour <= 0 or not gpus:
            continue
        for (given, made, output_per_s), busy in ((BEST_LOAD, MOST_BUSY), (WORST_LOAD, LEAST_BUSY)):
            # Input tokens that would take as long as what the GPU reads and writes in a second.
            worth_per_s = output_per_s * (weight + Fraction(given, made)) * gpus * busy
            per_mtok = usd_per_hour * NANOS_PER_DOLLAR * TOKENS_PER_RATE / (worth_per_s * SECONDS_PER_HOUR)
            rates.append(Rate(per_mtok, per_mtok * weight))
    return Basis("settings", SETTINGS_SOURCE, tuple(rates)) if rates else None


def saving(cloud_nanos: int | None, tokens: Tokens, basis: Basis) -> Saving | None:
    """What a workload saves a month; None if its cost in the cloud is unknown, or a credit.

    Args:
        cloud_nanos: what it costs in the cloud.
        tokens: all that it uses; of unknown tokens the published comparison is all that there is.
        basis: what a home costs.
    """
    if cloud_nanos is None or cloud_nanos <= 0:
        return None
    used = basis if basis.rates and tokens.total else PUBLISHED
    if used.rates:
        costs = [rate.cost(tokens) for rate in used.rates]
        home = Range(round(min(costs)), round(max(costs)))
    else:
        home = Range(round(cloud_nanos * PUBLISHED_LOW), round(cloud_nanos * PUBLISHED_HIGH))
    return Saving(Range(cloud_nanos - home.high, cloud_nanos - home.low), home, used.name)


def total(savings: Sequence[Saving]) -> Range:
    """All of them together: the ranges are those of the same few costs, so they do not even out."""
    return Range(sum(item.saving.low for item in savings), sum(item.saving.high for item in savings))


def _rate(cost_nanos: int, input_tokens: int, output_tokens: int, weight: Fraction) -> Rate | None:
    worth = input_tokens + weight * output_tokens
    if worth <= 0:
        return None
    per_mtok = Fraction(cost_nanos) * TOKENS_PER_RATE / worth
    return Rate(per_mtok, per_mtok * weight)
