"""The inputs: settings before the book, the book before what is published, and each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from playbook.asked import Asked
from playbook.finance import gather
from playbook.finance.gather import Book, Config, Experiments, Timing, case_of, read_until
from playbook.finance.inputs import Case, Name
from playbook.inventory.gather import put_together
from playbook.inventory.lines import Inventory, inventory
from playbook.inventory.ranking import Candidate
from playbook.inventory.saving import PUBLISHED, by_settings
from playbook.inventory.spend import Group, Spend
from playbook.plan.gather import gather as planned
from services.ledger.core.pools import HOURS_PER_MONTH, hourly_cost
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


def credit(usd: int) -> Group:
    """A line of a bill without tokens, as FOCUS has credits."""
    made = project("credits", -usd, "", DAYS, 0)
    return replace(made, source="cost", requests=None, task_types={})


def bought(*groups: Group, days: int = 30) -> Inventory:
    spend = put_together(groups, [("usage", "openai", DAYS[:days])])
    basis = by_settings({"rack": (Fraction(12), 8, Fraction(4))}) or PUBLISHED
    return inventory(spend, {}, basis)


def case(found: Inventory | None, experiments: Experiments | None = None, **settings: Any) -> Case:
    wanted = settings.get("plan", {}).get("workloads")
    moving = found.candidates(Candidate.YES) if found else ()
    if found and wanted:
        moving = tuple(line for line in found.lines if line.workload.name in wanted)
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


@pytest.mark.parametrize(
    ("wanted", "value", "high", "told"),
    [
        (["support"], 0.75, 0.75, "1 planned; at least without the dearest of them, at most with those"),
        (["lab"], None, 1, "what is planned has no price"),
        (["mystery"], None, 1, "what is planned has no price; the inventory does not have mystery"),
        (["support", "lab"], 0.75, 1, "2 planned; at least without the dearest of them, at most all, for 1"),
        (["support", "mystery"], 0.75, 1, "1 of them have no price; the inventory does not have mystery"),
    ],
)
def test_a_planned_workload_of_unknown_price_is_not_one_of_none(
    wanted: list[str], value: float | None, high: float, told: str
) -> None:
    found = bought(
        group("support", 3000, "context_qa"), group("code", 1000, "code"), group("lab", None, "context_qa")
    )
    names = [name if name == "mystery" else f"{name} · gpt-4o" for name in wanted]
    share = case(found, plan={"workloads": names})[Name.MOVES]
    assert share.value == (None if value is None else pytest.approx(value))
    assert (share.low, float(share.high or 0)) == (0, pytest.approx(high))
    assert told in share.source.text
    assert share.source.kind == ("unknown" if value is None else "measured")


@pytest.mark.parametrize(
    ("credits_usd", "share"), [(1000, 6 / 9), (4000, 1), (9999, 1), (10_000, None), (12_000, None)]
)
def test_credits_make_no_share_above_the_whole_and_no_spend_below_nothing(
    credits_usd: int, share: float | None
) -> None:
    found = case(
        bought(group("support", 6000, "context_qa"), group("code", 4000, "code"), credit(credits_usd))
    )
    assert found[Name.MOVES].value == (None if share is None else pytest.approx(share, rel=1e-6))
    assert (found[Name.CLOUD].value is None) == (share is None)
    assert ("credits are more than what is spent" in found[Name.CLOUD].source.text) == (credits_usd > 10_000)


def test_a_workload_that_is_all_credit_takes_nothing_from_the_others() -> None:
    found = bought(group("support", 6000, "context_qa"), group("code", 6000, "code"), credit(2000))
    names = [line.workload.name for line in found.lines if line.workload.name != "code · gpt-4o"]
    share = case(found, plan={"workloads": names})[Name.MOVES]
    assert (share.low, float(share.value or 0)) == (0, pytest.approx(0.6))


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


def test_hardware_that_is_paid_once_is_in_no_end_of_the_running_cost() -> None:
    """The dearest rate has its write-off in it; tokens that need no more than the pool cost what it costs."""
    rack = {"upstreams": ["home"], "gpus": 8, "hardware_usd": 270_000, "hosting_usd_per_month": 3000}
    (pool,) = Config(pools={"rack": rack}).pools.values()
    spent = replace(
        SPENT, basis=by_settings({"rack": (hourly_cost(pool).total, 8, Fraction(4))}) or PUBLISHED
    )
    owned = hourly_cost(pool).hardware * HOURS_PER_MONTH * DOLLAR
    needed = sum(line.saving.home.high for line in spent.candidates(Candidate.YES) if line.saving)
    assert 0 < needed < owned + 3000 * DOLLAR
    found = case(spent, pools={"rack": rack})[Name.RUNNING]
    assert (found.low, found.value, found.high) == (3000 * DOLLAR,) * 3
    assert "dearest rate" not in found.source.text
    # Of tokens that need a larger pool, only what is owned already is not in it.
    small = {**rack, "hardware_usd": 1000, "hosting_usd_per_month": 10}
    (pool,) = Config(pools={"rack": small}).pools.values()
    more = case(SPENT, pools={"rack": small})[Name.RUNNING]
    needed = sum(line.saving.home.high for line in SPENT.candidates(Candidate.YES) if line.saving)
    assert more.high == needed - hourly_cost(pool).hardware * HOURS_PER_MONTH * DOLLAR
    assert "dearest rate, less the write-off of hardware" in more.source.text


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
    past = case_of(Book(), Config(), (), timing)[Name.RENEWS]
    assert past.value == 0
    assert (
        "if the book's prices are the new ones already, set [finance] renewal_change to 0" in past.source.text
    )
    ahead = case_of(Book(), Config(), (), TIMING)[Name.RENEWS]
    assert ahead.source.text == "[plan] renewal, from the first day"
    unknown = case_of(Book(), Config(), (), Timing(TIMING.weeks, None))[Name.RENEWS]
    assert (unknown.value, unknown.low, unknown.high) == (None, 0, 36)


@pytest.fixture
def booked(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """The days on which a workload is booked, for a ClickHouse that knows nothing else."""
    days: list[date] = []

    def asked(_client: Any, _since: date | None, until: date | None) -> dict[str, Asked]:
        return dict.fromkeys(gather.SPENT, Asked("", {"until": until}, []))

    def spend(spent: Mapping[str, Asked], _registry: Any) -> Spend:
        until = spent[gather.SPENT[0]].parameters["until"]
        some = [day for day in days if until is None or day <= until]
        made = project("support", 10 * len(some), "context_qa", some, 100)
        return put_together([made] if some else [], [("legs", "openai", some)] if some else [])

    monkeypatch.setattr(gather, "connect", lambda _store: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(gather, "registry_of", lambda _config: {})
    monkeypatch.setattr(gather, "ask_spend", asked)
    monkeypatch.setattr(gather, "spend_of", spend)
    monkeypatch.setattr(gather, "basis_of", lambda *_: PUBLISHED)
    nothing = Asked("", {}, [{"experiment_legs": 0}])
    monkeypatch.setattr(gather, "_ask_experiments", lambda *_: nothing)
    return days


@pytest.mark.parametrize(
    ("past", "counted"),
    [((3, 2, 1, 0), (3, 1)), ((3, 2, 1), (3, 1)), ((0,), (0, 0))],
    ids=["whole days and today", "whole days", "begins today"],
)
def test_a_part_of_a_day_counts_only_where_there_is_no_other(
    booked: list[date], past: tuple[int, ...], counted: tuple[int, int]
) -> None:
    """So plan, finance and report say the same of the same hour."""
    today = datetime.now(UTC).date()
    booked += [today - timedelta(days=days) for days in past]
    first, last = (today - timedelta(days=days) for days in counted)
    book, until = read_until(Config(), today)
    assert book.inventory is not None
    (window,) = book.inventory.spend.windows
    assert (window.first, window.last, until) == (first, last, last)
    # A decision of a day to come does not make today a whole day.
    for decided in (today, today + timedelta(days=90)):
        assert planned(Config(), decided).book == book
