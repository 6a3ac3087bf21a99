"""The document has a reference for every number, and says of what is missing that it was not measured."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest

from playbook.report.build import CASES, all_facts, build, carried
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


def test_every_query_can_be_asked_again(example: Gathered, laws: list[Law]) -> None:
    bought = {"workloads": [{"name": "bank-intent", "month_nanos": 7 * 10**9}]}
    found = dataclasses.replace(example, inventory=bought)
    told = carried(build(found, laws), found, CASES)["references"]
    queries = [item for item in told if item["kind"] == "query of the book"]
    for item in queries:
        assert set(re.findall(r"\{(\w+):", item["detail"])) <= set(item["parameters"]), item["name"]
        assert item["rows"] is not None, item["name"]
    names = {item["name"] for item in queries}
    spent = {"inventory_usage", "inventory_legs", "inventory_days"}
    assert {*spent, "finance_experiments"} <= names
    for name in ("inventory", "input: cloud spend at today's prices"):
        (item,) = [item for item in told if item["name"] == name]
        assert set(item["inputs"]) == {f"{query}/rows" for query in spent}


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
    assert value_of(document, "summary/slowest rollback") == 0.117
    assert value_of(document, "home share/voice-domain") == pytest.approx(617 / 1592)


@pytest.mark.parametrize("case", CASES)
def test_a_single_case_has_the_summary_and_the_case(example: Gathered, laws: list[Law], case: str) -> None:
    document = build(example, laws, [case])
    assert [section.name for section in document.sections] == ["summary", "words", case]
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
    known = {fact.key for fact in costs if fact.known and "experiments" not in fact.key}
    # Where no application was answered nothing was spent, and that is known.
    assert known == {
        f"spend/workload={name}/target=sovereign/purpose=production/sum of known_nanos"
        for name in ("bank-intent", "meeting-minutes")
    }


def test_a_leg_outside_of_its_data_class_is_on_the_first_page(example: Gathered, laws: list[Law]) -> None:
    example.answers["outside/bank-intent"].rows[0]["outside_legs"] = 3  # type: ignore[index]
    document = build(example, laws)
    first = [fact for block in document.sections[0].blocks for fact in block_facts(block)]
    assert {"outside/all": 3, "outside/bank-intent/outside_legs": 3}.items() <= {
        fact.key: fact.value for fact in first
    }.items()


def said(section: Section) -> str:
    """All words of a section."""
    words: list[str] = []
    for part in sections((section,)):
        for block in part.blocks:
            spans = [*getattr(block, "spans", ()), getattr(block, "title", "")]
            spans += [
                span for item in getattr(block, "items", ()) if isinstance(item, tuple) for span in item
            ]
            spans += [span for row in getattr(block, "rows", ()) for cell in row for span in cell]
            words += [span if isinstance(span, str) else span.text for span in spans]
    return " ".join("".join(words).split())


def part_of(document: Document, name: str) -> str:
    (found,) = [section for section in sections(document.sections) if section.name == name]
    return said(found)


def test_one_entry_of_the_appendix_has_one_formula(whole: tuple[Document, dict[str, Any]]) -> None:
    inputs: dict[Any, set[Any]] = {}
    for fact in all_facts(whole[0]):
        made_of = tuple(item.reference.key for item in fact.reference.inputs)
        inputs.setdefault(fact.reference.key, set()).add((fact.reference.detail, made_of))
    assert {key: found for key, found in inputs.items() if len(found) > 1} == {}


def test_settings_stand_in_the_appendix_with_what_they_say(whole: tuple[Document, dict[str, Any]]) -> None:
    every = (block for section in sections(whole[0].appendix) for block in section.blocks)
    told = {block.title: block.about for block in every if isinstance(block, Entry)}
    assert "owner: customer-care" in told["[workloads.bank-intent]"]
    assert "data_subjects: not declared" in told["[compliance.workloads.bank-intent]"]


def test_a_class_that_forbids_nothing_proves_nothing(example: Gathered, laws: list[Law]) -> None:
    workloads = example.settings["workloads"]
    workloads["bank-intent"]["allowed"] = {"targets": ["cloud", "sovereign"], "regions": []}
    workloads["voice-domain"]["allowed"] = {"targets": ["sovereign"], "regions": []}
    workloads["meeting-minutes"]["allowed"] = {"targets": ["cloud", "sovereign"], "regions": ["eu"]}
    told = part_of(build(example, laws, ["legal"]), "residency")
    assert (
        "The data class of bank-intent allows both targets and any region, so that the count proves" in told
    )
    workloads["bank-intent"]["allowed"]["regions"] = ["eu"]
    assert "proves nothing" not in part_of(build(example, laws, ["legal"]), "residency")


@pytest.mark.parametrize(
    ("host", "encryption", "warned"),
    [
        ("127.0.0.1", "none", False),
        ("api.example.com", "TLS", False),
        ("api.example.com", "none", True),
        ("127.0.0.1, gpu-2", "none", True),
        ("", "none", True),
    ],
)
def test_a_connection_that_leaves_the_machine_bare_is_pointed_out(
    example: Gathered, laws: list[Law], host: str, encryption: str, warned: bool
) -> None:
    example.settings["upstreams"]["cloud"] |= {"host": host, "encryption": encryption}
    told = part_of(build(example, laws, ["legal"]), "transport")
    assert ("without TLS, by the settings of cloud" in told) is warned


def test_a_rollback_after_which_nobody_asked_is_not_measured(example: Gathered, laws: list[Law]) -> None:
    row = {"late_requests": 0, "cloud_requests": 0, "seen_s": None}
    example.answers["in_force/11"].rows[0].update(row)  # type: ignore[attr-defined]
    document = build(example, laws, ["engineering"])
    assert value_of(document, "summary/slowest rollback") is None
    assert value_of(document, "in_force/11/seen_s") is None


def test_who_came_back_is_told_beside_what_is_proven(whole: tuple[Document, dict[str, Any]]) -> None:
    assert "voice-domain came back to the cloud after its move" in part_of(whole[0], "summary")


def test_of_a_week_and_more_nothing_is_said_about_a_short_time(example: Gathered, laws: list[Law]) -> None:
    assert "A short time" in part_of(build(example, laws, []), "summary")
    example.answers["totals"].rows[0]["span_s"] = 7 * 86_400  # type: ignore[index]
    assert "A short time" not in part_of(build(example, laws, []), "summary")


def test_a_spend_that_never_pays_is_said_to_and_not_in_thousands_of_months(
    example: Gathered, laws: list[Law]
) -> None:
    (cloud,) = [row for row in example.finance or () if row["name"] == "cloud_month"]
    cloud.update(value="1270000000", low="1000000000", high="1500000000")  # type: ignore[attr-defined]
    document = build(example, laws)
    assert "At this spend it does not pay" in part_of(document, "results")
    assert "staying is the cheapest of the three" in part_of(document, "alternatives")
    paybacks = [fact.text for fact in all_facts(document) if fact.key.startswith("finance/payback_months")]
    assert paybacks
    assert {"months" in text for text in paybacks} == {False}


def test_building_it_costs_more_than_migrating_by_its_pay_and_its_delay(
    whole: tuple[Document, dict[str, Any]],
) -> None:
    parts = [value_of(whole[0], key) for key in ("three years/migrate", "build/pay", "build/delay")]
    assert all(part > 0 for part in parts)
    assert value_of(whole[0], "three years/build") == round(parts[0] + parts[1] * 1e9 + parts[2])


def test_what_is_not_set_is_not_called_unmeasured(example: Gathered, laws: list[Law]) -> None:
    plan = dict(example.plan or {})
    plan.update(renewal=None, decide_by=None, decide_at_the_latest=None, notice_by=None)
    example.settings["plan"]["renewal"] = None
    found = dataclasses.replace(example, plan=plan)
    document = build(found, laws, ["finance"])
    dates = {fact.key: fact.text for fact in all_facts(document) if fact.key.startswith("plan/")}
    assert {dates[f"plan/{key}"] for key in ("renewal", "decide_by", "notice_by")} == {"not set"}


def test_both_targets_have_the_same_requests_side_by_side(whole: tuple[Document, dict[str, Any]]) -> None:
    told = part_of(whole[0], "latency")
    assert "only requests that were compared and that both targets answered" in told
    assert "not measured on the same requests: none of these calls was streamed" in told


def captions(document: Document, name: str) -> str:
    (found,) = [section for section in sections(document.sections) if section.name == name]
    spans = [span for block in found.blocks for span in getattr(block, "caption", ())]
    return "".join(span if isinstance(span, str) else span.text for span in spans)


def test_costs_of_a_part_of_the_calls_are_not_shown_as_whole(example: Gathered, laws: list[Law]) -> None:
    for row in example.answers["spend"].rows:
        row["unknown_legs"] = 0  # type: ignore[index]
    document = build(example, laws, ["finance"])
    assert "Not all costs are known" not in part_of(document, "spend")
    assert "* of those with a known cost" not in captions(document, "summary")
    assert value_of(document, "spend/workload=bank-intent/sum of unknown_legs") == 0
    (row,) = [
        row
        for row in example.answers["spend"].rows
        if (row["workload"], row["target"], row["purpose"]) == ("bank-intent", "cloud", "production")
    ]
    row["unknown_legs"] = row["legs"] - 1  # type: ignore[index]
    document = build(example, laws, ["finance"])
    assert "Not all costs are known" in part_of(document, "spend")
    assert "1,011 of bank-intent" in part_of(document, "spend")
    assert "* of those with a known cost" in captions(document, "summary")
    assert value_of(document, "spend/workload=bank-intent/sum of unknown_legs") == row["legs"] - 1


def test_what_was_gathered_can_be_kept(example: Gathered, laws: list[Law]) -> None:
    again = loaded(dumped(example))
    assert [fact.value for fact in facts(build(again, laws, ["legal"]))] == [
        fact.value for fact in facts(build(example, laws, ["legal"]))
    ]
