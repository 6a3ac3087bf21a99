"""Verification names what changed: in the book, in the settings, or in the file itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from playbook.report.build import CASES, all_facts, build, carried
from playbook.report.carried import read
from playbook.report.document import Document
from playbook.report.gathered import Gathered
from playbook.report.html_writer import html
from playbook.report.mappings import Law
from playbook.report.verify import Change, changes, hidden, queries_changed, same

pytestmark = pytest.mark.usefixtures("quick")


def changed(said: dict[str, Any], now: Gathered, laws: list[Law]) -> list[Change]:
    return changes(said, [], all_facts(build(now, laws)), whole=True)


def test_of_an_unchanged_book_nothing_changed(
    example: Gathered, laws: list[Law], whole: tuple[Document, dict[str, Any]]
) -> None:
    assert changed(whole[1], example, laws) == []


def _row(name: str, number: int, column: str, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        found.answers[name].rows[number][column] = value

    return change


def _decision(found: Any) -> None:
    found.decisions[-1]["entry_sha256"] = "0" * 64


def _reason(found: Any) -> None:
    found.decisions[-1]["reason"] = "171 votes instead of 17"


def _found(found: Any) -> None:
    found.migrations[2]["capabilities"][0].update(needed="1 token", found="3 tokens")


def _cited(found: Any) -> None:
    found.finance[0]["source"]["text"] += ", and 7 tokens more"


def _owner(found: Any) -> None:
    found.settings["workloads"]["bank-intent"]["owner"] = "somebody else"


def _input(found: Any) -> None:
    found.finance[0]["value"] = "20833333333334"


def _probe(found: Any) -> None:
    found.migrations[2]["capabilities"][1]["passed"] = False


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (_row("totals", 0, "home_requests", 618), ["totals/home_requests"]),
        (
            _row("outside/voice-domain", 0, "outside_legs", 1),
            ["outside/voice-domain/outside_legs", "outside/all"],
        ),
        # A picture's data count as well: nobody reads one of its points.
        (_row("traffic", 40, "requests", 999), ["picture/traffic"]),
        (_row("latency", 0, "p99_us", None), ["latency/production/bank-intent/cloud/p99_us"]),
        (_decision, ["decision/11/entry_sha256"]),
        (_reason, ["decision/11/reason"]),
        (
            _found,
            [
                "shadow/voice-domain/capabilities/context_length/needed",
                "shadow/voice-domain/capabilities/context_length/found",
            ],
        ),
        (_cited, ["finance/cloud_month/source"]),
        (_row("spend", 0, "unknown_legs", 7), ["spend/workload=bank-intent/sum of unknown_legs"]),
        (_owner, ["setting/workloads/bank-intent/owner"]),
        # One nano-dollar, which the text does not show.
        (_input, ["finance/cloud_month", "finance/npv", "picture/cash flow"]),
        (_probe, ["shadow/voice-domain/capabilities/tools/passed"]),
    ],
)
def test_what_changed_in_the_book_is_named(
    example: Gathered,
    laws: list[Law],
    whole: tuple[Document, dict[str, Any]],
    change: Callable[[Any], None],
    keys: list[str],
) -> None:
    change(example)
    found = {item.key for item in changed(whole[1], example, laws)}
    expected = {key for key in keys if key != "finance/npv"}
    assert expected <= found
    assert len(found) < 30


def test_a_fact_that_the_book_has_no_more_is_named(
    example: Gathered, laws: list[Law], whole: tuple[Document, dict[str, Any]]
) -> None:
    del example.decisions[-1]  # type: ignore[attr-defined]
    told = [str(item) for item in changed(whole[1], example, laws)]
    assert any("decision/11/reason" in item or "decision/11/to" in item for item in told)
    assert any("no such fact" in item for item in told)


def _edit(which: str, /, **values: Any) -> Callable[[dict[str, Any]], None]:
    def edit(said: dict[str, Any]) -> None:
        (item,) = [item for item in said["facts"] if item["key"] == which]
        item.update(values)

    return edit


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (_edit("totals/requests", text="9,999"), "not its own value"),
        (_edit("totals/requests", value=9999), "not its own value"),
        (_edit("totals/requests", value=9999, text="9,999"), "now it is 2,604"),
        (_edit("totals/requests", unit="furlongs"), "not its own value"),
        (_edit("totals/requests", key="totals/claims"), "no such fact"),
        (_edit("totals/first_time", value="yesterday"), "not its own value"),
    ],
)
def test_an_edited_file_is_found_out(
    example: Gathered,
    laws: list[Law],
    whole: tuple[Document, dict[str, Any]],
    edit: Callable[[dict[str, Any]], None],
    why: str,
) -> None:
    said = copy.deepcopy(whole[1])
    edit(said)
    first, *more = changes(said, [], all_facts(whole[0]), whole=True)
    assert why in first.why
    # A fact under another name is missing under its own.
    assert [item.key for item in more] == (["totals/requests"] if why == "no such fact" else [])


def test_a_fact_that_was_cut_out_is_missed_unless_the_file_is_of_another_version(
    whole: tuple[Document, dict[str, Any]],
) -> None:
    said = copy.deepcopy(whole[1])
    said["facts"] = [item for item in said["facts"] if item["key"] != "totals/requests"]
    (found,) = changes(said, [], all_facts(whole[0]), whole=True)
    assert (found.key, "it was left out" in found.why) == ("totals/requests", True)
    assert changes(said, [], all_facts(whole[0]), whole=False) == []


def test_a_page_that_shows_something_else_than_it_carries_is_found_out(
    whole: tuple[Document, dict[str, Any]],
) -> None:
    every = all_facts(whole[0])
    shown = [("totals/requests", "2,604"), ("totals/legs", "1"), ("totals/home_requests", "6,170")]
    found = {item.key: item.why for item in changes(whole[1], shown, every, whole=True)}
    assert set(found) == {"totals/legs", "totals/home_requests"}
    assert "does not carry" in found["totals/legs"]
    assert "carries 617" in found["totals/home_requests"]


def test_a_number_that_is_no_longer_marked_as_a_fact_is_found_out(
    example: Gathered, laws: list[Law], whole: tuple[Document, dict[str, Any]]
) -> None:
    page = html(*whole)
    should = read(page.encode())[1]
    assert hidden(should, should) == []
    mark = ' data-fact="totals/requests"'
    edited = page.replace(mark, "", 1)
    assert edited != page
    shown = read(edited.encode())[1]
    # What is still marked is as it should be.
    assert changes(whole[1], shown, all_facts(whole[0]), whole=True) == []
    (found,) = hidden(shown, should)
    assert str(found) == (
        "totals/requests: the document says 2,604, but 1 time fewer than it should: the file was edited"
    )


def test_another_query_than_ours_is_named(
    example: Gathered, laws: list[Law], whole: tuple[Document, dict[str, Any]]
) -> None:
    said = copy.deepcopy(whole[1])
    (item,) = [item for item in said["references"] if item["name"] == "totals"]
    item["detail"] = "SELECT 2604 AS requests"
    now = carried(build(example, laws), example, CASES)
    assert queries_changed(said, now) == ["totals"]
    assert queries_changed(whole[1], now) == []


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (1, 1, True),
        (1, 2, False),
        (10**18, 10**18 + 1, False),
        (0.1 + 0.2, 0.3, True),
        (0.3, 0.3001, False),
        (None, None, True),
        (None, 0, False),
        (0, None, False),
        (True, 1, False),
        ("READY", "READY", True),
        ("1", 1, False),
    ],
)
def test_values_are_the_same_or_not(one: Any, other: Any, alike: bool) -> None:
    assert same(one, other) is alike
