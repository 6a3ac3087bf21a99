"""Examples of disagreement in the document: what is shown, why nothing is, and what a check says later."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from homeward.shadow.v1 import shadow_pb2

from playbook.asked import Asked
from playbook.disagreements import document as example_document
from playbook.report.ask_examples import ask_examples
from playbook.report.build import all_facts, build, carried
from playbook.report.document import Document, Name, Points, Section, Table
from playbook.report.examples import SHOWN, SHOWN_SIGNS, chosen
from playbook.report.gathered import Gathered, dumped, loaded
from playbook.report.html_writer import html
from playbook.report.mappings import Law
from playbook.report.typst_writer import source
from playbook.report.verify import changes
from services.shadow.core.examples import bounded
from tests.support.migrations import Shadow, serving

pytestmark = pytest.mark.usefixtures("quick")

SINCE = datetime(2026, 11, 29, 12, tzinfo=UTC)
UNTIL = datetime(2026, 11, 29, 22, tzinfo=UTC)
KEY = "hw-reader"
WORKLOAD = "voice-domain"


def kept_example(
    number: int = 1,
    *,
    kept: datetime = UNTIL - timedelta(hours=1),
    days: float = 7,
    deleted: datetime | None = None,
    reason: str = "",
    said: str = "banking",
    lane: str = "",
) -> shadow_pb2.Example:
    texts = bounded(
        [("system", "Name the domain."), ("user", "<b>where</b> is my card, 3rd time")],
        said,
        "travel",
        9_000,
        bytes(16),
    )
    made = shadow_pb2.Example(
        sample_id=number.to_bytes(16, "big"), experiment_id=b"e" * 16, epoch=1, workload=WORKLOAD, lane=lane,
        scorer="exact_match@1", agreement_sovereign=0, agreement_noise=1, delete_reason=reason,
        texts_sha256=hashlib.sha256(texts.to_json()).digest(),
    )  # fmt: skip
    made.request_time.FromDatetime(kept - timedelta(seconds=2))
    made.keep_time.FromDatetime(kept)
    made.expire_time.FromDatetime(kept + timedelta(days=days))
    if deleted is not None:
        made.delete_time.FromDatetime(deleted)
        return made
    for turn in texts.turns:
        made.texts.turns.add(speaker=turn.speaker, text=turn.text)
    made.texts.cloud.MergeFrom(shadow_pb2.ExampleTurn(speaker="assistant", text=texts.cloud.text))
    made.texts.sovereign.MergeFrom(shadow_pb2.ExampleTurn(speaker="assistant", text=texts.sovereign.text))
    made.texts.salt = texts.salt
    return made


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (kept_example(), True),
        (kept_example(kept=UNTIL), False),
        (kept_example(kept=UNTIL - timedelta(seconds=1)), False),
        (kept_example(kept=SINCE), False),
        (kept_example(kept=UNTIL - timedelta(hours=8), days=0.1), False),
        (kept_example(deleted=UNTIL - timedelta(minutes=1), reason="replaced"), False),
        (kept_example(deleted=UNTIL + timedelta(days=9), reason="expired"), True),
        (kept_example(deleted=UNTIL + timedelta(minutes=1), reason="replaced"), True),
        # Expired at the document's time, and deleted by the next start of shadow, much later.
        (kept_example(kept=UNTIL - timedelta(hours=8), days=0.1, deleted=UNTIL + timedelta(days=1)), False),
    ],
    ids=[
        "kept",
        "later",
        "just-now",
        "asked-before",
        "over",
        "gone",
        "gone-since",
        "replaced-since",
        "late-sweep",
    ],
)
def test_a_document_shows_what_was_kept_at_its_time(item: shadow_pb2.Example, shown: bool) -> None:
    assert len(chosen([example_document(item)], SINCE, UNTIL)) == shown


def test_the_first_ones_are_shown() -> None:
    every = [example_document(kept_example(number)) for number in range(1, 9)]
    assert chosen(every, SINCE, UNTIL) == every[:SHOWN]


def with_examples(found: Gathered, *items: shadow_pb2.Example, days: int = 7) -> Gathered:
    """What was gathered, with these and their rows of the book."""
    told = [example_document(item) for item in items]
    rows = [
        {"sample_id": item["sample_id"].replace("-", ""), "workload": WORKLOAD, "epoch": 1, "d": -1.0,
         "lane": item["lane"], "scorer": "exact_match@1", "sovereign": 0.0, "noise": 1.0}
        for item in told
    ]  # fmt: skip
    settings = copy.deepcopy(dict(found.settings))
    settings["workloads"][WORKLOAD]["data_class"] = "public"
    settings["data_classes"] = {"public": {"keep_examples_days": days}}
    answers = {**found.answers, "examples": Asked("SELECT 1", {"sample_ids": []}, rows)}
    return dataclasses.replace(found, settings=settings, answers=answers, examples={WORKLOAD: told})


def section(document: Document) -> Section:
    (case,) = [item for item in document.sections if item.name == "engineering"]
    return next(item for item in case.sections if item.name == "disagreement")


def words(block: Table | Points) -> str:
    rows = block.rows if isinstance(block, Table) else ((item,) for item in block.items)
    return "\n".join(
        "".join(getattr(span, "text", str(span)) for span in cell) for row in rows for cell in row
    )


def test_an_example_has_its_texts_its_row_and_its_hash(example: Gathered, laws: list[Law]) -> None:
    found = with_examples(example, kept_example(said="banking, " * 200), kept_example(2, lane="after"))
    document = build(found, laws, ["engineering"])
    first, second = (block for block in section(document).blocks if isinstance(block, Table))
    said = words(first)
    assert "<b>where</b> is my card, 3rd time" in said
    assert "travel" in said
    assert "… cut here" in said
    assert f"row {'0' * 31}1 of homeward.triplets" in said
    assert "−1.000" in said
    assert any(span == Name("travel", "strong") for row in second.rows for span in row[1])
    assert max(len(getattr(span, "text", "")) for row in first.rows for span in row[1]) <= SHOWN_SIGNS
    (digest,) = [fact for fact in all_facts(document) if fact.key.endswith(f"{1:012}/texts_sha256")]
    assert digest.value == found.examples[WORKLOAD][0]["texts_sha256"]  # type: ignore[index]
    # Neither writer takes what a user said for markup.
    told = carried(document, found, ["engineering"])
    assert "&lt;b&gt;where&lt;/b&gt;" in html(document, told)
    assert "<b>where</b>" in source(document, told)


@pytest.mark.parametrize(
    ("days", "told", "says"),
    [
        (0, True, "not kept: the data class public keeps no texts."),
        (7, True, "none is there; texts are kept for 7"),
        (7, False, "not known: shadow did not tell them to who asked"),
    ],
    ids=["none-kept", "none-there", "not-told"],
)
def test_where_none_is_shown_it_says_why(
    example: Gathered, laws: list[Law], days: int, told: bool, says: str
) -> None:
    found = with_examples(example, days=days)
    if not told:
        found = dataclasses.replace(found, examples=None)
    document = build(found, laws, ["engineering"])
    (points,) = [block for block in section(document).blocks if isinstance(block, Points)]
    assert f"{WORKLOAD}: {says}" in words(points).replace("\u00a0", " ")


def test_a_check_holds_when_texts_are_deleted_since_and_not_when_they_are_others(
    example: Gathered, laws: list[Law]
) -> None:
    before = with_examples(example, kept_example())
    said = carried(build(before, laws, ["engineering"]), before, ["engineering"])

    def differ(item: shadow_pb2.Example) -> list[str]:
        now = build(with_examples(example, item), laws, ["engineering"])
        return [change.key for change in changes(said, [], all_facts(now), whole=True)]

    gone = kept_example(deleted=UNTIL + timedelta(days=7), reason="expired")
    assert differ(kept_example()) == []
    assert differ(gone) == []
    forged = kept_example(said="weather")
    forged.texts_sha256 = kept_example().texts_sha256
    (key,) = differ(forged)
    assert key.endswith("/texts_sha256")


def test_retention_is_told_by_workload(example: Gathered, laws: list[Law]) -> None:
    found = with_examples(example, days=30)
    document = build(found, laws, ["legal"])
    facts = {fact.key: fact.value for fact in all_facts(document)}
    assert facts["setting/data_classes/public/keep_examples_days"] == 30
    assert facts["setting/data_classes/internal/keep_examples_days"] == 0


def test_what_was_gathered_can_be_kept_with_them(example: Gathered) -> None:
    found = with_examples(example, kept_example())
    assert loaded(dumped(found)).examples == found.examples


class WithExamples(Shadow):
    """Shadow, with examples on two pages."""

    pages: tuple[list[shadow_pb2.Example], ...] = ()

    def ListExamples(self, request: Any, context: Any) -> shadow_pb2.ListExamplesResponse:
        self._taken(request, context)
        place = int(request.page_token or 0)
        token = str(place + 1) if place + 1 < len(self.pages) else ""
        return shadow_pb2.ListExamplesResponse(examples=self.pages[place], next_page_token=token)


@pytest.fixture
def shadow() -> Iterator[tuple[WithExamples, str]]:
    made = WithExamples()
    with serving(made) as address:
        yield made, address


def test_all_pages_are_asked_and_what_has_expired_is_named(shadow: tuple[WithExamples, str]) -> None:
    made, address = shadow
    gone = kept_example(2, deleted=UNTIL + timedelta(days=7), reason="expired")
    made.pages = ([kept_example(1)], [gone, kept_example(3, kept=UNTIL)])
    problems: list[str] = []
    found = ask_examples(address, KEY, [WORKLOAD], (SINCE, UNTIL), problems)
    assert found is not None
    assert [item["sample_id"][-1] for item in found[WORKLOAD]] == ["1", "2"]
    assert made.keys == [f"Bearer {KEY}"] * 2
    assert all(ask.with_deleted for ask in made.asked)
    (problem,) = problems
    assert "0002 of voice-domain" in problem
    assert "deleted on 2026-12-06 as its time was over" in problem


def test_a_shadow_that_does_not_tell_is_a_problem() -> None:
    problems: list[str] = []
    assert ask_examples("127.0.0.1:1", "", [WORKLOAD], (SINCE, UNTIL), problems, expected=False) is None
    assert problems == []
    assert ask_examples("127.0.0.1:1", "", [WORKLOAD], (SINCE, UNTIL), problems) is None
    assert "does not tell examples of disagreement (UNAVAILABLE)" in problems[0]
