"""Requests from a file are seen as the router sees them, and a mistake has its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.requests import read_requests, seen_of
from services.common.errors import DomainError, Reason
from services.common.seen import cut
from services.router.core import catalog
from services.router.core.shown import seen
from services.router.core.wire import parse_request

CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "You triage."},
        {"role": "user", "content": [{"type": "text", "text": "My card is gone."}]},
        {"role": "assistant", "content": "Since when?"},
        {"role": "user", "content": "Tuesday."},
    ],
    "tools": [{"type": "function", "function": {"name": "block", "parameters": {"type": "object"}}}],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object", "additionalProperties": False}},
    },
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl"


def test_a_row_is_seen_as_the_router_sees_the_request() -> None:
    body = json.dumps({"model": "gpt-4o-mini", "stream": True, **CHAT}).encode()
    found = seen_of({"id": 7, "label": "extraction", **CHAT})
    assert found == seen(parse_request(catalog.CHAT, body))
    assert found.system_prompt == "You triage."
    assert found.turns == ("My card is gone.",)
    assert found.tool_names == ("block",)
    assert json.loads(found.response_schema) == {"additionalProperties": False, "type": "object"}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_prompt_is_a_message_of_the_user(text: str) -> None:
    chat = seen_of({"messages": [{"role": "user", "content": text}]})
    assert seen_of({"prompt": text}) == seen_of({"prompt": text, "tools": None}) == chat
    assert chat.turns == cut("", [text]).turns


def test_a_long_prompt_is_cut_within_the_contract() -> None:
    (turn,) = seen_of({"prompt": "ä" * 1_000_000}).turns
    assert len(turn.encode()) <= 8192


def test_the_requests_of_a_file_come_in_its_order(file: Path) -> None:
    rows = [json.dumps({"prompt": f"über {n}"}, ensure_ascii=False) for n in range(3)]
    file.write_text("\ufeff" + "\n\n".join(rows) + "\r\n \n", encoding="utf-8")
    assert [request.turns for request in read_requests(file)] == [("über 0",), ("über 1",), ("über 2",)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", "no JSON (Expecting property name"),
        (b"[" * 100_000, "no JSON ("),
        (b"[1]", "a row must be a JSON object, not list"),
        (b'{"prompt": "\xff"}', "no UTF-8 text (invalid start byte); save the file as UTF-8"),
        (b"{}", "a row must have either `messages` or `prompt`"),
        (b'{"prompt": "a", "messages": []}', "a row must have either `messages` or `prompt`"),
        (b'{"prompt": 5}', "`prompt` must be text, not int"),
        (b'{"messages": []}', "`messages` must be a list of at least one message, not an empty list"),
        (b'{"messages": ["hi"]}', "`messages[0]` must be an object with a role, not str"),
        (b'{"messages": [{"role": "user", "content": 5}]}', "`messages[0].content` must be text or parts"),
        (b'{"prompt": "\\ud800"}', "the row is no JSON that can be sent ("),
        (b'{"prompt": "a", "tools": [99999999999999999999999]}', "the row is no JSON that can be sent ("),
        (b'{"messages": [{"role": "user", "content": [' + b"[" * 300 + b"]" * 300 + b"]}]}", ""),
    ],
)
def test_a_row_that_is_none_is_told_with_its_line(file: Path, line: bytes, told: str) -> None:
    file.write_bytes(b'{"prompt": "fine"}\n\n' + line + b"\n")
    with pytest.raises(DomainError) as caught:
        read_requests(file)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.message.startswith(f"{file}, line 3: {told}")
