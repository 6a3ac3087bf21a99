"""Which texts of a request are read, what the cloud gets instead, and whose detectors read it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.words import Evidence, Target
from services.router.core import catalog, wire
from services.router.core.detectors import Kind
from services.router.core.keys import Key
from services.router.core.naming import Name
from services.router.core.personal_data import Detectors, OnHit, Rules, kept_home, look
from services.router.core.policy import WorkloadPolicy

MAIL = "jane@example.com"
IBAN = "DE89370400440532013000"
SHAPED = frozenset(Kind) - {Kind.PERSON}
MASK = [Detectors(SHAPED, OnHit.MASK)]
STAY = [Detectors(SHAPED, OnHit.SOVEREIGN)]


def request(document: dict[str, Any], api: str = catalog.CHAT) -> wire.Request:
    return wire.parse_request(api, orjson.dumps({"model": "m", **document}))


def chat(*messages: dict[str, Any], **fields: Any) -> wire.Request:
    return request({"messages": list(messages), **fields})


READ = [
    (catalog.CHAT, {"messages": [{"role": "system", "content": MAIL}]}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": MAIL}]}]}),
    (catalog.CHAT, {"messages": [{"role": "tool", "tool_call_id": "1", "content": MAIL}]}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": "hi", "name": MAIL}]}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": "hi"}], "user": MAIL}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": "hi"}], "metadata": {"who": MAIL}}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": "hi"}], "metadata": {"id": MAIL}}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": "hi"}], "of_tomorrow": {"x": [MAIL]}}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": f"data:text/plain;base64,aGk= {MAIL}"}]}),
    (catalog.CHAT, {"messages": [{"role": "user", "content": "hi"}], "stop": ["x", MAIL]}),
    (catalog.MESSAGES, {"messages": [{"role": "user", "content": "hi"}], "stop_sequences": [MAIL]}),
    (catalog.COMPLETIONS, {"prompt": ["a", MAIL]}),
    (catalog.EMBEDDINGS, {"input": MAIL}),
    (catalog.RESPONSES, {"input": MAIL}),
    (catalog.RESPONSES, {"instructions": MAIL, "input": "hi"}),
    (catalog.RESPONSES, {"prompt": {"id": "p", "variables": {"data": f"to {MAIL}", "id": MAIL}}}),
    (catalog.RESPONSES, {"prompt": {"id": "p", "variables": {"x": {"type": "input_text", "text": MAIL}}}}),
    (catalog.RESPONSES, {"input": [{"type": "function_call_output", "call_id": "1", "output": MAIL}]}),
    (
        catalog.MESSAGES,
        {"system": [{"type": "text", "text": MAIL}], "messages": [{"role": "user", "content": "a"}]},
    ),
    (
        catalog.MESSAGES,
        {
            "messages": [
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": MAIL}]}
            ]
        },
    ),
    (
        catalog.MESSAGES,
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "input": {"data": MAIL}}]}
            ]
        },
    ),
    (
        catalog.MESSAGES,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "source": {
                                "type": "text",
                                "media_type": "text/plain",
                                "data": f"Write to {MAIL}",
                            },
                        }
                    ],
                }
            ]
        },
    ),
]


@pytest.mark.parametrize(("api", "document"), READ)
def test_it_is_read_and_masked(api: str, document: dict[str, Any]) -> None:
    asked = request(document, api)
    hit = look(asked, MASK)
    assert hit is not None
    assert hit.masked is not None
    assert (hit.kinds, hit.sovereign) == ((Kind.EMAIL,), False)
    assert MAIL.encode() in asked.body
    assert hit.masked.body == asked.body.replace(MAIL.encode(), b"<EMAIL_1>")
    assert hit.masked.document == orjson.loads(hit.masked.body)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "mail", "description": MAIL}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": MAIL}}}},
        {"seed": 44051401359},
    ],
)
def test_the_applications_own_is_not_read(fields: dict[str, Any]) -> None:
    assert look(chat({"role": "user", "content": "hi"}, **fields), STAY) is None


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,4111111111111111/+4155550132=="}},
        {"type": "input_audio", "input_audio": {"data": MAIL, "format": "wav"}},
        {"type": "tool_use", "id": MAIL},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": MAIL}},
    ],
)
def test_neither_bytes_nor_marks_are_read(part: dict[str, Any]) -> None:
    assert look(chat({"role": "user", "content": [part]}), STAY) is None


@pytest.mark.parametrize(
    ("arguments", "masked"),
    [
        ({"to": MAIL}, {"to": "<EMAIL_1>"}),
        ({"text": f"line\n{MAIL}\tä"}, {"text": "line\n<EMAIL_1>\tä"}),
        ({"card": 4111111111111111}, {"card": "<CARD_1>"}),
        ({"phone": "4155550132"}, {"phone": "<PHONE_1>"}),
        ({"ssn": "536904399"}, {"ssn": "<NATIONAL_ID_1>"}),
        ({"customer": {"birthDate": "1980-05-03"}}, {"customer": {"birthDate": "<BIRTH_DATE_1>"}}),
        ({MAIL: [1, 2]}, {"<EMAIL_1>": [1, 2]}),
        ({"data": MAIL, "id": MAIL}, {"data": "<EMAIL_1>", "id": "<EMAIL_1>"}),
        ({"items": [{"type": MAIL}]}, {"items": [{"type": "<EMAIL_1>"}]}),
    ],
)
def test_arguments_stay_json(arguments: dict[str, Any], masked: dict[str, Any]) -> None:
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "f", "arguments": orjson.dumps(arguments).decode()},
    }
    hit = look(chat({"role": "assistant", "content": None, "tool_calls": [call]}), MASK)
    assert hit is not None
    assert hit.masked is not None
    sent = hit.masked.document["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert orjson.loads(sent) == masked


def test_a_value_has_one_placeholder_in_all_texts() -> None:
    arguments = orjson.dumps({"to": MAIL.upper()}).decode()
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    hit = look(
        chat(
            {"role": "user", "content": f"bob@example.com and {MAIL}"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": MAIL},
        ),
        MASK,
    )
    assert hit is not None
    assert hit.masked is not None
    first, second, third = hit.masked.document["messages"]
    assert first["content"] == "<EMAIL_1> and <EMAIL_2>"
    assert second["tool_calls"][0]["function"]["arguments"] == '{"to":"<EMAIL_2>"}'
    assert third["content"] == "<EMAIL_2>"


def test_one_kind_that_stays_keeps_the_whole_request() -> None:
    both = [
        Detectors(frozenset({Kind.EMAIL}), OnHit.MASK),
        Detectors(frozenset({Kind.IBAN}), OnHit.SOVEREIGN),
    ]
    hit = look(chat({"role": "user", "content": f"{MAIL} {IBAN}"}), both)
    assert hit is not None
    assert (hit.sovereign, hit.masked, hit.kinds) == (True, None, (Kind.EMAIL, Kind.IBAN))
    hit = look(chat({"role": "user", "content": MAIL}), both)
    assert hit is not None
    assert not hit.sovereign


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def called_with(arguments: str) -> bytes:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return orjson.dumps({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]})


SAID = b'"messages":[{"role":"user","content":"hi"}]'


@pytest.mark.parametrize(
    ("api", "body", "why"),
    [
        pytest.param(catalog.EMBEDDINGS, b'{"model":"m","input":[91,12]}', "token ids", id="token ids"),
        pytest.param(
            catalog.EMBEDDINGS, b'{"model":"m","input":[[91,12]]}', "token ids", id="lists of token ids"
        ),
        pytest.param(
            catalog.EMBEDDINGS,
            b'{"model":"m","input":["hi",[91,12]]}',
            "token ids",
            id="a text and token ids",
        ),
        pytest.param(
            catalog.COMPLETIONS, b'{"model":"m","prompt":[91,12]}', "token ids", id="a prompt of token ids"
        ),
        pytest.param(
            catalog.COMPLETIONS, b'{"model":"m","prompt":[[91,12]]}', "token ids", id="prompts of token ids"
        ),
        # One of two is read, and both would be sent.
        pytest.param(
            catalog.CHAT,
            b'{"model":"m",%s,%s}' % (SAID.replace(b"hi", MAIL.encode()), SAID),
            "twice",
            id="messages twice",
        ),
        pytest.param(
            catalog.CHAT,
            b'{"model":"m","metadata":{"a":"x","\\u0061":"y"},%s}' % SAID,
            "twice",
            id="a key twice, once with escapes",
        ),
        pytest.param(
            catalog.CHAT, called_with(f'{{"to":"{MAIL}","to":"me"}}'), "twice", id="an argument twice"
        ),
        pytest.param(
            catalog.CHAT,
            called_with(nested(wire.MAX_DEPTH + 1)),
            "deep",
            id="arguments that are nested too deep",
        ),
        pytest.param(
            catalog.CHAT,
            called_with(f"[{'1,' * wire.MAX_VALUES}]"),
            "long",
            id="arguments of too many values",
        ),
    ],
)
def test_what_can_not_be_read_stays(api: str, body: bytes, why: str) -> None:
    hit = look(wire.parse_request(api, body), MASK)
    assert hit is not None
    assert (hit.sovereign, hit.masked) == (True, None)
    assert why in hit.unread
    with pytest.raises(DomainError, match=f"can't be read .*{why}") as refused:
        kept_home(WorkloadPolicy(allowed_targets=frozenset({Target.CLOUD})), hit, "mail")
    assert refused.value.reason is Reason.TARGET_NOT_ALLOWED


def test_what_is_too_long_to_be_read_stays() -> None:
    hit = look(chat({"role": "user", "content": "a" * 100}), MASK, most_chars=50)
    assert hit is not None
    assert (hit.sovereign, hit.unread, hit.masked) == (True, "it is too long", None)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"model":"m","n":%s,%s}' % (b"9" * 300, SAID), id="a number of many digits"),
        pytest.param(b'{"model":"m","a":{"x":1},"b":{"x":1},%s}' % SAID, id="a key in two objects"),
        pytest.param(called_with(nested(wire.MAX_DEPTH)), id="nested arguments"),
        pytest.param(called_with("7"), id="arguments that are no object"),
    ],
)
def test_what_can_be_read_and_has_nothing_passes(body: bytes) -> None:
    assert look(wire.parse_request(catalog.CHAT, body), MASK) is None


SPACED = IBAN[:4] + "\u00a0" + IBAN[4:]


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        # As Python's json writes what a tool returns.
        (json.dumps({"iban": SPACED, "who": "Zoë"}), '{"iban": "<IBAN_1>", "who": "Zoë"}'),
        (json.dumps([json.dumps({"iban": SPACED})]), '["{\\"iban\\": \\"<IBAN_1>\\"}"]'),
        (json.dumps(json.dumps({"a": "\x01" + SPACED})), '"{\\"a\\": \\"\\\\u0001<IBAN_1>\\"}"'),
        ('{"a": "\\u0022jane\\u0040example.com\\u0022"}', '{"a": "\\u0022<EMAIL_1>\\u0022"}'),
        ('{"a": 1}\n{"b": "jane\\u0040example.com"}', '{"a": 1}\n{"b": "<EMAIL_1>"}'),
        ("Found: jane\\u0040example.com \\ud83d\\ude00 \\ud83d", "Found: <EMAIL_1> 😀 \\ud83d"),
    ],
)
def test_json_with_escapes_in_a_tools_result_is_read(said: str, masked: str) -> None:
    hit = look(chat({"role": "tool", "tool_call_id": "1", "content": said}), MASK)
    assert hit is not None
    assert hit.masked is not None
    assert hit.masked.document["messages"][0]["content"] == masked


def test_escapes_stay_where_nothing_is_found() -> None:
    said = json.dumps({"who": "Zoë"})
    asked = chat({"role": "user", "content": MAIL}, {"role": "tool", "tool_call_id": "1", "content": said})
    hit = look(asked, MASK)
    assert hit is not None
    assert hit.masked is not None
    assert hit.masked.document["messages"][1]["content"] == said


CERTAIN = Name("mail", Evidence.DECLARED, certain=True)
LIKELY = Name("mail", Evidence.FINGERPRINT, certain=False)
UNNAMED = Name("", Evidence.ABSTAINED)
RULES = Rules({"mail": MASK[0], "payroll": STAY[0]})


@pytest.mark.parametrize(
    ("listed", "name", "expected"),
    [
        ({"mail", "payroll"}, CERTAIN, MASK),
        ({"mail", "payroll"}, LIKELY, MASK + STAY),
        ({"payroll"}, UNNAMED, STAY),
        ({"other"}, UNNAMED, []),
        (set(), LIKELY, MASK),
        (set(), Name("other", Evidence.DECLARED, certain=True), []),
    ],
)
def test_no_text_talks_a_request_past_the_detectors_of_its_key(
    listed: set[str], name: Name, expected: list[Detectors]
) -> None:
    assert RULES.binding(Key("crm", bytes(32), named=frozenset(listed)), name) == expected


def test_a_request_that_may_run_nowhere_is_refused() -> None:
    hit = look(chat({"role": "user", "content": IBAN}), STAY)
    assert hit is not None
    row = kept_home(WorkloadPolicy(), hit, "mail")
    assert row.allowed_targets == {Target.SOVEREIGN}
    assert not row.fallback_allowed
    with pytest.raises(DomainError) as refused:
        kept_home(WorkloadPolicy(allowed_targets=frozenset({Target.CLOUD})), hit, "mail")
    assert refused.value.reason is Reason.TARGET_NOT_ALLOWED
    assert IBAN not in str(refused.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([MAIL, IBAN, "4155550132"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(JSON, min_size=1, max_size=4), st.sampled_from(["content", "arguments", "input", "x"]))
def test_nothing_that_is_found_is_left(values: list[Any], key: str) -> None:
    messages = [
        {"role": "user", "content": "hi", key if key != "content" else "c": value} for value in values
    ]
    try:
        body = orjson.dumps({"model": "m", "messages": messages})
    except (TypeError, orjson.JSONEncodeError):
        return
    hit = look(wire.parse_request(catalog.CHAT, body), MASK)
    if hit is None:
        assert MAIL.encode() not in body
    else:
        assert hit.masked is not None
        assert MAIL.encode() not in hit.masked.body
        assert look(hit.masked, MASK) is None
