"""Which legs a budget covers, and how many go while no ledger answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.budgets import AtCap, Rule
from services.common.errors import DomainError, Reason
from services.common.words import Purpose
from services.router.core.budgets import Allowance, Rules, home_only, share

NOON = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp())
DAY_S = 86_400
DAILY = Rule("daily", 5_000_000_000, "day", AtCap.REFUSE, offline_requests=2)
MONTHLY = Rule("monthly", 1_500_000, "month", AtCap.SOVEREIGN, offline_requests=3)
SOFT = Rule("soft", 10**9, "day", AtCap.ALERT, offline_requests=1)


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({}, True),
        ({"workload": "triage"}, True),
        ({"workload": "other"}, False),
        ({"key_name": "crm"}, True),
        ({"key_name": "web"}, False),
        ({"purpose": "noise"}, True),
        ({"purpose": "production"}, False),
        ({"workload": "triage", "key_name": "web"}, False),
    ],
)
def test_a_budget_covers_the_legs_that_its_words_fit(changes: dict[str, Any], covered: bool) -> None:
    rules = Rules([replace(DAILY, **changes)])
    assert bool(rules.covering("triage", "crm", Purpose.NOISE)) is covered


def test_without_budgets_nothing_is_covered() -> None:
    assert Rules().covering("triage", "crm", Purpose.PRODUCTION) == ()


def refused(allowance: Allowance, *rules: Rule, at: int = NOON) -> DomainError:
    with pytest.raises(DomainError) as caught:
        allowance.take(rules, at)
    assert caught.value.reason is Reason.BUDGET_EXHAUSTED
    return caught.value


def test_after_the_allowance_the_budgets_own_rule_holds() -> None:
    allowance = Allowance()
    for _ in range(2):
        assert allowance.take([DAILY], NOON).home_only is None
    error = refused(allowance, DAILY)
    assert error.metadata == {"budget": "daily", "cap_nanos": "5000000000"}
    for words in ("no ledger answers", "'daily' ($5 a day)", "the 2 calls", "2026-11-26 00:00 UTC"):
        assert words in error.message

    for _ in range(3):
        assert allowance.take([MONTHLY], NOON).home_only is None
    stopped = allowance.take([MONTHLY], NOON).home_only
    assert stopped is not None
    assert "'monthly' ($0.0015 a month)" in stopped.message
    assert "2026-12-01 00:00 UTC" in stopped.message

    assert allowance.take([SOFT], NOON).over == ()
    assert allowance.take([SOFT], NOON).over == ("soft",)


def test_refusing_beats_sovereign_and_a_leg_that_is_stopped_uses_nothing_up() -> None:
    allowance = Allowance()
    for _ in range(2):
        allowance.take([DAILY], NOON)
    for _ in range(5):
        refused(allowance, MONTHLY, DAILY)
    for _ in range(3):
        assert allowance.take([MONTHLY], NOON).home_only is None


def test_the_allowance_begins_anew_with_the_period() -> None:
    allowance = Allowance()
    for _ in range(2):
        allowance.take([DAILY], NOON)
    refused(allowance, DAILY, at=NOON + DAY_S // 2 - 1)
    assert allowance.take([DAILY], NOON + DAY_S // 2).home_only is None


def test_an_allowance_of_zero_lets_nothing_go() -> None:
    refused(Allowance(), replace(DAILY, offline_requests=0))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3 * DAY_S)), max_size=60),
    st.integers(0, 5),
)
def test_never_more_go_in_a_period_than_the_allowance(steps: list[tuple[int, int]], allowed: int) -> None:
    allowance, went = Allowance(), dict[tuple[str, int], int]()
    one, two = replace(DAILY, offline_requests=allowed), replace(DAILY, name="two", offline_requests=4)
    for which, at in sorted(steps, key=lambda step: step[1]):
        rules = [[one], [two], [one, two]][which]
        try:
            allowance.take(rules, at)
        except DomainError:
            continue
        for rule in rules:
            key = (rule.name, at // DAY_S)
            went[key] = went.get(key, 0) + 1
            assert went[key] <= rule.offline_requests


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_the_processes_parts_add_up(requests: int, processes: int) -> None:
    assert sum(share(requests, processes, index) for index in range(processes)) == requests


def test_a_refusal_names_the_budgets_that_leave_only_home() -> None:
    error = home_only([DAILY, MONTHLY], NOON)
    assert error.metadata == {"budget": "monthly", "cap_nanos": "1500000"}
    assert "'monthly' ($0.0015 a month) leaves only the sovereign target" in error.message
