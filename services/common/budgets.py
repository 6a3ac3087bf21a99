"""Budgets as the settings have them, for the ledger, which keeps them, and the router, which asks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache

from services.common.settings import Budget

DAY_S = 86_400
NANOS_PER_DOLLAR = 1_000_000_000


class AtCap(IntEnum):
    """What happens to a leg that does not fit any more; of several, the greatest holds."""

    ALERT = 1
    SOVEREIGN = 2
    REFUSE = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """A budget as the settings have it."""

    name: str
    limit_nanos: int
    period: str
    """`day` or `month`."""
    at_cap: AtCap
    offline_requests: int = 0
    """Legs that a router may send to the cloud in a period while no ledger answers."""
    workload: str | None = None
    """None fits any; so do the two below."""
    key_name: str | None = None
    purpose: str | None = None
    """The word: `production`."""

    def covers(self, workload: str, key_name: str, purpose: str) -> bool:
        """True if a leg with these words falls under it."""
        return (
            self.workload in (None, workload)
            and self.key_name in (None, key_name)
            and self.purpose in (None, purpose)
        )


def rules_of(budgets: Mapping[str, Budget]) -> tuple[Rule, ...]:
    """The budgets of the settings, sorted by name."""
    return tuple(
        Rule(
            name=name,
            limit_nanos=int((item.limit_usd * NANOS_PER_DOLLAR).to_integral_value()),
            period=item.period,
            at_cap=AtCap[item.at_cap.upper()],
            offline_requests=item.offline_requests,
            workload=item.workload,
            key_name=item.key,
            purpose=item.purpose,
        )
        for name, item in sorted(budgets.items())
    )


def covering(rules: Iterable[Rule], workload: str, key_name: str, purpose: str) -> tuple[Rule, ...]:
    """The budgets that a leg falls under."""
    return tuple(rule for rule in rules if rule.covers(workload, key_name, purpose))


def period_start(period: str, unix_s: int) -> int:
    """When the day or month began that a time is in, seconds since the epoch."""
    day = unix_s - unix_s % DAY_S
    return day if period == "day" else _month(day)


def period_end(period: str, start_unix_s: int) -> int:
    """When the period ends that began then; the first second of the next."""
    return start_unix_s + DAY_S if period == "day" else _month(start_unix_s + 31 * DAY_S)


@lru_cache(1024)
def _month(day_unix_s: int) -> int:
    return int(datetime.fromtimestamp(day_unix_s, UTC).replace(day=1).timestamp())
