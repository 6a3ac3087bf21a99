"""The document has a reference for every number, and says of what is missing that it was not measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from playbook.report.build import CASES, all_facts, build
from playbook.report.document import Document, Entry, Section, block_facts, facts
from playbook.report.facts import NOT_MEASURED
from playbook.report.gathered import Gathered, dumped, loaded
from playbook.report.mappings import Law

pytestmark = pytest.mark.usefixtures("quick")


def sections(found: tuple[Section, ...]) -> Iterator[Section]:
    for section in found:
        yield section
        yield from sections(section.sections)


def entries(document: Document) -> set[str]:
    every = (block for section in sections(document.appendix) for block in section.blocks)
    return {block.number for block in every if isinstance(block, Entry)}


def value_of(document: Document, key: str) -> Any:
    (fact,) = [fact for fact in all_facts(document) if fact.key == key]
    return fact.value


def test_every_fact_leads_to_an_entry_of_the_appendix(whole: tuple[Document, dict[str, Any]]) -> None:
    document, carried = whole
    there = entries(document)
    every = all_facts(document)
    assert len(every) > 300
    assert {document.numbers[fact.reference.key] for fact in every} == there
    assert {item["number"] for item in carried["references"]} == there


def test_every_query_of_the_appendix_is_there_in_full(whole: tuple[Document, dict[str, Any]]) -> None:
    every = (block for section in sections(whole[0].appendix) for block in section.blocks)
    listed = [block for block in every if isinstance(block, Entry) and block.number.startswith("Q")]
    assert len(listed) > 15
    for entry in listed:
        assert "SELECT" in entry.source or "the same query as Q" in entry.about, entry
    assert len({entry.source for entry in listed}) > 12


def test_the_pictures_that_were_asked_for_are_there(whole: tuple[Document, dict[str, Any]]) -> None:
    names = {
        block.name
        for section in sections(whole[0].sections)
        for block in section.blocks
        if hasattr(block, "svg")
    }
    assert names == {"pareto", "funnel", "bounds", "cash-flow", "tornado", "latency", "traffic"}


def test_the_summary_says_what_was_found(whole: tuple[Document, dict[str, Any]]) -> None:
    document = whole[0]
    assert value_of(document, "summary/ready") == 1
    assert value_of(document, "summary/compared") == 2
    assert value_of(document, "outside/all") == 0
    assert value_of(document, "summary/slowest rollback") == 0.084
    assert value_of(document, "home share/voice-domain") == pytest.approx(617 / 1592)


@pytest.mark.parametrize("case", CASES)
def test_a_single_case_has_the_summary_and_the_case(example: Gathered, laws: list[Law], case: str) -> None:
    document = build(example, laws, [case])
    assert [section.name for section in document.sections] == ["summary", case]
    # Links to the other cases would lead nowhere.
    assert {document.numbers[fact.reference.key] for fact in all_facts(document)} == entries(document)


ANSWERS = (
    "totals",
    "spend",
    "residency",
    "outside/voice-domain",
    "latency",
    "traffic",
    "windows",
    "funnel",
    "agreement",
    "pools",
    "retention",
    "text_columns",
    "in_force/11",
)


@pytest.mark.parametrize("name", ANSWERS)
def test_without_an_answer_its_numbers_are_not_measured(
    example: Gathered, laws: list[Law], name: str
) -> None:
    answers = {key: item for key, item in example.answers.items() if key != name}
    assert len(answers) == len(example.answers) - 1
    found = dataclasses.replace(
        example, answers=answers, problems=[f"the query {name} could not be asked: x"]
    )
    document = build(found, laws)
    of_it = [fact for fact in all_facts(document) if fact.reference.name == name]
    assert all(fact.text == NOT_MEASURED or fact.key.endswith("/rows") for fact in of_it)
    assert {document.numbers[fact.reference.key] for fact in all_facts(document)} == entries(document)


@pytest.mark.parametrize(
    "change",
    [
        {"decisions": []},
        {"migrations": None},
        {"finance": None},
        {"lines_of_code": None},
        {"workloads": ["bank-intent"], "asked_workloads": ["bank-intent"]},
        {"answers": {}, "decisions": [], "migrations": None, "finance": None, "workloads": []},
        {"settings": {"workloads": {}, "upstreams": {}, "keys": {}}},
    ],
    ids=", ".join,
)
def test_it_is_made_of_whatever_there_is(example: Gathered, laws: list[Law], change: dict[str, Any]) -> None:
    document = build(dataclasses.replace(example, **change), laws)
    assert {document.numbers[fact.reference.key] for fact in all_facts(document)} == entries(document)


def test_an_unknown_cost_is_not_zero(example: Gathered, laws: list[Law]) -> None:
    for row in example.answers["spend"].rows:
        row["known_nanos"] = row["nanos_per_request"] = None  # type: ignore[index]
    document = build(example, laws, ["finance"])
    costs = [fact for fact in all_facts(document) if fact.key.endswith(("known_nanos", "nanos_per_request"))]
    assert costs
    assert not any(fact.known for fact in costs if "experiments" not in fact.key)


def test_a_leg_outside_of_its_data_class_is_on_the_first_page(example: Gathered, laws: list[Law]) -> None:
    example.answers["outside/bank-intent"].rows[0]["outside_legs"] = 3  # type: ignore[index]
    document = build(example, laws)
    first = [fact for block in document.sections[0].blocks for fact in block_facts(block)]
    assert {"outside/all": 3, "outside/bank-intent/outside_legs": 3}.items() <= {
        fact.key: fact.value for fact in first
    }.items()


def test_what_was_gathered_can_be_kept(example: Gathered, laws: list[Law]) -> None:
    again = loaded(dumped(example))
    assert [fact.value for fact in facts(build(again, laws, ["legal"]))] == [
        fact.value for fact in facts(build(example, laws, ["legal"]))
    ]
