"""What a migration costs and saves, month by month for three years. Pure, exact, and of one set of figures.

The first day is the one on which work begins. From it on the pool at home runs, and until all is at home the
cloud is paid as well: that is parallel running, and part of the cost paid once. Nothing is saved before all
is at home, for a plan that counts on the first workload's saving counts on a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

from playbook.finance.inputs import Name

MONTHS = 36
WEEKS_PER_MONTH = Fraction(3044, 700)
"""Of 30.44 days, as the inventory's."""
NEVER = Fraction(10**6)
"""Months of a payback that never comes: more than any other, so that ranges have an order."""
FACTOR_SCALE = 10**18
"""Discount factors are whole numbers of this part."""

_NOTHING, _WHOLE = Fraction(0), Fraction(1)

Values = Mapping[Name, Fraction]
"""A figure for each input."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows from one set of figures; amounts are nano-dollars."""

    one_time: int
    """Infrastructure, engineering, and parallel running."""
    parallel: int
    """Of it, what runs twice until all is at home: the pool, and the experiments' legs in the cloud."""
    saving_month_now: int
    """Once all is at home, at the cloud's prices of today; negative if home is dearer."""
    saving_month: int
    """At its prices after the renewal."""
    payback: Fraction
    """Months in which the saving after the renewal makes up for `one_time`; NEVER if it does not."""
    npv: int
    """Of three years, discounted to the first day by whole months."""
    flows: tuple[int, ...]
    """By month, 0 is the first day: what is saved less what is paid."""

    @property
    def saving_year(self) -> int:
        """At the prices after the renewal."""
        return 12 * self.saving_month

    @property
    def turns(self) -> int | None:
        """First month from whose end on the sum of all flows stays at 0 or more; 0 if it is never below, None
        if it is at the end of three years."""
        found: int | None = None
        total = 0
        for month, flow in enumerate(self.flows):
            total += flow
            if total < 0:
                found = None
            elif found is None:
                found = month
        return found


def evaluate(values: Values) -> Outcome:
    """Computes it all; each amount is rounded once, half to even."""
    moving = values[Name.CLOUD] * values[Name.MOVES]
    running, change = values[Name.RUNNING], values[Name.CHANGE]
    experiments = values[Name.PARALLEL] * moving
    home_at = values[Name.WEEKS] / WEEKS_PER_MONTH
    renewal_at = values[Name.RENEWS]
    now = moving * (1 - values[Name.HOME_SHARE]) - running
    paid = values[Name.INFRASTRUCTURE] + values[Name.ENGINEERING]
    parallel = home_at * (running + experiments)
    doubled = running + experiments

    def flow(home: Fraction, dearer: Fraction) -> int:
        return round(home * now + dearer * change * moving - (1 - home) * doubled)

    # Nearly all months are as the one before, and fractions are slow.
    flows, parts, last = [-round(paid)], (Fraction(-1), Fraction(-1)), 0
    for month in range(MONTHS):
        now_parts = _part(month, home_at), _part(month, max(home_at, renewal_at))
        if now_parts != parts:
            parts, last = now_parts, flow(*now_parts)
        flows.append(last)
    saving, one_time = round(now + change * moving), round(paid + parallel)
    return Outcome(
        one_time=one_time,
        parallel=round(parallel),
        saving_month_now=round(now),
        saving_month=saving,
        payback=payback(one_time, 12 * saving),
        npv=present_value(flows, values[Name.DISCOUNT]),
        flows=tuple(flows),
    )


def payback(one_time: int, saving_year: int) -> Fraction:
    """Months in which a saving makes up for a cost; NEVER if it does not."""
    if one_time <= 0:
        return Fraction(0)
    return Fraction(12 * one_time, saving_year) if saving_year > 0 else NEVER


def present_value(flows: list[int], rate: Fraction) -> int:
    """What flows by month are worth at the beginning of month 1.

    Args:
        flows: the first is of now, and is not discounted.
        rate: a year, compounded: a month is its twelfth root. Above -1.
    """
    with localcontext() as context:
        context.prec = 40
        yearly = 1 + Decimal(rate.numerator) / Decimal(rate.denominator)
        factor = int(yearly ** (Decimal(-1) / 12) * FACTOR_SCALE)
    total, power = 0, FACTOR_SCALE
    for flow in flows:
        total += flow * power
        power = power * factor // FACTOR_SCALE
    return round(Fraction(total, FACTOR_SCALE))


def delay_cost(values: Values, months: Fraction) -> int:
    """What it costs to be home so many months later: the saving that is missed, at the prices of its time."""
    outcome = evaluate(values)
    home_at = values[Name.WEEKS] / WEEKS_PER_MONTH
    at_old = max(Fraction(0), min(values[Name.RENEWS], home_at + months) - home_at)
    return round(at_old * outcome.saving_month_now + (months - at_old) * outcome.saving_month)


def _part(month: int, since: Fraction) -> Fraction:
    """The part of a month (0 is the first) that lies after a time."""
    if month >= since:
        return _WHOLE
    return max(_NOTHING, month + 1 - since)
