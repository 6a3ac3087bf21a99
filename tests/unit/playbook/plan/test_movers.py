"""Which workloads move in which order, and how long their comparisons take."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import pytest

from playbook.commands import shadow_start
from playbook.inventory.gather import put_together
from playbook.inventory.lines import Inventory, inventory
from playbook.inventory.saving import PUBLISHED
from playbook.inventory.spend import Group, Tokens
from playbook.plan.movers import LEAST_DAYS, MAX_MOVERS, choose
from playbook.plan.schedule import outline
from playbook.plan.stages import Stages
from playbook.replay import duration_us
from services.common.words import Stage

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
            assert LEAST_DAYS <= mover.shadow_days[0] <= mover.shadow_days[1]
            assert not any(days % 7 for days in mover.shadow_days)


@pytest.mark.parametrize("weekday", range(7))
@pytest.mark.parametrize("hour", [0, 9, 23])
@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("requests", [30_000_000, 300_000, 60_000])
def test_a_comparison_that_begins_on_any_day_ends_within_what_is_planned(
    requests: int, slow: bool, hour: int, weekday: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the windows that `homeward shadow start` sets: they are whole, and late answers are waited for."""
    (mover,) = choose(bought(group("w", 2000, requests=requests)), (), 21).movers
    assert mover.shadow_days is not None
    began = datetime(2027, 2, 1 + weekday, hour, 0, 1, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(began.timestamp(), tz)

    monkeypatch.setattr(shadow_start, "datetime", Clock)
    first, _ = shadow_start._first_window(7 * 86_400)
    windows = mover.shadow_days[slow] // 7 - 1
    assert windows >= 2
    verdict = first + timedelta(weeks=windows, microseconds=duration_us(shadow_start.WATERMARK))
    (bar,) = [bar for bar in outline([mover], 2, 3, "shadow", slow=slow).bars if bar.phase == "shadow"]
    # On the first morning of the cutover at the latest.
    assert verdict < datetime.combine(began.date() + timedelta(days=bar.end), time(1, 1), UTC)


STOOD = Stages({"a · m": Stage.HOME, "b · m": Stage.SHADOWED, "c · m": Stage.CANARY, "elsewhere": Stage.HOME})


def test_what_is_at_home_is_left_out_and_what_has_begun_comes_first() -> None:
    spent = bought(group("d", 6000), group("a", 3000), group("b", 2000), group("c", 1000))
    found = choose(spent, (), 21, STOOD)
    assert [(mover.name, mover.begins) for mover in found.movers] == [
        ("c · m", "cutover"),
        ("b · m", "shadow"),
        ("d · m", "inventory"),
    ]
    assert found.remarks[0] == "a · m, elsewhere are at home, and in no date; the money has them as well."
    assert not found.begun
    # Money is that of all, as if none had begun.
    assert found.lines == choose(spent, (), 21).lines
    assert found.whole == choose(spent, (), 21).movers


def test_what_is_at_home_takes_no_place_of_the_plan_and_needs_no_forecast() -> None:
    """Hardly any of its requests go to the cloud any more."""
    groups = [group(f"w{number}", 2000 + number) for number in range(MAX_MOVERS)]
    found = choose(bought(group("a", 3000, requests=300), *groups), (), 21, STOOD)
    assert len(found.movers) == MAX_MOVERS
    assert len(found.lines) == MAX_MOVERS + 1
    assert not any("come after these" in text or "too few" in text for text in found.remarks)


def test_of_what_is_asked_for_only_that_counts_as_home() -> None:
    found = choose(None, ["a · m"], 21, STOOD)
    assert (found.movers, found.at_home, found.begun) == ((), ("a · m",), True)
    assert choose(None, (), 21, STOOD).at_home == ()
    assert choose(None, ["mystery"], 21, STOOD).at_home == ()


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
