"""Which workloads move in which order, and how long their comparisons take."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from playbook.inventory.gather import put_together
from playbook.inventory.lines import Inventory, inventory
from playbook.inventory.saving import PUBLISHED
from playbook.inventory.spend import Group, Tokens
from playbook.plan.movers import MAX_MOVERS, choose

DOLLAR = 1_000_000_000
DAYS = [date(2026, 1, 1) + timedelta(days=past) for past in range(30)]


def group(who: str, usd: int, task_type: str = "classification", requests: int | None = 3_000_000) -> Group:
    """A project of 30 days."""
    daily = None if requests is None else requests // 30
    return Group(
        source="usage",
        workload="",
        fingerprint="",
        provider="openai",
        model="m",
        who_kind="project",
        who=who,
        models=("m",),
        coarse=False,
        daily=tuple((day, daily, 10_000) for day in DAYS),
        requests=requests,
        unknown_requests=0,
        tokens=Tokens(input=250_000, output=50_000),
        cost_nanos=usd * DOLLAR,
        priced_rows=30,
        unpriced_rows=0,
        unpriced_tokens=0,
        currencies=(),
        task_types={task_type: requests or 1},
    )


def bought(*groups: Group) -> Inventory:
    return inventory(put_together(groups, [("usage", "openai", DAYS)]), {}, PUBLISHED)


def test_candidates_move_the_dearest_first_and_others_are_named() -> None:
    found = choose(
        bought(group("b", 2000), group("a", 3000), group("lab", 900, ""), group("code", 9000, "code")), (), 21
    )
    assert [mover.name for mover in found.movers] == ["a · m", "b · m"]
    assert [line.workload.name for line in found.lines] == ["a · m", "b · m"]
    assert found.remarks == ("Not planned, since something of them is unknown: lab · m; see the inventory.",)


def test_only_so_many_are_planned_and_the_others_are_counted() -> None:
    found = choose(bought(*(group(f"w{number}", 2000 + number) for number in range(MAX_MOVERS + 3))), (), 21)
    assert len(found.movers) == MAX_MOVERS
    assert found.movers[0].name == f"w{MAX_MOVERS + 2} · m"
    assert "3 smaller candidates come after these." in found.remarks


@pytest.mark.parametrize(
    ("requests", "planned", "note"),
    [
        (30_000_000, True, ""),
        (60_000, True, "--rate 1"),
        (300, False, "not planned, 304 requests a month are too few"),
        (None, True, "no forecast"),
    ],
)
def test_a_comparison_takes_as_long_as_its_forecast(requests: int | None, planned: bool, note: str) -> None:
    """With all requests where a tenth would take too long; not at all where forecasts do not reach."""
    found = choose(bought(group("w", 2000, requests=requests)), (), 21)
    assert [mover.name for mover in found.movers] == (["w · m"] if planned else [])
    assert note in "".join(found.remarks)
    for mover in found.movers:
        if requests is None:
            assert mover.shadow_days is None
        else:
            assert mover.shadow_days is not None
            assert 14 <= mover.shadow_days[0] <= mover.shadow_days[1]
            assert not any(days % 7 for days in mover.shadow_days)


def test_names_of_the_settings_come_in_their_order_known_or_not() -> None:
    spent = bought(group("b", 2000), group("a", 3000))
    found = choose(spent, ["b · m", "mystery"], 21)
    assert [(mover.name, mover.month_nanos is None) for mover in found.movers] == [
        ("b · m", False),
        ("mystery", True),
    ]
    assert found.remarks == ("The inventory does not have mystery: its spend and forecast are unknown.",)


def test_without_a_book_only_the_names_of_the_settings_are_known() -> None:
    assert choose(None, (), 21).movers == ()
    found = choose(None, ["a"], 21)
    assert [mover.name for mover in found.movers] == ["a"]
    assert found.remarks == ()


def test_the_same_inventory_gives_the_same_plan() -> None:
    spent = bought(group("a", 2000, requests=400_000))
    assert choose(spent, (), 21) == choose(replace(spent), (), 21)
