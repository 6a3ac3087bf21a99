"""What goes over the wire where door and upstream speak the same protocol."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.words import UsageSource
from services.router.core import dialects, sse, wire
from services.router.core.catalog import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES, Route
from services.router.core.same import SameCodec
from services.router.core.usage import UNKNOWN, Usage

USER = [{"role": "user", "content": "Hi"}]
INPUTS: dict[str, dict[str, Any]] = {
    CHAT: {"messages": USER},
    MESSAGES: {"messages": USER, "max_tokens": 9},
    COMPLETIONS: {"prompt": "Hi"},
    EMBEDDINGS: {"input": "Hi"},
    RESPONSES: {"input": "Hi"},
}


def request(api: str = CHAT, **fields: Any) -> wire.Request:
    return wire.parse_request(api, json.dumps({"model": "asked", **INPUTS[api], **fields}).encode())


def upstream_usage(*counts: int) -> Usage:
    return Usage(*counts, source=UsageSource.UPSTREAM)


# parse_request


def test_a_request_is_read_as_far_as_homeward_must() -> None:
    body = b'{"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": null}], "x": 1}'
    parsed = wire.parse_request(CHAT, body)
    assert (parsed.api, parsed.body, parsed.model, parsed.streamed) == (CHAT, body, "gpt-4o", True)
    assert parsed.document == json.loads(body)
    assert parsed.input_chars == len(body)


@pytest.mark.parametrize(
    ("api", "fields"),
    [
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
        (CHAT, {"messages": [{"role": "assistant", "tool_calls": []}]}),
        (CHAT, {"messages": USER, "stream": None, "stream_options": None}),
        (COMPLETIONS, {"prompt": ["a", "b"]}),
        (EMBEDDINGS, {"input": [[1, 2], [3]]}),
        (RESPONSES, {"input": [{"role": "user", "content": "Hi"}]}),
        (RESPONSES, {"previous_response_id": "r"}),
    ],
)
def test_what_the_protocol_allows_is_accepted(api: str, fields: dict[str, Any]) -> None:
    parsed = wire.parse_request(api, json.dumps({"model": "m", **fields}).encode())
    assert not parsed.streamed


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{'a': 1}", b'{"model": "\xff"}', b"\xef\xbb\xbf{}", b'{"a": NaN}', b"[" * 3000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(DomainError) as caught:
        wire.parse_request(CHAT, body)
    assert caught.value.reason is Reason.MALFORMED_JSON
    assert caught.value.metadata["detail"]


@pytest.mark.parametrize(
    ("api", "document", "field", "got"),
    [
        (CHAT, [], "", "an empty list"),
        (CHAT, "x", "", "str"),
        (CHAT, None, "", "nothing"),
        (CHAT, {}, "model", "nothing"),
        (CHAT, {"model": ""}, "model", "an empty str"),
        (CHAT, {"model": 5}, "model", "int"),
        (CHAT, {"model": "m", "stream": "yes", "messages": USER}, "stream", "str"),
        (CHAT, {"model": "m", "stream": 1, "messages": USER}, "stream", "int"),
        (CHAT, {"model": "m"}, "messages", "nothing"),
        (CHAT, {"model": "m", "messages": []}, "messages", "an empty list"),
        (CHAT, {"model": "m", "messages": {"role": "user"}}, "messages", "dict"),
        (CHAT, {"model": "m", "messages": [*USER, "Hi"]}, "messages[1]", "str"),
        (CHAT, {"model": "m", "messages": [{"content": "Hi"}]}, "messages[0]", "dict"),
        (CHAT, {"model": "m", "messages": [{"role": 1, "content": "Hi"}]}, "messages[0]", "dict"),
        (
            CHAT,
            {"model": "m", "messages": [{"role": "user", "content": 5}]},
            "messages[0].content",
            "int",
        ),
        (CHAT, {"model": "m", "messages": USER, "stream_options": "x"}, "stream_options", "str"),
        (MESSAGES, {"model": "m", "messages": "Hi"}, "messages", "str"),
        (COMPLETIONS, {"model": "m"}, "prompt", "nothing"),
        (COMPLETIONS, {"model": "m", "prompt": ""}, "prompt", "an empty str"),
        (EMBEDDINGS, {"model": "m", "input": []}, "input", "an empty list"),
        (EMBEDDINGS, {"model": "m", "input": 5}, "input", "int"),
        (RESPONSES, {"model": "m", "input": {}}, "input", "an empty dict"),
        (RESPONSES, {"model": "m", "input": ""}, "input", "an empty str"),
    ],
)
def test_what_breaks_the_protocol_is_refused_by_field(
    api: str, document: object, field: str, got: str
) -> None:
    with pytest.raises(DomainError) as caught:
        wire.parse_request(api, json.dumps(document).encode())
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == field
    assert caught.value.metadata["got"] == got
    assert caught.value.message.startswith(f"`{field}` must be" if field else "the body must be")


def values(number: int) -> bytes:
    """A chat whose body has so many values."""
    # The document's two, the message, its two and those of its content.
    rest = number - 5
    return b'{"model":"m","messages":[{"role":"user","content":[%s]}]}' % b",".join([b"1"] * rest)


TEXT = b'"%s"' % (b'[,{\\"\\\\' * 400_000)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(values(wire.MAX_VALUES), id="just as many values"),
        # Tool results and prose are full of these signs.
        pytest.param(b'{"model":"m","messages":[{"role":"user","content":%s}]}' % TEXT, id="one text"),
    ],
)
def test_as_many_values_as_may_be_are_read(body: bytes) -> None:
    assert wire.parse_request(CHAT, body).body == body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(values(wire.MAX_VALUES + 1), id="one more"),
        pytest.param(values(wire.MAX_VALUES + 1).replace(b"1", TEXT, 1), id="behind a text"),
        pytest.param(b"[" * (wire.MAX_VALUES + 1), id="nested, and no JSON"),
        pytest.param(b'{"a":1,' + b'"a":{},' * wire.MAX_VALUES, id="members of an object"),
    ],
)
def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orjson, "loads", lambda _: pytest.fail("parsed"))
    with pytest.raises(DomainError) as caught:
        wire.parse_request(CHAT, body)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata == {
        "field": "",
        "expected": f"at most {wire.MAX_VALUES} values",
        "got": "more",
    }


@pytest.mark.parametrize("rest", [b"", b",1", b'"', b'"\\'])
def test_values_within_a_string_that_does_not_end_are_none(rest: bytes) -> None:
    assert not wire.too_many_values(b'["' + b',\\"[' * wire.MAX_VALUES + rest)


# SameCodec: the request


ROUTED_AS_ASKED = [
    (
        CHAT,
        b'{ "model":"asked",\n"messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}], "temperature":1.0}',
    ),
    (
        CHAT,
        b'{"messages":[{"role":"user","content":"x"}],"seed":1e2,"seed":3,"model":"asked","stream":false}',
    ),
    (
        CHAT,
        b'{"stream_options":{"include_usage":true},"stream":true,"model":"asked",'
        b'"messages":[{"role":"user","content":"x"}]}',
    ),
    (RESPONSES, b'{"model" : "asked", "input" : "x", "stream" : true}'),
    (MESSAGES, b'{"model": "asked", "messages": [{"role": "user", "content": "x"}], "stream": true}'),
    (EMBEDDINGS, b'{"model": "asked", "input": [1.0, 2.50]}'),
]


@pytest.mark.parametrize(("api", "body"), ROUTED_AS_ASKED)
def test_a_request_that_needs_nothing_goes_as_it_came(
    api: str, body: bytes, upstream: Callable[..., Any]
) -> None:
    codec = SameCodec(wire.parse_request(api, body), "asked")
    assert codec.request(Route(upstream(), "asked")) == body
    assert codec.path == wire.PATHS[api]


@pytest.mark.parametrize(("api", "body"), ROUTED_AS_ASKED)
def test_only_the_models_name_changes_where_it_has_another(
    api: str, body: bytes, upstream: Callable[..., Any]
) -> None:
    sent = SameCodec(wire.parse_request(api, body), "asked").request(Route(upstream(), "there"))
    assert sent == body.replace(b'"asked"', b'"there"')


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream_options": {"chunk_size": 5}}, {"chunk_size": 5, "include_usage": True}),
        # The words alone are not the key.
        ({"metadata": {"stream_options": 1}}, {"include_usage": True}),
    ],
)
@pytest.mark.parametrize("api", [CHAT, COMPLETIONS])
def test_a_stream_is_asked_for_its_usage(
    api: str, options: dict[str, Any], expected: dict[str, Any], upstream: Callable[..., Any]
) -> None:
    parsed = request(api, stream=True, **options)
    sent = json.loads(SameCodec(parsed, "asked").request(Route(upstream(), "asked")))
    assert sent == {**parsed.document, "stream_options": expected}


@pytest.mark.parametrize(
    ("api", "streamed", "understood"),
    [(CHAT, False, True), (CHAT, True, False), (RESPONSES, True, True), (MESSAGES, True, True)],
)
def test_usage_is_not_asked_for_where_it_comes_anyway_or_is_not_understood(
    api: str, streamed: bool, understood: bool, upstream: Callable[..., Any]
) -> None:
    parsed = request(api, stream=streamed)
    route = Route(upstream(stream_usage=understood), "asked")
    assert SameCodec(parsed, "asked").request(route) == parsed.body


# SameCodec: a whole answer


def chat_answer(**fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": 'The "model" is served.'}
    return {
        "id": "c1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        **fields,
    }


ANSWERS = [
    (CHAT, chat_answer(model="served"), upstream_usage(9, 0, 0, 4, 0)),
    (CHAT, {"model": "served", "choices": [], "metadata": {"model": "x"}}, UNKNOWN),
    (COMPLETIONS, {"model": "served", "choices": [{"text": "x"}], "usage": None}, UNKNOWN),
    (
        EMBEDDINGS,
        {"object": "list", "data": [], "model": "served", "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        upstream_usage(8, 0, 0, 0, 0),
    ),
    (
        RESPONSES,
        {
            "tools": [{"parameters": {"properties": {"model": {"type": "string"}}}}],
            "model": "served",
            "usage": {
                "input_tokens": 7,
                "output_tokens": 3,
                "output_tokens_details": {"reasoning_tokens": 1},
            },
        },
        upstream_usage(7, 0, 0, 2, 1),
    ),
    (
        MESSAGES,
        {
            "model": "served",
            "content": [],
            "usage": {"input_tokens": 7, "cache_read_input_tokens": 5, "output_tokens": 3},
        },
        upstream_usage(7, 5, 0, 3, 0),
    ),
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(("api", "document", "usage"), ANSWERS)
def test_an_answer_passes_but_for_the_models_name(
    api: str, document: dict[str, Any], usage: Usage, indent: int | None
) -> None:
    body = json.dumps(document, indent=indent).encode()
    answer = SameCodec(request(api), "asked").answer(body)
    assert answer.body == body.replace(b'"model": "served"', b'"model": "asked"')
    assert (answer.usage, answer.model) == (usage, "served")


@pytest.mark.parametrize("answer_as", [None, "served"])
@pytest.mark.parametrize(("api", "document", "usage"), ANSWERS)
def test_an_answer_passes_as_it_is_where_the_name_may_stay(
    api: str, document: dict[str, Any], usage: Usage, answer_as: str | None
) -> None:
    body = json.dumps(document).encode()
    assert SameCodec(request(api), answer_as).answer(body).body is body


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b'{"model": "served"'])
def test_an_answer_that_is_no_object_is_broken(body: bytes) -> None:
    with pytest.raises(DomainError) as caught:
        SameCodec(request(), "asked").answer(body)
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


@pytest.mark.parametrize("api", INPUTS)
def test_an_error_of_the_protocol_passes_and_another_is_wrapped(api: str) -> None:
    codec = SameCodec(request(api), None)
    own = b'{"error": {"message": "no", "type": "x"}, "type" : "error"}'
    assert codec.error(400, own) is own
    for body in (b"<html>Bad Gateway</html>", b"[]", b"", b'{"detail": "no"}', b"\xff", b"x" * 200):
        error = json.loads(codec.error(502, body))["error"]
        assert error["message"] == f"the upstream answered 502: {body.decode('utf-8', 'replace')}"


def test_an_error_of_another_shape_is_told_in_its_first_200_bytes() -> None:
    error = json.loads(SameCodec(request(), None).error(502, b"x" * 200 + b"y"))["error"]
    assert error["message"] == "the upstream answered 502: " + "x" * 200


# SameCodec: a stream


def streamed(
    api: str, upstream: Callable[..., Any], answer_as: str | None = "asked", **fields: Any
) -> wire.StreamCodec:
    """The stream of a request that has been sent."""
    codec = SameCodec(request(api, stream=True, **fields), answer_as)
    codec.request(Route(upstream(), "there"))
    return codec.stream()


def dumped(document: object, *, name: str = "", spaced: bool = False) -> bytes:
    return sse.event(json.dumps(document, separators=None if spaced else (",", ":")).encode(), name)


def fed(stream: wire.StreamCodec, events: Iterable[bytes]) -> bytes:
    return b"".join(stream.feed(event) for event in events)


def chunk(text: str | None = None, **fields: Any) -> dict[str, Any]:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return {"id": "c1", "object": "chat.completion.chunk", "model": "asked", "choices": choices, **fields}


DONE = b"data: [DONE]\n\n"
REPORT = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


@given(st.lists(st.text(max_size=5), max_size=5), st.booleans())
def test_usage_that_the_application_did_not_ask_for_is_hidden_again(
    upstream: Callable[..., Any], texts: list[str], spaced: bool
) -> None:
    stream = streamed(CHAT, upstream)
    events = [dumped(chunk(text, usage=None), spaced=spaced) for text in texts]
    out = fed(stream, [*events, dumped(chunk(usage=REPORT), spaced=spaced), DONE])
    *seen, done = [sse.payload(event) for event in split(out)]
    assert [json.loads(data) for data in seen] == [chunk(text) for text in texts]
    assert done == sse.DONE
    assert (stream.usage, stream.finished) == (upstream_usage(9, 0, 0, 4, 0), True)
    assert stream.output_chars == sum(map(len, texts))


def split(stream: bytes) -> list[bytes]:
    return list(sse.Splitter().feed(stream))


def test_hiding_a_null_changes_no_other_byte(upstream: Callable[..., Any]) -> None:
    event = (
        b'data: {"model":"asked", "choices":[{"delta":{"content":"\\u00e9"},"p":1.0}],"usage":null}\r\n\r\n'
    )
    assert streamed(CHAT, upstream).feed(event) == event.replace(b',"usage":null', b"")


def test_a_report_beside_text_is_hidden_and_the_text_stays(upstream: Callable[..., Any]) -> None:
    stream = streamed(CHAT, upstream)
    out = stream.feed(dumped(chunk("Hi", usage=REPORT)))
    assert json.loads(sse.payload(out)) == chunk("Hi")
    assert stream.usage == upstream_usage(9, 0, 0, 4, 0)


def test_an_event_without_choices_and_without_a_report_stays(upstream: Callable[..., Any]) -> None:
    # Azure OpenAI begins so: what its filters found in the prompt.
    first = chunk(prompt_filter_results=[{"prompt_index": 0}])
    out = streamed(CHAT, upstream).feed(dumped({**first, "usage": None}))
    assert out == dumped(first)


def test_usage_that_the_application_asked_for_passes(upstream: Callable[..., Any]) -> None:
    stream = streamed(CHAT, upstream, stream_options={"include_usage": True})
    events = [dumped(chunk("Hi", usage=None)), dumped(chunk(usage=REPORT)), DONE]
    assert fed(stream, events) == b"".join(events)
    assert stream.usage == upstream_usage(9, 0, 0, 4, 0)


def test_a_route_that_was_not_asked_for_usage_has_none_to_hide(upstream: Callable[..., Any]) -> None:
    codec = SameCodec(request(stream=True), None)
    codec.request(Route(upstream(), "there"))
    codec.request(Route(upstream(stream_usage=False), "there"))
    event = dumped(chunk("Hi", usage=REPORT))
    assert codec.stream().feed(event) == event


CALLS = [{"index": 0, "function": {"name": "look", "arguments": '{"model": "served"}'}}]
RESPONSE_TOOLS = [{"name": "f", "parameters": {"properties": {"model": {"type": "string"}}}}]


@pytest.mark.parametrize(
    ("api", "name", "document"),
    [
        (CHAT, "", chunk('"model": "served"', model="served")),
        (CHAT, "", chunk("served", model="served", system_fingerprint="served")),
        (CHAT, "", {"choices": [{"delta": {"tool_calls": CALLS}}], "model": "served"}),
        (CHAT, "", {"choices": [{"delta": {"model": "inner"}}], "model": "served"}),
        (COMPLETIONS, "", {"model": "served", "choices": [{"text": "served"}]}),
        (RESPONSES, "response.created", {"type": "response.created", "response": {"model": "served"}}),
        (
            RESPONSES,
            "response.completed",
            {"type": "response.completed", "response": {"tools": RESPONSE_TOOLS, "model": "served"}},
        ),
        (
            MESSAGES,
            "message_start",
            {"type": "message_start", "message": {"id": "m", "model": "served", "content": []}},
        ),
    ],
)
@pytest.mark.parametrize("spaced", [False, True])
def test_the_model_that_served_is_renamed_and_nothing_else(
    api: str, name: str, document: dict[str, Any], spaced: bool, upstream: Callable[..., Any]
) -> None:
    event = dumped(document, name=name, spaced=spaced)
    space = b" " if spaced else b""
    stream = streamed(api, upstream)
    expected = event.replace(b'"model":' + space + b'"served"', b'"model":' + space + b'"asked"')
    assert expected != event
    assert stream.feed(event) == expected
    assert stream.model == "served"
    assert streamed(api, upstream, None).feed(event) == event


def test_a_name_that_is_written_with_escapes_is_renamed_too(upstream: Callable[..., Any]) -> None:
    # PHP's json_encode writes a slash so.
    event = b'data: {"model":"qwen\\/qwen3","choices":[]}\n\n'
    assert streamed(CHAT, upstream).feed(event) == b'data: {"model":"asked","choices":[]}\n\n'


RESPONSES_REPORT = {"input_tokens": 7, "output_tokens": 3}


@pytest.mark.parametrize(
    ("api", "documents", "usage", "chars", "finished"),
    [
        (CHAT, [chunk("Hi"), chunk(" you")], UNKNOWN, 6, False),
        (CHAT, [chunk("Hi"), chunk(usage=REPORT)], upstream_usage(9, 0, 0, 4, 0), 2, False),
        (CHAT, [{"choices": [{"delta": {"tool_calls": CALLS}}]}], UNKNOWN, 4 + 19, False),
        (COMPLETIONS, [{"choices": [{"text": "Hello"}]}], UNKNOWN, 5, False),
        (
            RESPONSES,
            [
                {"type": "response.output_text.delta", "delta": "Hello"},
                {"type": "response.completed", "response": {"usage": RESPONSES_REPORT}},
            ],
            upstream_usage(7, 0, 0, 3, 0),
            5,
            True,
        ),
        (
            RESPONSES,
            [{"type": "response.incomplete", "response": {"usage": RESPONSES_REPORT}}],
            upstream_usage(7, 0, 0, 3, 0),
            0,
            True,
        ),
        (
            MESSAGES,
            [
                {
                    "type": "message_start",
                    "message": {
                        "usage": {"input_tokens": 7, "cache_read_input_tokens": 5, "output_tokens": 1}
                    },
                },
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}},
                {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}},
                {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "Hm"}},
                {"type": "message_delta", "usage": {"output_tokens": 3}},
                {"type": "message_stop"},
            ],
            upstream_usage(7, 5, 0, 3, 0),
            9,
            True,
        ),
        (
            MESSAGES,
            [
                {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}},
                {"type": "message_delta", "usage": {"input_tokens": 7, "output_tokens": 3}},
            ],
            upstream_usage(7, 0, 0, 3, 0),
            0,
            False,
        ),
    ],
)
def test_a_stream_tells_its_usage_its_length_and_its_end(
    api: str,
    documents: list[dict[str, Any]],
    usage: Usage,
    chars: int,
    finished: bool,
    upstream: Callable[..., Any],
) -> None:
    stream = streamed(api, upstream, stream_options={"include_usage": True})
    events = [dumped(document) for document in documents]
    assert fed(stream, events) == b"".join(events)
    assert (stream.usage, stream.output_chars, stream.finished) == (usage, chars, finished)
    assert stream.error == ""


@pytest.mark.parametrize("api", [CHAT, COMPLETIONS])
def test_a_stream_of_chunks_ends_with_done(api: str, upstream: Callable[..., Any]) -> None:
    stream = streamed(api, upstream)
    assert stream.feed(DONE) == DONE
    assert stream.finished


@pytest.mark.parametrize(
    ("api", "document", "error"),
    [
        (CHAT, {"error": {"message": "overloaded", "code": 503}}, "overloaded"),
        (CHAT, {"error": "overloaded"}, "overloaded"),
        (RESPONSES, {"type": "error", "message": "overloaded"}, "overloaded"),
        (
            RESPONSES,
            {"type": "response.failed", "response": {"error": {"message": "overloaded"}}},
            "overloaded",
        ),
        (MESSAGES, {"type": "error", "error": {"type": "x", "message": "overloaded"}}, "overloaded"),
    ],
)
def test_an_error_event_passes_and_is_told(
    api: str, document: dict[str, Any], error: str, upstream: Callable[..., Any]
) -> None:
    stream = streamed(api, upstream)
    assert stream.feed(dumped(document)) == dumped(document)
    assert (stream.error, stream.finished) == (error, False)


def test_an_error_that_is_null_is_none(upstream: Callable[..., Any]) -> None:
    stream = streamed(CHAT, upstream)
    stream.feed(dumped(chunk("Hi", error=None)))
    assert (stream.error, stream.output_chars) == ("", 2)


@pytest.mark.parametrize(
    "event", [b": keep-alive\n\n", b"event: ping\n\n", b"data: 5\n\n", b"data: []\n\n", b"\n\n"]
)
@pytest.mark.parametrize("api", INPUTS)
def test_what_says_nothing_passes(api: str, event: bytes, upstream: Callable[..., Any]) -> None:
    assert streamed(api, upstream).feed(event) == event


def test_an_event_that_is_no_json_is_broken(upstream: Callable[..., Any]) -> None:
    with pytest.raises(DomainError) as caught:
        streamed(CHAT, upstream).feed(b'data: {"choices": [\n\n')
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        (
            CHAT,
            {"error": {"message": "cut", "type": "server_error", "param": None, "code": "upstream_broken"}},
        ),
        (
            RESPONSES,
            {
                "type": "error",
                "code": "upstream_broken",
                "message": "cut",
                "param": None,
                "sequence_number": 0,
            },
        ),
        (MESSAGES, {"type": "error", "error": {"type": "api_error", "message": "cut"}}),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error_in_its_protocol(
    api: str, expected: dict[str, Any], upstream: Callable[..., Any]
) -> None:
    event = streamed(api, upstream).broken(DomainError(Reason.UPSTREAM_BROKEN, "cut"))
    assert json.loads(sse.payload(event)) == expected
    assert event.startswith(b"data:" if api == CHAT else b"event: error\n")
    assert event.endswith(b"\n\n")


WHOLE_CHUNK = {
    "model": "served",
    "choices": [{"index": 0, "delta": {"content": "a", "tool_calls": CALLS}}],
    "usage": {**REPORT, "prompt_tokens_details": {"cached_tokens": 1}},
}
EVENTS = [
    (CHAT, WHOLE_CHUNK),
    (COMPLETIONS, {**WHOLE_CHUNK, "choices": [{"index": 0, "text": "a"}]}),
    (
        RESPONSES,
        {
            "type": "response.completed",
            "delta": "x",
            "response": {"model": "served", "usage": RESPONSES_REPORT},
        },
    ),
    (RESPONSES, {"type": "response.failed", "response": {"error": {"message": "x"}}}),
    (MESSAGES, {"type": "message_start", "message": {"model": "served", "usage": {"input_tokens": 1}}}),
    (MESSAGES, {"type": "content_block_delta", "delta": {"text": "x"}}),
    (MESSAGES, {"type": "message_delta", "usage": {"output_tokens": 1}}),
    (MESSAGES, {"type": "error", "error": {"message": "x"}}),
]


@pytest.mark.parametrize(("api", "document"), EVENTS)
def test_an_upstream_that_sends_other_types_does_no_harm(
    api: str, document: dict[str, Any], upstream: Callable[..., Any], harm: Callable[..., Any]
) -> None:
    def stream(document: object) -> None:
        streamed(api, upstream).feed(dumped(document))

    def answer(document: object) -> None:
        SameCodec(request(api), "asked").answer(json.dumps(document).encode())

    assert harm(document, stream, Reason.UPSTREAM_BROKEN) == []
    assert harm(document, answer, Reason.UPSTREAM_BROKEN) == []


# Errors


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            DomainError(Reason.INVALID_REQUEST, "bad", field="messages"),
            {
                "message": "bad",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "invalid_request",
            },
        ),
        (
            DomainError(Reason.INVALID_REQUEST, "bad", field=""),
            {"message": "bad", "type": "invalid_request_error", "param": None, "code": "invalid_request"},
        ),
        (
            DomainError(Reason.RATE_LIMITED, "slow", retry_after_s=1),
            {"message": "slow", "type": "rate_limit_error", "param": None, "code": "rate_limited"},
        ),
    ],
)
def test_openais_clients_get_an_error_in_their_shape(error: DomainError, expected: dict[str, Any]) -> None:
    for api in (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES):
        assert json.loads(dialects.error_body(api, error)) == {"error": expected}


def test_anthropics_clients_get_an_error_in_theirs() -> None:
    assert json.loads(dialects.error_body(MESSAGES, DomainError(Reason.OVERLOADED, "busy"))) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy"},
    }
