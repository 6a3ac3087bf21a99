"""Which names of people are found, which texts are left, what becomes of names, and that no text takes long.

The model is the one that ships; how often it is right is measured by `bench.detectors`, not here.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.settings import SettingsError
from services.router.core import catalog, wire
from services.router.core.detectors import Kind, Placeholders, find, mask
from services.router.core.identifiers import names
from services.router.core.personal_data import Detectors, OnHit, Rules, look
from services.router.guard import Guard

names.model()
"""Read here, so that no test's time has it."""

FOUND = [
    ("My name is Jane Doe and I live in Berlin.", ["Jane Doe"]),
    ("Dear Mr. Kowalski,\n\nyour invoice is overdue.", ["Kowalski"]),
    ("Jane Doe's account is locked", ["Jane Doe"]),
    ("The patient, Robert Brown, is 54.", ["Robert Brown"]),
    ("Best regards,\nMichael", ["Michael"]),
    ("Please forward this to Siobhán O'Neill by Monday.", ["Siobhán O'Neill"]),
    ("Send it to Rajesh Kumar, Priya Sharma and Tom", ["Rajesh Kumar", "Priya Sharma", "Tom"]),
    # written small, or in capitals
    ("hi, this is sarah, my order is late", ["sarah"]),
    ("i am john smith from london", ["john smith"]),
    ("my name is priya raman", ["priya raman"]),
    ("JANE DOE HAS PAID", ["JANE DOE"]),
    # other languages
    ("Sehr geehrte Frau Müller-Lüdenscheidt,", ["Müller-Lüdenscheidt"]),
    ("Hallo Herr Schmidt, hier ist Lena.", ["Schmidt", "Lena"]),
    ("Bonjour Monsieur Dubois,", ["Dubois"]),
    # with what belongs to a name
    ("Vincent van Gogh painted it", ["Vincent van Gogh"]),
    ("J. R. R. Tolkien wrote it", ["J. R. R. Tolkien"]),
    # as applications write it
    ('{"customer": {"first_name": "Tomáš", "last_name": "Novák"}, "city": "Prague"}', ["Tomáš", "Novák"]),
    ("customer name: Nguyen", ["Nguyen"]),
    ("From: Ana María López <ana@example.com>\nTo: Support", ["Ana María López"]),
    ("Ja\u200bne D\u00adoe called", ["Ja\u200bne D\u00adoe"]),
]
LEFT = [
    "Please reset my password.",
    "The Terms and Conditions apply.",
    "We moved from Paris to New York in May.",
    "Microsoft Excel crashed on Monday",
    "You are a helpful assistant.",
    "def main():\n    return Response(User.objects.all())",
    "What is the exchange rate?",
    "Der Kunde hat die Rechnung bezahlt.",
    "I will mark it as done",
    "How do I top up my Apple Pay card?",
    "SELECT name FROM users",
    "",
    "12 + 12 = 24",
]
MISSED = [
    # ordinary words, written small
    "ask will about it",
    # scripts that are not Latin
    "Иван Петров звонил",
    "张伟打电话",
    # names of accounts
    '{"assignee": "mgarcia"}',
]
"""What residency.md says is not found. Finding it would be an improvement: then the page must say so."""


def people(text: str) -> list[str]:
    return [text[item.start : item.end] for item in find(text, {Kind.PERSON})]


@pytest.mark.parametrize(("text", "found"), FOUND)
def test_it_finds(text: str, found: list[str]) -> None:
    assert people(text) == found


@pytest.mark.parametrize("text", LEFT)
def test_it_leaves(text: str) -> None:
    assert people(text) == []


@pytest.mark.parametrize("text", MISSED)
def test_it_misses_what_the_page_says(text: str) -> None:
    assert people(text) == []


def test_names_are_found_beside_other_kinds() -> None:
    text = "Jane Doe, jane@example.com, lives in 12 Simon Road"
    found = find(text, {Kind.PERSON, Kind.EMAIL, Kind.ADDRESS})
    assert [item.kind for item in found] == [Kind.PERSON, Kind.EMAIL, Kind.ADDRESS]


def test_one_person_has_one_placeholder() -> None:
    placeholders = Placeholders()
    texts = [
        "Jane Doe called.",
        "I have asked Doe about it.",
        "jane  doe is my name",
        "John Smith called",
        "Dear Ms Doe,",
    ]
    masked = [mask(text, find(text, {Kind.PERSON}), placeholders) for text in texts]
    assert masked == [
        "<PERSON_1> called.",
        "I have asked <PERSON_1> about it.",
        "<PERSON_1> is my name",
        "<PERSON_2> called",
        "Dear Ms <PERSON_1>,",
    ]


def test_what_two_people_share_names_neither() -> None:
    text = "Jane Doe met John Doe. Mr. Doe was late. Jane was not."
    masked = mask(text, find(text, {Kind.PERSON}), Placeholders())
    assert masked == "<PERSON_1> met <PERSON_2>. Mr. <PERSON_3> was late. <PERSON_1> was not."


def masked(document: dict[str, Any]) -> dict[str, Any]:
    request = wire.parse_request(catalog.CHAT, orjson.dumps({"model": "m", **document}))
    hit = look(request, [Detectors(frozenset({Kind.PERSON}), OnHit.MASK)])
    return document if hit is None or hit.masked is None else dict(orjson.loads(hit.masked.body))


@pytest.mark.parametrize("name", ["Bash", "Read", "Edit", "get_weather", "lookup_user", "Claire"])
def test_a_tool_keeps_its_name(name: str) -> None:
    """The application finds its code by it, and a provider takes no placeholder there."""
    arguments = orjson.dumps({"name": "Jane Doe"}).decode()
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    used = {"type": "tool_use", "id": "t", "name": name, "input": {"name": "Jane Doe"}}
    told = masked(
        {
            "messages": [
                {"role": "assistant", "tool_calls": [call]},
                {"role": "assistant", "content": [used]},
                {"role": "tool", "tool_call_id": "c", "name": name, "content": "sent to Jane Doe"},
            ]
        }
    )["messages"]
    assert told[0]["tool_calls"][0]["function"] == {"name": name, "arguments": '{"name":"<PERSON_1>"}'}
    assert told[1]["content"][0] == {**used, "input": {"name": "<PERSON_1>"}}
    assert told[2] == {"role": "tool", "tool_call_id": "c", "name": name, "content": "sent to <PERSON_1>"}


SETTINGS = {
    "audio": {"voice": "sage", "format": "wav"},
    "mcp_servers": [{"type": "url", "url": "https://mcp.example.com/sse", "name": "crm"}],
    "reasoning": {"effort": "high", "summary": "detailed"},
    "service_tier": "priority",
    "reasoning_effort": "minimal",
    "verbosity": "low",
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "stream_options": {"include_usage": True},
}
"""Of a request for a provider to understand: a placeholder would have it refused."""


def test_what_a_provider_must_understand_stays() -> None:
    told = masked({"messages": [{"role": "user", "name": "Jane", "content": "Ask Tom"}], **SETTINGS})
    assert told["messages"][0]["name"] == "<PERSON_1>"
    assert {name: told[name] for name in SETTINGS} == SETTINGS


PIECES = st.sampled_from(
    [word for text, _ in FOUND for word in text.split(" ")]
    + [" ", "\n", ". ", "-", "'s", " van der ", "A. ", "é", "漢"]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=80))


@given(TEXTS)
def test_findings_are_in_order_apart_and_inside(text: str) -> None:
    done = 0
    for start, end in names.found(text, names.model()):
        assert done <= start < end <= len(text)
        done = end


@given(st.lists(PIECES, min_size=1, max_size=20).map(" ".join), st.integers(8, 60))
def test_a_long_text_is_read_in_pieces_without_loss(text: str, piece: int) -> None:
    # Pieces as short as these may cut a name in two, but nothing is read twice or left out.
    spans = list(names._pieces(text, piece))
    assert "".join(text[start:end] for start, end in spans) == text


@settings(max_examples=5)
@given(st.integers(0, 3))
def test_a_name_at_the_end_of_a_long_text_is_found(more: int) -> None:
    text = "The order has not arrived yet. " * (names.PIECE // 16 + more) + "My name is Jane Doe."
    assert [text[slice(*span)] for span in names.found(text, names.model())] == ["Jane Doe"]


HEAVY = [
    "A ",
    "Ab ",
    "Ab. ",
    "A. ",
    "Jane Doe ",
    "Jane van der ",
    "ab'c'd ",
    "Ab-",
    "Ab",
    "'",
    "a\u200bB ",
    "Jane's ",
]


@pytest.mark.parametrize("piece", HEAVY)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    """Ten times the text takes about ten times as long: a search that goes back would take a hundred."""
    short, long = (_seconds(piece * (size // len(piece))) for size in (6_000, 60_000))
    assert long < 40 * max(short, 0.001)


def _seconds(text: str) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        find(text, {Kind.PERSON})
        best = min(best, time.thread_time() - start)
    return best


def test_without_its_model_the_router_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "model", lambda: names.read(tmp_path / "weights.npz"))
    Guard(Rules({"mail": Detectors(frozenset({Kind.EMAIL}), OnHit.MASK)}))
    with pytest.raises(SettingsError, match="person"):
        Guard(Rules({"letters": Detectors(frozenset({Kind.PERSON}), OnHit.MASK)}))
