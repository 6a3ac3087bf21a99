"""The inputs: settings before the book, the book before what is published, and each with its source."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

from playbook.finance.gather import Book, Config, Experiments, Timing, case_of
from playbook.finance.inputs import Case, Name
from playbook.inventory.gather import put_together
from playbook.inventory.lines import Inventory, inventory
from playbook.inventory.ranking import Candidate
from playbook.inventory.saving import PUBLISHED, by_settings
from playbook.inventory.spend import Group
from tests.support.spend_groups import project

DOLLAR = 1_000_000_000
DAYS = [date(2026, 1, 1) + timedelta(days=past) for past in range(30)]
TIMING = Timing((Fraction(10), Fraction(15)), Fraction(6))
GPUS = {
    "upstreams": ["home"],
    "gpus": 8,
    "hardware_usd": 270_000,
    "power_watts": 7_500,
    "pue": 1.5,
    "usd_per_kwh": 0.1,
    "hosting_usd_per_month": 2_000,
    "people_usd_per_month": 1_000,
}


def group(who: str, usd: int | None, task_type: str) -> Group:
    """A project of 30 days, with three million requests."""
    made = project(who, usd, task_type, DAYS, 100_000)
    return replace(made, unpriced_tokens=300_000 if usd is None else 0)


def bought(*groups: Group, days: int = 30) -> Inventory:
    spend = put_together(groups, [("usage", "openai", DAYS[:days])])
    basis = by_settings({"rack": (Fraction(12), 8, Fraction(4))}) or PUBLISHED
    return inventory(spend, {}, basis)


def case(found: Inventory | None, experiments: Experiments | None = None, **settings: Any) -> Case:
    moving = found.candidates(Candidate.YES) if found else ()
    problem = "" if found else "ClickHouse is away"
    return case_of(Book(found, experiments, problem), Config(**settings), moving, TIMING)


SPENT = bought(
    group("support", 6000, "context_qa"), group("triage", 3000, "classification"), group("lab", 1000, "")
)


def test_spend_and_share_are_measured() -> None:
    found = case(SPENT)
    month = Fraction(SPENT.spend.month_nanos)
    assert float(month) == pytest.approx(10_000 * DOLLAR * 30.44 / 30)
    assert (found[Name.CLOUD].value, found[Name.CLOUD].low) == (month, month * Fraction(9, 10))
    assert found[Name.CLOUD].source.kind == "measured"
    assert "openai 2026-01-01 to 2026-01-30" in found[Name.CLOUD].source.text
    # All of them; without the dearest, which may be rejected; with the one of unknown kind.
    share = found[Name.MOVES]
    assert [round(float(end or 0), 6) for end in (share.low, share.value, share.high)] == [0.3, 0.9, 1.0]


def test_a_short_window_is_less_sure() -> None:
    found = case(bought(group("support", 6000, "context_qa"), days=10))[Name.CLOUD]
    assert found.low == (found.value or 0) * Fraction(3, 4)


def test_what_has_no_price_is_told_and_not_taken_for_nothing() -> None:
    found = case(bought(group("support", 6000, "context_qa"), group("lab", None, "")))
    assert "300,000 tokens have no price" in found[Name.CLOUD].source.text
    blind = case(bought(group("lab", None, "context_qa")))
    assert (blind[Name.CLOUD].value, blind[Name.CLOUD].low) == (None, None)


def test_without_candidates_the_share_is_unknown_up_to_those_that_may_be() -> None:
    found = case(bought(group("lab", 3000, ""), group("code", 1000, "code")))[Name.MOVES]
    assert found.value is None
    assert (found.low, float(found.high or 0)) == (0, pytest.approx(0.75))
    assert case(bought(group("code", 1000, "code")))[Name.MOVES].value == 0


def test_a_book_that_can_not_be_read_leaves_it_unknown() -> None:
    found = case(None)
    assert found[Name.CLOUD].value is None
    assert found[Name.CLOUD].source.text == "ClickHouse is away"
    assert (found[Name.MOVES].low, found[Name.MOVES].high) == (0, 1)


def test_gpus_of_the_settings_cost_the_same_whatever_they_serve() -> None:
    """Bought hardware is paid once; it is not in the running cost as well."""
    found = case(SPENT, pools={"rack": GPUS})
    assert found[Name.INFRASTRUCTURE].value == 270_000 * DOLLAR
    hours = Fraction(8766, 12)
    power = Fraction(7_500 * 15, 10_000) * hours / 10
    assert found[Name.RUNNING].value == (3_000 + power) * DOLLAR
    assert found[Name.HOME_SHARE].value == 0
    assert found[Name.RUNNING].source.text.startswith("[pools.rack]")


def test_the_running_cost_is_at_most_what_the_moving_tokens_cost_there() -> None:
    """A pool that is too small for them is not taken for large enough."""
    cheap = {"upstreams": ["home"], "hosting_usd_per_month": 1}
    found = case(SPENT, pools={"tiny": cheap})[Name.RUNNING]
    needed = sum(line.saving.home.high for line in SPENT.candidates(Candidate.YES) if line.saving)
    assert (found.value, found.high) == (DOLLAR, needed)


@pytest.mark.parametrize("pool", [{"gpus": 0, "hosting_usd_per_month": 60}, {"gpus": 8}])
def test_without_gpus_that_cost_something_home_is_what_is_published(pool: dict[str, Any]) -> None:
    """A CPU says nothing of a GPU, and a pool without figures costs not nothing."""
    found = case(SPENT, pools={"home": {"upstreams": ["home"], **pool}})
    share = found[Name.HOME_SHARE]
    assert (share.value, share.low, share.high) == (None, Fraction(11, 200), Fraction(428, 1219))
    assert "Lenovo" in share.source.text
    assert found[Name.RUNNING].value == found[Name.INFRASTRUCTURE].value == 0


def test_a_home_that_the_settings_tell_of_is_not_counted_twice_nor_half() -> None:
    """The published share has hardware and people in it; a running cost is beside neither."""
    found = case(SPENT, finance={"running_usd_per_month": {"value": 900}})
    assert (found[Name.RUNNING].value, found[Name.HOME_SHARE].value) == (900 * DOLLAR, 0)
    assert found[Name.INFRASTRUCTURE].value is None
    assert "0 if it is rented" in found[Name.INFRASTRUCTURE].source.text
    shared = case(SPENT, finance={"home_share": {"value": "0.2"}})
    assert shared[Name.RUNNING].value == shared[Name.INFRASTRUCTURE].value == 0
    assert "[finance] home_share" in shared[Name.INFRASTRUCTURE].source.text
    rented = {"running_usd_per_month": {"value": 900}, "infrastructure_usd": {"value": 0}}
    assert case(SPENT, finance=rented)[Name.INFRASTRUCTURE].value == 0


MEASURED = Experiments(12 * DOLLAR, 4_000, 0, 100 * DOLLAR, 2, date(2026, 2, 1), date(2026, 2, 14))


def test_parallel_running_is_measured_by_the_legs_of_experiments() -> None:
    found = case(SPENT, MEASURED)[Name.PARALLEL]
    assert (found.value, found.source.kind) == (Fraction(12, 100), "measured")
    assert "finance_experiments.sql: 4,000 legs of 2 workloads, 2026-02-01" in found.source.text
    told = case(SPENT, replace(MEASURED, unknown_legs=7))[Name.PARALLEL].source.text
    assert "7 legs of unknown cost are not in it" in told


def test_before_anything_is_compared_it_follows_from_the_rates() -> None:
    for experiments in (None, replace(MEASURED, production_nanos=0)):
        found = case(SPENT, experiments, shadow={"control_share": 0.25})[Name.PARALLEL]
        assert (found.value, found.source.kind) == (Fraction(125, 1000), "setting")


def test_what_is_set_comes_before_what_is_measured() -> None:
    found = case(
        SPENT,
        MEASURED,
        finance={
            "cloud_usd_per_month": {"value": 5000, "low": 4000, "high": 9000, "note": "the contract"},
            "engineering_usd": {"value": 60_000},
            "renewal_change": {"low": 0, "high": "0.2"},
            "discount_rate": {"value": "0.08"},
        },
    )
    assert (found[Name.CLOUD].value, found[Name.CLOUD].high) == (5000 * DOLLAR, 9000 * DOLLAR)
    assert found[Name.CLOUD].source.text == "[finance] cloud_usd_per_month: the contract"
    assert found[Name.ENGINEERING].low == found[Name.ENGINEERING].high == 60_000 * DOLLAR
    assert (found[Name.CHANGE].value, found[Name.CHANGE].high) == (None, Fraction(1, 5))
    assert found[Name.DISCOUNT].value == Fraction(8, 100)


def test_what_nobody_has_said_has_a_published_range() -> None:
    found = case(SPENT)
    for name in (Name.ENGINEERING, Name.CHANGE):
        assert found[name].value is None
        assert found[name].low is not None
        assert found[name].source.kind == "unknown"
    assert "Bureau" in found[Name.ENGINEERING].source.text or "BLS" in found[Name.ENGINEERING].source.text


def test_every_input_is_there_with_a_source() -> None:
    for found in (case(SPENT, MEASURED, pools={"rack": GPUS}), case(None)):
        assert set(found) == set(Name)
        assert all(item.source.text for item in found.values())


def test_a_renewal_that_is_past_is_at_the_first_day() -> None:
    timing = Timing(TIMING.weeks, Fraction(-3))
    assert case_of(Book(), Config(), (), timing)[Name.RENEWS].value == 0
    unknown = case_of(Book(), Config(), (), Timing(TIMING.weeks, None))[Name.RENEWS]
    assert (unknown.value, unknown.low, unknown.high) == (None, 0, 36)
