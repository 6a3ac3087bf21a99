"""The legal case leaves no call out, and says of each table which calls it has."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from playbook.report.book import Book
from playbook.report.build import all_facts, build
from playbook.report.document import Document, Section, Table
from playbook.report.gathered import Gathered
from playbook.report.legal import HOLDS
from playbook.report.mappings import Law
from playbook.report.records import record_section
from playbook.report.residency import NAMELESS

pytestmark = pytest.mark.usefixtures("quick")

UNNAMED = {
    "workload": "", "purpose": "production", "target": "cloud", "provider": "openrouter", "upstream": "other",
    "region": "us", "legs": 7, "unserved_legs": 0, "first_time": "2026-11-29 22:00:12.000000",
    "last_time": "2026-11-29 22:05:30.000000",
}  # fmt: skip
TABLES = {
    "residency": "Where each call{of} ran in the period",
    "sub-processors": "Who was called{for} in the period",
    "transfers": "Regions that were reached{for} in the period",
    "calls": "Calls{of} by key, model and version of the policy",
}
"""Sections with the captions of what they list."""


def part(document: Document, name: str) -> Section:
    (legal,) = [section for section in document.sections if section.name == "legal"]
    (found,) = [section for section in legal.sections if section.name == name]
    return found


def words(spans: Sequence[Any]) -> str:
    return "".join(span if isinstance(span, str) else span.text for span in spans)


def table(document: Document, name: str, caption: str) -> list[list[str]]:
    """The cells of the table of a section whose caption begins so."""
    (found,) = [
        block
        for block in part(document, name).blocks
        if isinstance(block, Table) and words(block.caption).startswith(caption)
    ]
    return [[words(cell) for cell in row] for row in found.rows]


def with_unnamed(example: Gathered, asked: Sequence[str] = ()) -> Gathered:
    """The example with calls of requests without a name at a provider of their own, as it would be asked."""
    answers = dict(example.answers)
    rows = [UNNAMED, *answers["residency"].rows]
    named = [row for row in rows if not asked or row["workload"] in asked]
    answers["residency"] = dataclasses.replace(answers["residency"], rows=named)
    rows = [row for row in answers["records"].rows if not asked or row["workload"] in asked]
    answers["records"] = dataclasses.replace(answers["records"], rows=rows)
    workloads = sorted(asked) or example.workloads
    return dataclasses.replace(
        example, answers=answers, workloads=workloads, asked_workloads=sorted(asked), registered=[]
    )


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("asked", [(), ("bank-intent",)], ids=["all", "one"])
def test_calls_without_a_name_are_left_out_only_where_workloads_were_named(
    example: Gathered, laws: list[Law], name: str, asked: Sequence[str]
) -> None:
    document = build(with_unnamed(example, asked), laws, ["legal"])
    words_of = {key: f" {key} these workloads" if asked else "" for key in ("of", "for")}
    rows = table(document, name, TABLES[name].format(**words_of))
    there = [row for row in rows if any(NAMELESS in cell for cell in row)]
    assert bool(there) is not bool(asked)
    if name != "calls":
        assert any("us" in row for row in rows) is not bool(asked)
    if name in ("sub-processors", "transfers"):
        assert sum(int(row[-1 if name == "sub-processors" else 4].replace(",", "")) for row in rows) == sum(
            row["legs"] for row in with_unnamed(example, asked).answers["residency"].rows
        )


def test_workloads_are_listed_with_those_without_a_name_last(example: Gathered, laws: list[Law]) -> None:
    document = build(example, laws, ["legal"])
    (cloud, home) = table(document, "sub-processors", "Who was called")
    assert cloud[4] == "bank-intent, meeting-minutes, voice-domain, requests without a name"
    assert home[4] == "bank-intent, voice-domain"


@pytest.mark.parametrize(
    ("all_groups", "all_legs", "says", "left"),
    [
        (10, 6133, "The table has all 10 groups of them: 6,133 calls.", 0),
        (57, 7000, "the others have 867 of all 7,000 calls", 867),
    ],
)
def test_what_the_table_of_models_leaves_out_is_counted(
    example: Gathered, laws: list[Law], all_groups: int, all_legs: int, says: str, left: int
) -> None:
    rows = [
        {**row, "all_groups": all_groups, "all_legs": all_legs} for row in example.answers["records"].rows
    ]
    answers = {
        **example.answers,
        "records": dataclasses.replace(copy.deepcopy(example.answers["records"]), rows=rows),
    }
    document = build(dataclasses.replace(example, answers=answers), laws, ["legal"])
    said = " ".join(words(block.spans) for block in part(document, "calls").blocks if hasattr(block, "spans"))
    assert says in said
    counted = {fact.key: fact.value for fact in all_facts(document)}
    assert counted.get("records/left out", 0) == left


def test_who_asked_which_model_is_told_with_policy_and_trace(example: Gathered, laws: list[Law]) -> None:
    rows = table(build(example, laws, ["legal"]), "calls", "Calls by key")
    assert len(rows) == len(example.answers["records"].rows)
    assert rows[0][:8] == [
        "bank-intent", "shadow", "cloud", "homeward-stand-in", "gpt-4o-mini", "5", "1,240", "1,240",
    ]  # fmt: skip


def test_a_joint_controller_stands_in_the_record(example: Gathered) -> None:
    example.settings["compliance"]["joint_controller"] = "Example Group, Paris"
    first = next(block for block in record_section(Book(example)).blocks if isinstance(block, Table))
    told = {words(label): words(value) for label, value in first.rows}
    assert told["(a) Joint controller, if there is one"] == "Example Group, Paris"
    assert told["(a) Contact"] == "not declared"


def test_what_a_table_counts_by_is_said_rightly() -> None:
    assert HOLDS["homeward.sample_counts"].endswith("by minute")


KEEPING = {
    "GDPR": ("Art. 5(1)(e)", "Art. 15–17, 20, 21"),
    "HIPAA": ("§ 164.312(c)",),
    "Risks": ("Texts are kept too long",),
}


@pytest.mark.parametrize("name", KEEPING)
def test_a_clause_on_keeping_names_every_text_that_is_kept(laws: list[Law], name: str) -> None:
    (law,) = [law for law in laws if law.name == name]
    for clause in KEEPING[name]:
        (found,) = [item for item in law.clauses if item.clause == clause]
        for text in ("sample", "examples of disagreement", "xamples with which", "unnamed prompts"):
            assert text in found.control, (clause, text)
