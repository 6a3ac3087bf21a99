"""The picture of the plan: which rows it has, and that it can be drawn of any plan."""

from __future__ import annotations

import struct
from datetime import date, timedelta
from pathlib import Path

import pytest

from playbook.plan.deadline import Plan, Terms, make
from playbook.plan.gantt import SHOWN, draw, rows
from playbook.plan.schedule import Mover, Phase

TODAY = date(2026, 11, 30)


def plan(movers: int, days: int | None, approval: int | None = None, first: Phase = "inventory") -> Plan:
    renewal = None if days is None else TODAY + timedelta(days=days)
    made = [Mover(f"workload-{number} $x_1$") for number in range(movers)]
    return make(made, Terms(TODAY, renewal, 30, approval, (2, 3), 3, first))


def test_each_workload_has_a_row_and_all_have_two() -> None:
    assert [(label, [bar.phase for bar in bars]) for label, bars in rows(plan(2, 200))] == [
        ("all workloads", ["inventory", "plan"]),
        ("workload-0 $x_1$", ["shadow", "cutover"]),
        ("workload-1 $x_1$", ["shadow", "cutover"]),
        ("document and provider", ["report"]),
    ]


def test_without_workloads_the_phases_are_there() -> None:
    assert [label for label, _ in rows(plan(0, 200))][1] == "workloads, none known yet"
    assert [label for label, _ in rows(plan(3, 200, first="report"))] == ["document and provider"]


def test_more_workloads_than_can_be_read_share_a_row() -> None:
    found = rows(plan(SHOWN + 5, 200))
    assert len(found) == SHOWN + 3
    assert found[-2][0] == "5 more"


@pytest.mark.parametrize(
    ("movers", "days", "approval"),
    [(5, 200, 4), (5, 100, 2), (5, 20, None), (0, -60, 4), (1, None, None), (SHOWN + 5, 900, 52)],
)
def test_any_plan_can_be_drawn_and_twice_the_same(
    tmp_path: Path, movers: int, days: int | None, approval: int | None
) -> None:
    files = [tmp_path / "made" / name for name in ("a.png", "b.png")]
    for file in files:
        draw(plan(movers, days, approval), file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    width, height = struct.unpack(">II", first[16:24])
    assert width == 1430
    assert height > 400
