"""Groups become workloads, and a window's cost a month's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.inventory.gather import covered, month_of, put_together
from playbook.inventory.spend import Group, Rest, Source, Spend, Tokens

FIRST = date(2026, 1, 1)
GROUP = Group(
    source="usage",
    workload="",
    fingerprint="",
    provider="openai",
    model="gpt-4o",
    who_kind="project",
    who="support-bot",
    models=("gpt-4o",),
    coarse=False,
    daily=((FIRST, 10, 1000),),
    requests=10,
    unknown_requests=0,
    tokens=Tokens(input=800, output=200),
    cost_nanos=3_044,
    priced_rows=1,
    unpriced_rows=0,
    unpriced_tokens=0,
    currencies=(),
    task_types={"": 10},
)


def days(count: int, source: Source = "usage", provider: str = "openai") -> tuple[Source, str, list[date]]:
    """Days from the first."""
    return (source, provider, [FIRST + timedelta(days=past) for past in range(count)])


def spend(*groups: Group, known: Iterable[tuple[Source, str, list[date]]] | None = None) -> Spend:
    """Of 100 days, if not said otherwise."""
    return put_together(groups, [days(100)] if known is None else known, {"ticket-triage"})


@pytest.mark.parametrize(
    ("group", "name", "kind"),
    [
        (replace(GROUP, workload="ticket-triage"), "ticket-triage", "registered"),
        (replace(GROUP, workload="else"), "else", "named"),
        (replace(GROUP, fingerprint="0123456789abcdef"), "prompt 01234567 · gpt-4o", "prompt"),
        (GROUP, "support-bot · gpt-4o", "project"),
        (replace(GROUP, who_kind="key", who="prod-key"), "prod-key · gpt-4o", "key"),
        (replace(GROUP, who_kind="user", who="ann"), "ann · gpt-4o", "user"),
        (replace(GROUP, who_kind="", who=""), "gpt-4o", "model"),
        (replace(GROUP, who_kind="", who="", model=""), "(no name)", "model"),
    ],
)
def test_a_group_has_a_name_that_one_can_read(group: Group, name: str, kind: str) -> None:
    """And a kind, so that nobody mistakes it for a registered workload."""
    (found,) = spend(group).workloads
    assert (found.name, found.kind) == (name, kind)


def test_a_month_is_made_of_the_days_that_are_known() -> None:
    """3,044 nano-dollars of a hundred days are 926.5… of 30.44."""
    (found,) = spend(GROUP).workloads
    assert (found.cost_nanos, found.month_nanos) == (3_044, round(3_044 * 30.44 / 100))
    assert found.month_tokens == Tokens(input=round(800 * 0.3044), output=round(200 * 0.3044))


def test_a_registered_workload_is_one_over_all_its_providers() -> None:
    """Each provider's part by the days of its own."""
    named = replace(GROUP, workload="ticket-triage")
    other = replace(named, provider="anthropic", cost_nanos=1000, source="cost")
    (found,) = spend(named, other, known=[days(100), days(10, "cost", "anthropic")]).workloads
    assert found.month_nanos == month_of(3_044, 100) + month_of(1000, 10)
    assert found.providers == ("anthropic", "openai")
    assert found.extrapolated


def test_groups_of_two_providers_are_two() -> None:
    """Nobody says that they are one workload."""
    found = spend(GROUP, replace(GROUP, provider="azure"), known=[days(100), days(100, "usage", "azure")])
    assert len(found.workloads) == 2


def test_an_unknown_price_is_no_zero() -> None:
    """It comes last, by tokens, and is in no sum."""
    unknown = replace(GROUP, model="new", cost_nanos=0, priced_rows=0, unpriced_rows=1, unpriced_tokens=1000)
    larger = replace(
        unknown, who="lab", unpriced_tokens=9000, tokens=Tokens(input=9000), daily=((FIRST, 1, 9000),)
    )
    found = spend(unknown, larger, GROUP)
    assert [item.name for item in found.workloads] == [
        "support-bot · gpt-4o",
        "lab · new",
        "support-bot · new",
    ]
    assert [item.month_nanos is None for item in found.workloads] == [False, True, True]
    assert (found.tokens, found.unpriced_tokens, found.cost_nanos) == (11_000, 10_000, 3_044)


def test_requests_that_no_row_tells_are_unknown() -> None:
    """And the volume of days is told by tokens."""
    silent = replace(
        GROUP,
        requests=None,
        unknown_requests=2,
        daily=((FIRST, None, 100), (FIRST + timedelta(1), None, 300)),
    )
    (found,) = spend(silent, known=[days(2)]).workloads
    assert (found.requests, found.month_requests, found.unknown_requests) == (None, None, 2)
    assert found.variation == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("volumes", "coarse", "active", "variation"),
    [
        ([10, 10, 10, 10], False, 4, 0.0),
        ([0, 0, 10, 10], False, 2, 0.0),
        ([10, 0, 0, 10], False, 2, 1.0),
        ([10, 0, 0, 0], False, 1, 3**0.5),
        ([0, 0, 0, 0], False, None, None),
        ([10, 10, 10, 10], True, None, None),
    ],
)
def test_stability_is_told_from_the_first_day_of_use(
    volumes: list[int], coarse: bool, active: int | None, variation: float | None
) -> None:
    """To the last of the window; longer buckets, and exports without volume, tell nothing."""
    daily = tuple((FIRST + timedelta(days=past), volume, volume) for past, volume in enumerate(volumes))
    (found,) = spend(replace(GROUP, daily=daily, coarse=coarse), known=[days(4)]).workloads
    assert found.active_days == active
    assert found.variation == (None if variation is None else pytest.approx(variation))


def test_the_commonest_known_kind_of_work_counts() -> None:
    """With its share of the requests whose kind is known."""
    (found,) = spend(replace(GROUP, task_types={"": 90, "extraction": 6, "code": 2})).workloads
    assert (found.task_type, found.task_type_share) == ("extraction", 0.75)


def test_legs_and_bills_of_days_that_imports_cover_are_told() -> None:
    """How many days they are, by provider."""
    found = spend(GROUP, known=[days(10), days(4, "cost"), days(12, "legs"), days(3, "legs", "local")])
    assert found.left_out_legs == {"openai": 10}
    assert found.left_out_costs == {"openai": 4}


def test_what_was_cut_off_is_in_the_sums() -> None:
    """By the days of its provider."""
    found = put_together([GROUP], [days(100)], cut_off={"openai": Rest(7, 1000, 50, 5)})
    assert (found.cost_nanos, found.tokens, found.unpriced_tokens) == (4_044, 1050, 5)
    assert found.month_nanos == month_of(3_044, 100) + month_of(1000, 100)


@pytest.mark.parametrize(
    ("past", "expected"),
    [([0], 1), ([0, 1, 2], 3), ([0, 8], 9), ([0, 9], 2), ([0, 1, 100, 101], 4), ([5, 0, 3], 6)],
)
def test_days_without_rows_are_covered_up_to_a_week(past: list[int], expected: int) -> None:
    """A longer gap is one that no import covers."""
    assert len(covered(FIRST + timedelta(days=number) for number in past)) == expected


def test_days_of_an_export_are_known_though_nothing_was_used_on_them() -> None:
    """Used once a month costs not thirty times as much; what is left out is told by days with rows."""
    seldom = [FIRST, FIRST + timedelta(60)]
    found = spend(GROUP, known=[("usage", "openai", seldom), days(61, "export"), days(3, "legs")])
    assert [(item.days, item.first, item.last) for item in found.windows] == [
        (61, FIRST, FIRST + timedelta(60))
    ]
    assert found.month_nanos == month_of(3_044, 61)
    assert (found.left_out_legs, found.left_out_costs) == ({"openai": 1}, {})


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=6), st.integers(1, 400))
def test_the_window_is_the_sum_of_its_groups(costs: list[int], known: int) -> None:
    """Exactly; a month's sum is off by the rounding of each."""
    groups = [replace(GROUP, who=str(place), cost_nanos=cost) for place, cost in enumerate(costs)]
    found = spend(*groups, known=[days(known)])
    assert found.cost_nanos == sum(costs)
    assert abs(found.month_nanos - month_of(sum(costs), known)) <= len(costs)
