"""Budgets as the router knows them: which legs they cover, and what goes while no ledger answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from services.common.budgets import NANOS_PER_DOLLAR, AtCap, Rule, covering, period_end, period_start
from services.common.errors import DomainError, Reason
from services.common.words import Purpose, label

KEPT_NAMES = 4096
"""Combinations of workload, key and purpose whose budgets are kept: more than anybody has."""


class Rules:
    """All budgets."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = rules
        self._resolve = lru_cache(KEPT_NAMES)(self._match)

    def covering(self, workload: str, key_name: str, purpose: Purpose) -> tuple[Rule, ...]:
        """The budgets that a cloud leg falls under."""
        return self._resolve(workload, key_name, purpose) if self._rules else ()

    def _match(self, workload: str, key_name: str, purpose: Purpose) -> tuple[Rule, ...]:
        return covering(self._rules, workload, key_name, label(purpose))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done with a cloud leg."""

    home_only: DomainError | None = None
    """Set if the leg may run at home only; raise it if it can't."""
    over: tuple[str, ...] = ()
    """Budgets that it passes and that only alert."""


GO = Verdict()


class Allowance:
    """Legs that go to the cloud while no ledger answers, counted by budget and period.

    The counts outlast the ledger's return, so that one that comes and goes can't be used to spend without
    end. They are this process's own, and begin anew with it.
    """

    def __init__(self) -> None:
        self._used: dict[str, tuple[int, int]] = {}

    def take(self, rules: Sequence[Rule], now_unix_s: int) -> Verdict:
        """Lets a leg go if all of its budgets have some left, else says what their own rule is.

        Raises:
            DomainError: BUDGET_EXHAUSTED.
        """
        over: list[str] = []
        stopped: Rule | None = None
        for rule in rules:
            if self._count(rule, now_unix_s) < rule.offline_requests:
                continue
            if rule.at_cap is AtCap.ALERT:
                over.append(rule.name)
            elif stopped is None or rule.at_cap > stopped.at_cap:
                stopped = rule
        if stopped is not None:
            refusal = _used_up(stopped, now_unix_s)
            if stopped.at_cap is AtCap.REFUSE:
                raise refusal
            return Verdict(refusal, tuple(over))
        for rule in rules:
            self._used[rule.name] = (period_start(rule.period, now_unix_s), self._count(rule, now_unix_s) + 1)
        return Verdict(None, tuple(over)) if over else GO

    def _count(self, rule: Rule, now_unix_s: int) -> int:
        start, count = self._used.get(rule.name, (0, 0))
        return count if start == period_start(rule.period, now_unix_s) else 0


def share(requests: int, processes: int, index: int) -> int:
    """A process's part of what the processes of a router may do together: the parts add up to it."""
    return requests // processes + (index < requests % processes)


def home_only(rules: Sequence[Rule], now_unix_s: int) -> DomainError:
    """The refusal of a leg that may run at home only, for when it can't."""
    names = [rule.name for rule in rules if rule.at_cap is AtCap.SOVEREIGN]
    rule = next(rule for rule in rules if rule.name == names[0]) if names else rules[0]
    which = " or ".join(map(repr, names or [rule.name]))
    return DomainError(
        Reason.BUDGET_EXHAUSTED,
        f"budget {which} ({_limit(rule)}) leaves only the sovereign target, where this request can't run;"
        f" the cloud is open again at {_again(rule, now_unix_s)}",
        budget=rule.name,
        cap_nanos=rule.limit_nanos,
    )


def _used_up(rule: Rule, now_unix_s: int) -> DomainError:
    return DomainError(
        Reason.BUDGET_EXHAUSTED,
        f"no ledger answers, and budget {rule.name!r} ({_limit(rule)}) has used up the"
        f" {rule.offline_requests} calls that may go without one; start the ledger, or wait until"
        f" {_again(rule, now_unix_s)}",
        budget=rule.name,
        cap_nanos=rule.limit_nanos,
    )


def _limit(rule: Rule) -> str:
    return f"${Decimal(rule.limit_nanos) / NANOS_PER_DOLLAR:,f} a {rule.period}"


def _again(rule: Rule, now_unix_s: int) -> str:
    end = period_end(rule.period, period_start(rule.period, now_unix_s))
    return f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC"
