"""The plan in the document: of the named workloads, from where they stand, with all that it knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from playbook.finance.gather import SETTINGS
from playbook.finance.gather import Book as Spent
from playbook.finance.inputs import Name
from playbook.inventory.gather import put_together
from playbook.inventory.lines import inventory
from playbook.inventory.saving import PUBLISHED
from playbook.inventory.spend import Group
from playbook.report import planned
from playbook.report.book import Book
from playbook.report.build import build
from playbook.report.deadline import deadline
from playbook.report.document import Document, Points, Section, block_facts
from playbook.report.facts import Fact
from playbook.report.finance import finance
from playbook.report.gathered import Gathered
from playbook.report.mappings import Law
from playbook.report.money import case_of, money_of
from playbook.report.planned import Planned, read_planned
from playbook.report.procurement import procurement
from playbook.report.whose import SET
from tests.support.spend_groups import project

pytestmark = pytest.mark.usefixtures("quick")

UNTIL = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAYS = [date(2026, 9, 1) + timedelta(days=past) for past in range(60)]


def spent(name: str, usd: int, task_type: str = "classification") -> Group:
    """A workload that is registered under a name."""
    made = project(name, usd, task_type, DAYS, 100_000)
    return dataclasses.replace(made, workload=name, who_kind="", who="")


GROUPS = (spent("triage", 24_000), spent("intent", 12_000), spent("lab", 6_000, ""))


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads the plan, with a book in place of ClickHouse."""
    book = Spent(inventory(put_together(GROUPS, [("usage", "openai", DAYS)]), {}, PUBLISHED))

    def until(_config: Any, day: date) -> tuple[Spent, date]:
        return book, day - timedelta(days=1)

    monkeypatch.setattr(planned, "read_until", until)
    file = tmp_path / "homeward.toml"

    def asked(
        stages: dict[str, str] | None, *workloads: str, plan: str = "renewal = 2027-06-30", more: str = ""
    ) -> Planned:
        file.write_text(f"[plan]\n{plan}\n{more}\n", encoding="utf-8")
        rows = None if stages is None else [{"workload": name, "to": to} for name, to in stages.items()]
        return read_planned(file, {}, UNTIL, [], rows, workloads)

    return asked


def told(example: Gathered, found: Planned, *workloads: str) -> Gathered:
    """A document's matter with that plan."""
    return dataclasses.replace(
        example,
        plan=found.plan,
        finance=found.inputs,
        asked_workloads=workloads,
        settings={**example.settings, "plan": found.settings},
    )


def facts(section: Section) -> dict[str, Fact]:
    return {fact.key: fact for block in section.blocks for fact in block_facts(block)}


def words(blocks: Sequence[Any]) -> str:
    """What paragraphs, notes and points say."""
    texts = [
        *((getattr(block, "title", ""), *getattr(block, "spans", ())) for block in blocks),
        *(item for block in blocks if isinstance(block, Points) for item in block.items),
    ]
    spans = [span for item in texts for span in item]
    return " ".join(" ".join(span if isinstance(span, str) else span.text for span in spans).split())


def asked_of_those_who_decide(document: Document) -> str:
    return words(document.sections[0].blocks).partition("What is asked of whoever decides")[2]


@pytest.mark.parametrize(
    ("stages", "first", "left"),
    [
        ({}, "inventory", ["triage", "intent"]),
        ({"triage": "SHADOWED", "intent": "HOME"}, "shadow", ["triage"]),
        ({"triage": "CANARY 5%", "intent": "HOME"}, "cutover", ["triage"]),
        ({"triage": "HOME", "intent": "HOME"}, "report", []),
        ({"triage": "removed", "intent": "HOME"}, "inventory", ["triage"]),
    ],
    ids=["nothing", "compared", "canary", "home", "removed"],
)
def test_the_document_plans_from_where_workloads_stand(
    read: Any, stages: dict[str, str], first: str, left: list[str]
) -> None:
    found = read(stages)
    assert found.plan["first"] == first
    assert [item["name"] for item in found.plan["workloads"]] == left
    # However far it is, the money is that of the whole migration.
    assert found.inputs == read({}).inputs


def test_of_a_workload_the_last_entry_of_the_journal_counts(read: Any, tmp_path: Path) -> None:
    read({})
    rows = [{"workload": "intent", "to": to} for to in ("SHADOWED", "HOME", "ROLLED_BACK")]
    found = read_planned(tmp_path / "homeward.toml", {}, UNTIL, [], rows, ["intent"])
    assert found.plan["first"] == "shadow"


def test_without_the_ledger_it_says_that_stages_are_unknown(read: Any) -> None:
    found = read(None)
    assert found.plan["first"] == "inventory"
    said = "The ledger does not tell where workloads stand: all are planned from the beginning."
    assert said in found.plan["remarks"]
    assert said not in read({}).plan["remarks"]


@pytest.mark.parametrize(
    ("plan", "asked"),
    [
        ("renewal = 2026-12-12\nnotice_days = 5", "Give notice to the provider by 2026-12-07 :"),
        ("renewal = 2026-12-12\nnotice_days = 30", "Notice to the provider was due by 2026-11-12 :"),
        ("renewal = 2026-12-12", ""),
        ("renewal = 2026-11-12\nnotice_days = 5", ""),
        ("", ""),
    ],
    ids=["due", "late", "none", "passed", "not set"],
)
def test_where_all_is_at_home_only_the_notice_is_asked_for(
    read: Any, example: Gathered, laws: list[Law], plan: str, asked: str
) -> None:
    found = told(example, read({"triage": "HOME", "intent": "HOME"}, plan=plan))
    document = build(found, laws)
    said = asked_of_those_who_decide(document)
    assert asked in said
    assert ("otice to the provider" in said) is bool(asked)
    assert "Decide by" not in said
    (section,) = deadline(Book(found), money_of(found))
    assert "Even fast phases end after the renewal" not in words(section.blocks)
    assert "Nothing is left to move" in words(section.blocks)
    assert not [key for key in facts(section) if "decide" in key or "delay" in key]


def test_what_is_left_is_still_to_be_decided(read: Any, example: Gathered, laws: list[Law]) -> None:
    found = told(example, read({"triage": "HOME"}))
    assert "Decide by" in asked_of_those_who_decide(build(found, laws))


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("renewal = 2027-01-30", "No workload can be home in time"),
        ("renewal = 2027-02-08", "In time with fast phases: triage"),
        ("renewal = 2027-01-30\nat_once = 1", "Ask the provider for"),
        ("renewal = 2027-06-30\nnotice_days = 160", "ask for a shorter notice"),
        ("renewal = 2027-06-30", "Approvals take time that is in no date"),
        ('renewal = 2027-06-30\nnote = "a guess"', "which says of itself: a guess."),
    ],
)
def test_what_the_plan_knows_is_in_the_document(read: Any, example: Gathered, plan: str, said: str) -> None:
    """As facts, so that --verify looks them up again."""
    shown = read({}, plan=plan).plan
    wanted = [text.replace("`", "") for text in (*shown["still"], *shown["remarks"])]
    assert any(said in text for text in wanted)
    found = told(example, read({}, plan=plan))
    (section,) = deadline(Book(found), None)
    assert [
        fact.value for key, fact in facts(section).items() if key.startswith(("plan/still/", "plan/remarks/"))
    ] == wanted
    assert all(text in words(section.blocks) for text in wanted)


@pytest.mark.parametrize(("weeks", "told_of"), [(None, True), (0, False), (4, False)])
def test_approvals_that_are_in_no_date_are_told_beside_the_dates(
    read: Any, example: Gathered, weeks: int | None, told_of: bool
) -> None:
    plan = "renewal = 2027-06-30" + ("" if weeks is None else f"\napproval_weeks = {weeks}")
    (section,) = deadline(Book(told(example, read({}, plan=plan))), None)
    what = "Approvals take time that is in no date: [plan] approval_weeks is not set."
    assert (what in words(section.blocks)) is told_of


def test_a_document_about_a_workload_has_the_money_of_that_workload(read: Any) -> None:
    whole, part = read({}), read({}, "intent")
    assert [item["name"] for item in part.plan["workloads"]] == ["intent"]
    moves = [case_of(found.inputs)[Name.MOVES] for found in (whole, part)]
    assert [item.value for item in moves] == [Fraction(36, 42), Fraction(12, 42)]
    # What others may save is not its own.
    assert [item.high for item in moves] == [1, Fraction(12, 42)]
    # The settings, and what is spent at all, are told as they are.
    assert part.settings == whole.settings
    assert part.inventory == whole.inventory


def test_a_workload_without_spend_has_no_money(read: Any) -> None:
    assert case_of(read({}, "mystery").inputs)[Name.MOVES].value is None


@pytest.mark.parametrize(
    ("workloads", "more", "said"),
    [
        ((), "", ""),
        (("intent",), "", "The spend that moves is that of intent alone."),
        (
            ("intent",),
            "[finance]\nshare_that_moves = { value = 0.5 }",
            "The money is that of all workloads that are planned to move, not of intent alone",
        ),
    ],
    ids=["all", "one", "share set"],
)
def test_whose_money_it_is_stands_at_the_head_of_both_cases(
    read: Any, example: Gathered, workloads: tuple[str, ...], more: str, said: str
) -> None:
    book = Book(told(example, read({}, *workloads, more=more), *workloads))
    for case in (finance, procurement):
        head = words(case(book).blocks)
        assert said in head
        assert ("Whose money this is" in head) is bool(said)


def test_nothing_is_shared_where_nothing_is_paid(read: Any, example: Gathered) -> None:
    free = "[finance]\n" + "\n".join(
        f"{key} = {{ value = 0 }}"
        for key in ("engineering_usd", "infrastructure_usd", "running_usd_per_month", "home_share")
    )
    book = Book(told(example, read({}, "intent", more=free), "intent"))
    assert "Whose money this is" not in words(finance(book).blocks)


def test_what_is_taken_for_a_set_share_is_how_the_finance_model_calls_it() -> None:
    assert f"[finance] {SETTINGS[Name.MOVES]}" == SET
