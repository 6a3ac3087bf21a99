"""The settings `[plan]` and `[finance]`: what the book can't know of a migration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from pydantic import Field, model_validator

from services.common.settings import Section

FIRST_YEAR, LAST_YEAR = 2000, 2200
"""Of a renewal: what lies further off is a slip of the pen."""


class Estimate(Section):
    """A figure with its range: `{ value = 60000, low = 40000, high = 90000, note = "quote of May" }`."""

    value: Decimal | None = None
    """The likeliest; left out: unknown, and the range is all that is known."""
    low: Decimal | None = None
    """The least that is possible; default: `value`."""
    high: Decimal | None = None
    """The most that is possible; default: `value`."""
    note: str = ""
    """Where it comes from: the document shows it."""

    @model_validator(mode="after")
    def _ordered(self) -> Estimate:
        if self.value is None and (self.low is None or self.high is None):
            raise ValueError("expected a value, or low and high")
        found = [item for item in (self.low, self.value, self.high) if item is not None]
        if not all(item.is_finite() for item in found) or found != sorted(found):
            raise ValueError(f"expected low, value and high in this order, got {', '.join(map(str, found))}")
        return self


class Plan(Section):
    """`[plan]`: when workloads may move, for `homeward plan`."""

    renewal: date | None = None
    """First day of new prices, when the contract with the cloud is renewed: `2027-03-31`. Left out: nobody
    knows."""
    notice_days: int = Field(default=0, ge=0, le=3650)
    """Days before the renewal by which the provider must be told that it is not wanted as it is; 0: none."""
    approval_weeks: int | None = Field(default=None, ge=0, le=520)
    """Weeks that the organisation's own approvals take before work begins. Left out: unknown, which is told
    beside every date that it would move."""
    phase_weeks_low: int = Field(default=2, ge=1, le=52)
    """Weeks of each of the five phases if all goes well."""
    phase_weeks_high: int = Field(default=3, ge=1, le=52)
    """Weeks of each of the five phases if it does not."""
    at_once: int = Field(default=3, ge=1, le=100)
    """Workloads that are compared at the same time; the others wait for their turn."""
    workloads: list[str] = []
    """The workloads that move, in this order; empty: the inventory's candidates, the dearest first."""
    note: str = ""
    """Where these terms come from: shown beside the dates that follow from them."""

    @model_validator(mode="after")
    def _terms(self) -> Plan:
        if self.renewal and not FIRST_YEAR <= self.renewal.year <= LAST_YEAR:
            raise ValueError(f"renewal: expected a day from {FIRST_YEAR} to {LAST_YEAR}, got {self.renewal}")
        if self.phase_weeks_low > self.phase_weeks_high:
            raise ValueError(
                f"phase_weeks_high: expected {self.phase_weeks_low} or more, got {self.phase_weeks_high}"
            )
        twice = next(
            (name for place, name in enumerate(self.workloads) if name in self.workloads[:place]), None
        )
        if twice is not None:
            raise ValueError(f"workloads: expected each name once, got {twice} again")
        return self


_BOUNDS: Mapping[str, tuple[int, int | None]] = {
    "share_that_moves": (0, 1),
    "renewal_change": (-1, None),
    "discount_rate": (0, None),
}
"""What may stand in `[finance]`; of all others, 0 and more."""


class Finance(Section):
    """`[finance]`: figures that the book does not have, or has otherwise. What is set here comes before what
    is measured."""

    cloud_usd_per_month: Estimate | None = None
    """Dollars a month in the cloud at today's prices; left out: as the inventory measures it."""
    share_that_moves: Estimate | None = None
    """Share of it that moves home, 0 to 1; left out: that of the inventory's candidates."""
    renewal_change: Estimate | None = None
    """By which share the cloud's prices change at the renewal: 0.08 is 8 % more. Left out: unknown."""
    running_usd_per_month: Estimate | None = None
    """Dollars a month at home without hardware that is bought; left out: as `[pools]` say."""
    home_share: Estimate | None = None
    """Dollars at home for each dollar of the cloud that moves, beside `running_usd_per_month`; left out: 0
    with GPUs in `[pools]` or with `running_usd_per_month`, else what is published."""
    infrastructure_usd: Estimate | None = None
    """Dollars paid once for hardware; left out: `hardware_usd` of `[pools]`; without GPUs there 0, for
    `home_share` has it, but unknown beside `running_usd_per_month`: say 0 if it is rented."""
    engineering_usd: Estimate | None = None
    """Dollars paid once for people's work on the migration. Left out: unknown."""
    parallel_share: Estimate | None = None
    """What the cloud's legs of experiments cost, as a share of the spend that they compare; left out: as
    measured."""
    discount_rate: Estimate | None = None
    """What money costs a year, 0.1 is 10 %; left out: 0.1, from 0.05 to 0.15."""

    @model_validator(mode="after")
    def _within(self) -> Finance:
        for key in type(self).model_fields:
            found: Estimate | None = getattr(self, key)
            least, most = _BOUNDS.get(key, (0, None))
            for end in (found.low, found.value, found.high) if found else ():
                if end is not None and (end < least or (most is not None and end > most)):
                    expected = f"{least} or more" if most is None else f"{least} to {most}"
                    raise ValueError(f"{key}: expected {expected}, got {end}")
        return self


class PlanConfig(Section):
    """Both sections, for those who only check them."""

    plan: Plan = Plan()
    finance: Finance = Finance()
