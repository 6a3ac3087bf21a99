"""The made-up organisation: it reads like a real one, on any day, and never passes for one."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from playbook.commands.finance import document as finance_document
from playbook.commands.plan import document as plan_document
from playbook.finance.answers import answers
from playbook.plan.events import OWN, events
from playbook.plan.example import example


@pytest.mark.parametrize(
    "today", [date(2026, 11, 30), date(2027, 2, 28), date(2028, 2, 29), date(2031, 8, 16)]
)
def test_it_is_whole_on_any_day(today: date) -> None:
    found = example(today).found
    assert found.plan.standing == "in time"
    assert [mover.name for mover in found.plan.movers] == [
        "example-support-answers",
        "example-contract-summaries",
        "example-invoice-fields",
        "example-ticket-triage",
    ]
    assert all(not item.unknown for item in answers(found.case).values())
    assert answers(found.case)["npv"].value == pytest.approx(answers(found.case)["npv"].low)


def test_it_spends_about_what_the_reference_case_does() -> None:
    case = {name.value: item for name, item in example(date(2026, 11, 30)).found.case.items()}
    month, share = case["cloud_month"].value, case["share_that_moves"].value
    assert month is not None
    assert share is not None
    assert float(12 * month) / 10**9 == pytest.approx(250_000, rel=0.02)
    assert float(share) == pytest.approx(0.7, abs=0.02)


def test_whatever_it_shows_says_that_it_is_one() -> None:
    shown = example(date(2026, 11, 30))
    assert shown.title.startswith("EXAMPLE")
    told = finance_document(shown.found.case)
    kinds = {item["name"]: item["source"] for item in told["inputs"]}
    assert "measured" not in {source["kind"] for source in kinds.values()}
    for name in ("cloud_month", "share_that_moves"):
        assert "made up" in kinds[name]["text"]
    for name in ("renewal_change", "months_to_renewal", "running_month", "infrastructure", "engineering"):
        assert "example" in kinds[name]["text"]
    made = plan_document(shown.found)
    assert all("example" in item["name"] for item in made["workloads"])
    assert "an example" in made["remarks"][0]


def test_its_events_never_replace_those_of_a_plan_of_ones_own() -> None:
    plan = example(date(2026, 11, 30)).found.plan
    keys = {event.key for event in events(plan)}
    others = events(plan, "Homeward, an example")
    assert not keys & {event.key for event in others}
    assert all(event.title.startswith("Homeward, an example: ") for event in others)
    assert OWN == "Homeward"


def test_a_renewal_may_be_asked_for() -> None:
    today = date(2026, 11, 30)
    late = example(today, renewal=today + timedelta(days=30), first="shadow").found.plan
    assert late.standing == "too late"
    assert {bar.phase for bar in late.bars} == {"shadow", "cutover", "report"}
