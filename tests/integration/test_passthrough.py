"""What an application sends arrives as it was sent, but for what Homeward must change; and is booked once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.support.anthropic_upstream import Received, Recorder
from tests.support.stack import SECRETS, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

NARROW_KEY = "hw-test-narrow"
SETTINGS = f"""
[upstreams.recorder]
base_url = "{{recorder}}"
api_key = "sk-recorder-secret"
models = ["recorded-*"]

[models.alias]
routes = [{{{{ upstream = "recorder", model = "recorded-1" }}}}]

[keys.narrow]
sha256 = "{hashlib.sha256(NARROW_KEY.encode()).hexdigest()}"
workloads = ["summaries"]
default_workload = "summaries"
"""
ODD_BODY = (
    b'{ "model" :\t"recorded-1" ,  "temperature":1.0, "top_p" : 1e0,"max_tokens":1E3,\r\n'
    b'  "seed": 123456789012345678901, "x_unknown":{"b":[1.50,-0.0,1e-7],"a":null,"\\u0061":"\\u00e9\\/"},\n'
    b'\t"messages":[{"role":"user","content":"caf\\u00e9 \xc3\xa9 \\ud83d\\ude00 \\"model\\": \\"x\\""}],'
    b' "user" : "\xe2\x82\xac" }  \n'
)
"""JSON as no serialiser of ours would write it."""
ANSWER = (
    b'{ "id":"chatcmpl-1", "object":"chat.completion","created":1.0e0, "model":\t"recorded-1",\n'
    b'  "choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9\\/"},"finish_reason":"stop"}],'
    b' "usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14},"x":12345678901234567890123 }\n'
)
EVENTS = (
    b": a comment\n\n",
    b'data: {"model" : "recorded-1","choices":[{"index":0,"delta":{"content":"\\u00e9"}}]}\n\n',
    b'data:{"model":"recorded-1", "choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\r\n\r\n',
    b"data: [DONE]\n\n",
)
QUESTION = {"role": "user", "content": "Where is my card?"}


OF_THE_UPSTREAM = {
    "Connection": "keep-alive, X-Of-That-Hop",
    "X-Of-That-Hop": "1",
    "Set-Cookie": "a=b",
    "Alt-Svc": 'h3=":443"; ma=86400',
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Proxy-Connection": "keep-alive",
    "Upgrade-Insecure-Requests": "1",
}
"""Headers of the answer that say something of the connection to the upstream, or of its host."""


async def answer(request: web.Request, received: Received) -> web.StreamResponse:
    """What the recorder answers."""
    headers = {"x-request-id": "req_1", "openai-processing-ms": "5", "x-odd": "kept", **OF_THE_UPSTREAM}
    if not received.document.get("stream"):
        return web.Response(body=ANSWER, content_type="application/json", headers=headers)
    response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    for event in EVENTS:
        await response.write(event)
    return response


@pytest.fixture(scope="module")
async def recorder() -> AsyncIterator[Recorder]:
    async with Recorder(answer).running() as running:
        yield running


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, recorder: Recorder) -> AsyncIterator[Stack]:
    settings = SETTINGS.format(recorder=recorder.base_url)
    async with Stack(tmp_path_factory.mktemp("passthrough"), settings) as running:
        await running.start()
        yield running


async def post(
    stack: Stack,
    body: bytes | dict[str, Any],
    path: str = "chat/completions",
    key: str = SECRETS.api_key,
    headers: Mapping[str, str] = {},
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Sends a request as it stands."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stack.base_url}/{path}", data=data, headers=sent) as response,
    ):
        return response, await response.read()


def chat(*messages: dict[str, Any], model: str = "stand-in-mini", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [*messages, QUESTION], **fields}


# --- the body ----------------------------------------------------------------------------------------


async def test_a_body_and_its_answer_pass_byte_for_byte(stack: Stack, recorder: Recorder) -> None:
    response, body = await post(stack, ODD_BODY)
    assert response.status == 200
    assert recorder.last.body == ODD_BODY
    assert recorder.last.path == "/v1/chat/completions"
    assert body == ANSWER
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["completions", "embeddings", "responses"])
async def test_the_other_calls_pass_byte_for_byte_too(stack: Stack, recorder: Recorder, path: str) -> None:
    body = b'{"model" : "recorded-1","prompt":"\\u0061", "input": "\\u0061" ,"n":1.0 }'
    response, answered = await post(stack, body, path)
    assert response.status == 200
    assert (recorder.last.path, recorder.last.body) == (f"/v1/{path}", body)
    assert answered == ANSWER


async def test_only_the_request_for_usage_is_added_to_a_streamed_body(
    stack: Stack, recorder: Recorder
) -> None:
    body = ODD_BODY.replace(b"{", b'{"stream":true ,', 1)
    response, answered = await post(stack, body)
    assert response.status == 200
    added = b'"stream_options":{"include_usage":true},'
    assert recorder.last.body.count(added) == 1
    assert recorder.last.body.replace(added, b"", 1) == body
    assert answered == b"".join(EVENTS)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"


async def test_a_streamed_body_that_asks_for_usage_is_not_touched(stack: Stack, recorder: Recorder) -> None:
    options = b'{"stream":true ,"stream_options" : { "include_usage": true },'
    body = ODD_BODY.replace(b"{", options, 1)
    await post(stack, body)
    assert recorder.last.body == body


async def test_options_of_the_stream_are_kept_beside_the_request_for_usage(
    stack: Stack, recorder: Recorder
) -> None:
    options = b'{"stream":true ,"stream_options" : { "include_obfuscation": false } ,'
    body = ODD_BODY.replace(b"{", options, 1)
    await post(stack, body)
    merged = b'{"include_obfuscation":false,"include_usage":true}'
    assert recorder.last.body == body.replace(b'{ "include_obfuscation": false }', merged, 1)


async def test_a_streamed_response_asks_for_nothing_that_its_api_does_not_have(
    stack: Stack, recorder: Recorder
) -> None:
    body = b'{"model" : "recorded-1","input":"\\u0061", "stream" : true }'
    await post(stack, body, "responses")
    assert recorder.last.body == body


async def test_only_the_models_name_is_changed_for_an_alias(stack: Stack, recorder: Recorder) -> None:
    body = ODD_BODY.replace(b'"recorded-1"', b'"alias"')
    _, answered = await post(stack, body)
    assert recorder.last.body == ODD_BODY
    assert answered == ANSWER.replace(b'"recorded-1"', b'"alias"')


async def test_only_the_models_name_is_changed_in_a_stream_for_an_alias(
    stack: Stack, recorder: Recorder
) -> None:
    body = ODD_BODY.replace(b'"recorded-1"', b'"alias"').replace(b"{", b'{"stream":true ,', 1)
    _, answered = await post(stack, body)
    assert recorder.last.document["model"] == "recorded-1"
    assert answered == b"".join(EVENTS).replace(b'"recorded-1"', b'"alias"')


# --- the headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", ["Authorization", "x-api-key"])
@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
async def test_keys_are_exchanged_at_the_door(
    stack: Stack, recorder: Recorder, carrier: str, path: str
) -> None:
    body = {"model": "recorded-1", "messages": [QUESTION], "input": "x"}
    secret = f"Bearer {SECRETS.api_key}" if carrier == "Authorization" else SECRETS.api_key
    async with (
        aiohttp.ClientSession(headers={carrier: secret}) as session,
        session.post(f"{stack.base_url}/{path}", json=body) as response,
    ):
        assert response.status == 200
    assert recorder.last.headers["authorization"] == "Bearer sk-recorder-secret"
    assert [name.lower() for name, _ in recorder.last.raw_headers].count(b"authorization") == 1
    assert "x-api-key" not in recorder.last.headers
    assert SECRETS.api_key.encode() not in recorder.last.wire


async def test_the_callers_trace_goes_on_to_the_upstream(stack: Stack, recorder: Recorder) -> None:
    trace_id, parent = os.urandom(16).hex(), os.urandom(8).hex()
    headers = {"traceparent": f"00-{trace_id}-{parent}-01", "tracestate": "vendor=opaque"}
    response, _ = await post(stack, ODD_BODY, headers=headers)
    version, sent_trace, sent_parent, flags = recorder.last.headers["traceparent"].split("-")
    assert (version, sent_trace, flags) == ("00", trace_id, "01")
    assert sent_parent != parent
    assert recorder.last.headers["tracestate"] == "vendor=opaque"
    assert response.headers["x-homeward-trace-id"] == trace_id
    (leg,) = await stack.legs(1, "span_id", where=f"trace_id = '{trace_id}'")
    assert leg["span_id"] == sent_parent


async def test_a_request_without_a_trace_begins_one(stack: Stack, recorder: Recorder) -> None:
    response, _ = await post(stack, ODD_BODY)
    assert recorder.last.headers["traceparent"].split("-")[1] == response.headers["x-homeward-trace-id"]


async def test_a_trace_that_is_not_sampled_stays_so_and_its_leg_is_booked(
    stack: Stack, recorder: Recorder
) -> None:
    trace_id = os.urandom(16).hex()
    await post(stack, ODD_BODY, headers={"traceparent": f"00-{trace_id}-{os.urandom(8).hex()}-00"})
    assert recorder.last.headers["traceparent"].startswith(f"00-{trace_id}-")
    assert recorder.last.headers["traceparent"].endswith("-00")
    await stack.legs(1, "leg_id", where=f"trace_id = '{trace_id}'")


OF_THE_CONNECTION = {
    "Connection": "keep-alive, X-Of-This-Hop",
    "X-Of-This-Hop": "1",
    "Keep-Alive": "timeout=5",
    "TE": "trailers",
    "Trailer": "x-checksum",
    "Proxy-Authorization": "Basic secret-of-a-proxy",
    "Proxy-Connection": "keep-alive",
    "X-Forwarded-For": "10.1.2.3",
    "Forwarded": "for=10.1.2.3",
    "Via": "1.1 proxy",
    "Cookie": "session=secret-of-a-browser",
    "X-Homeward-Workload": "summaries",
    "X-Homeward-Conversation": "c-1",
    "X-Homeward-Anything": "1",
}
OF_THE_APPLICATIONS_ACCOUNT = {
    # The SDK sends these two if the environment has them, and OpenAI refuses them with another's key.
    "OpenAI-Organization": "org-1",
    "OpenAI-Project": "proj-1",
    "api-key": "secret-of-azure",
    "x-goog-api-key": "secret-of-google",
}


async def test_headers_of_this_connection_of_the_application_and_of_homeward_do_not_arrive(
    stack: Stack, recorder: Recorder
) -> None:
    headers = OF_THE_CONNECTION | OF_THE_APPLICATIONS_ACCOUNT
    response, _ = await post(stack, ODD_BODY, headers=headers)
    assert response.status == 200
    arrived = recorder.last.headers
    # The connection to the upstream has a Connection header of its own.
    sent = {name.lower(): value for name, value in headers.items()}
    assert not {name for name in sent.keys() & arrived.keys() if arrived[name] == sent[name]}
    assert not [name for name in arrived if name.startswith("x-homeward-")]
    assert b"secret-of-a" not in recorder.last.wire
    assert b"10.1.2.3" not in recorder.last.wire
    assert arrived["host"] == recorder.base_url.removeprefix("http://").removesuffix("/v1")


async def test_other_headers_arrive(stack: Stack, recorder: Recorder) -> None:
    headers = {
        "OpenAI-Beta": "assistants=v2",
        "Idempotency-Key": "i-1",
        "User-Agent": "an-app/1.0",
        "X-Odd": "caf\u00e9",
    }
    await post(stack, ODD_BODY, headers=headers)
    expected = {name.lower(): value for name, value in headers.items()}
    assert {name: recorder.last.headers[name] for name in expected} == expected
    assert recorder.last.headers["content-type"] == "application/json"


async def test_headers_of_the_answer_come_back_but_for_those_of_its_connection(stack: Stack) -> None:
    response, _ = await post(stack, ODD_BODY)
    assert response.headers["x-request-id"] == "req_1"
    assert response.headers["openai-processing-ms"] == "5"
    assert response.headers["x-odd"] == "kept"
    assert response.headers.get("Connection", "keep-alive") == "keep-alive"
    assert not (OF_THE_UPSTREAM.keys() - {"Connection"}) & response.headers.keys()


async def test_a_client_that_offers_http2_is_answered(stack: Stack, recorder: Recorder) -> None:
    # Java's HttpClient does so with every first request over plain HTTP.
    headers = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    }
    response, body = await post(stack, ODD_BODY, headers=headers)
    assert (response.status, body) == (200, ANSWER)
    assert recorder.last.body == ODD_BODY
    assert not recorder.last.headers.keys() & {"upgrade", "http2-settings"}


async def test_a_body_in_chunks_arrives_whole(stack: Stack, recorder: Recorder) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(ODD_BODY), 50):
            yield ODD_BODY[start : start + 50]

    headers = {"Authorization": f"Bearer {SECRETS.api_key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{stack.base_url}/chat/completions", data=pieces()) as response,
    ):
        assert response.status == 200
    assert recorder.last.body == ODD_BODY
    assert recorder.last.headers["content-length"] == str(len(ODD_BODY))


# --- naming ------------------------------------------------------------------------------------------

TRIAGE = {"role": "system", "content": "You triage tickets."}


@pytest.mark.parametrize(
    ("messages", "headers", "key", "workload", "evidence"),
    [
        ([], {"x-homeward-workload": "summaries"}, SECRETS.api_key, "summaries", "declared"),
        # What is declared ranks above what the prompt looks like.
        ([TRIAGE], {"x-homeward-workload": "summaries"}, SECRETS.api_key, "summaries", "declared"),
        ([TRIAGE], {}, SECRETS.api_key, "ticket-triage", "fingerprint"),
        (
            [{"role": "system", "content": "  You\ttriage\n\n tickets.\r\n"}],
            {},
            SECRETS.api_key,
            "ticket-triage",
            "fingerprint",
        ),
        (
            [{"role": "developer", "content": [{"type": "text", "text": "You triage tickets."}]}],
            {},
            SECRETS.api_key,
            "ticket-triage",
            "fingerprint",
        ),
        ([{"role": "system", "content": "You triage."}], {}, SECRETS.api_key, "", "abstained"),
        ([], {}, SECRETS.api_key, "", "abstained"),
        ([], {}, NARROW_KEY, "summaries", "declared"),
    ],
    ids=[
        "header",
        "header above fingerprint",
        "fingerprint",
        "other white space",
        "developer message in parts",
        "other prompt",
        "nothing",
        "key's default",
    ],
)
async def test_a_request_is_named_by_the_strongest_evidence(
    stack: Stack,
    messages: list[dict[str, Any]],
    headers: dict[str, str],
    key: str,
    workload: str,
    evidence: str,
) -> None:
    response, _ = await post(stack, chat(*messages), key=key, headers=headers)
    assert response.status == 200
    assert response.headers["x-homeward-workload"] == workload
    assert response.headers["x-homeward-evidence"] == evidence
    request_id = response.headers["x-homeward-request-id"]
    (leg,) = await stack.legs(1, where=f"request_id = '{request_id}'")
    assert (leg["workload"], leg["evidence"]) == (workload, evidence)
    assert leg["key_name"] == ("demo" if key == SECRETS.api_key else "narrow")


@pytest.mark.parametrize("path", ["chat/completions", "responses", "embeddings"])
async def test_a_workload_that_is_not_registered_is_refused_with_the_nearest_name(
    stack: Stack, path: str
) -> None:
    body = {"model": "stand-in-mini", "messages": [QUESTION], "input": "x"}
    response, refused = await post(stack, body, path, headers={"x-homeward-workload": "ticket-triag"})
    assert response.status == 400
    error = orjson.loads(refused)["error"]
    assert error["code"] == "workload_not_found"
    assert error["type"] == "invalid_request_error"
    assert "'ticket-triage'" in error["message"]


async def test_a_workload_that_the_key_may_not_use_is_refused(stack: Stack) -> None:
    response, refused = await post(
        stack, chat(), key=NARROW_KEY, headers={"x-homeward-workload": "ticket-triage"}
    )
    assert response.status == 403
    assert orjson.loads(refused)["error"]["code"] == "workload_forbidden"


# --- the book ----------------------------------------------------------------------------------------


def stated_usage(body: bytes, *, streamed: bool) -> dict[str, Any]:
    """The usage as the answer tells it."""
    if not streamed:
        usage: dict[str, Any] = orjson.loads(body)["usage"]
        return usage
    events = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: {")]
    usage = orjson.loads(events[-1])["usage"]
    return usage


@pytest.mark.parametrize("model", ["gpt-4o-mini", "stand-in-mini"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_each_request_is_one_leg_with_its_token_classes_and_its_cost(
    stack: Stack, model: str, streamed: bool
) -> None:
    trace_id = os.urandom(16).hex()
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    # Long enough for the stand-in's prompt cache, and of this test alone.
    history = {"role": "user", "content": f"{trace_id} " + "The card was sent to Ghent. " * 300}
    body = chat(TRIAGE, history, model=model, stream=streamed, max_tokens=30)
    if streamed:
        body["stream_options"] = {"include_usage": True}
    responses = [await post(stack, body, headers=headers) for _ in range(2)]
    legs = await stack.legs(2, where=f"trace_id = '{trace_id}'")
    assert len(legs) == 2
    assert [str(leg["request_id"]) for leg in legs] == [
        response.headers["x-homeward-request-id"] for response, _ in responses
    ]
    assert legs[0]["cached_input_tokens"] == 0
    assert legs[1]["cached_input_tokens"] >= 1024
    for leg, (response, answered) in zip(legs, responses, strict=True):
        usage = stated_usage(answered, streamed=streamed)
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        classes = {
            "input_tokens": usage["prompt_tokens"] - cached,
            "cached_input_tokens": cached,
            "cache_write_tokens": 0,
            "output_tokens": usage["completion_tokens"],
            "reasoning_tokens": 0,
        }
        assert {name: leg[name] for name in classes} == classes
        # $0.15, $0.075 and $0.60 for a million tokens are 150, 75 and 600 nano-dollars for one.
        cost = classes["input_tokens"] * 150 + cached * 75 + classes["output_tokens"] * 600
        assert leg["cost_nanos"] == cost
        wanted = {
            "usage_source": "upstream",
            "price_source": "settings",
            "key_name": "demo",
            "workload": "ticket-triage",
            "evidence": "fingerprint",
            "task_type": "classification",
            "purpose": "production",
            "target": "cloud",
            "upstream": "cloud",
            "provider": "homeward-stand-in",
            "region": "eu",
            "model_requested": model,
            "model": "stand-in-mini",
            "api": "chat.completions",
            "streamed": streamed,
            "outcome": "ok",
            "http_status": 200,
            "error_reason": "",
            "attempts": 1,
            "policy_version": int(response.headers["x-homeward-policy-version"]),
            "sample_id": "",
        }
        assert {name: leg[name] for name in wanted} == wanted
        assert 0 < leg["ttft_us"] <= leg["latency_us"]


async def test_usage_is_booked_even_if_the_application_did_not_ask_for_it(stack: Stack) -> None:
    response, body = await post(stack, chat(stream=True))
    assert b"usage" not in body
    request_id = response.headers["x-homeward-request-id"]
    (leg,) = await stack.legs(1, where=f"request_id = '{request_id}'")
    assert leg["usage_source"] == "upstream"
    assert leg["output_tokens"] > 0
    assert leg["cost_nanos"] == leg["input_tokens"] * 150 + leg["output_tokens"] * 600


@pytest.mark.parametrize(
    ("path", "body", "api"),
    [
        ("completions", {"model": "stand-in-mini", "prompt": "The card was sent."}, "completions"),
        ("responses", {"model": "stand-in-mini", "input": "Where is my card?"}, "responses"),
        (
            "responses",
            {"model": "stand-in-mini", "input": "Where is my card?", "stream": True},
            "responses",
        ),
        ("embeddings", {"model": "stand-in-embed", "input": "a text"}, "embeddings"),
    ],
    ids=["completions", "responses", "streamed responses", "embeddings"],
)
async def test_every_call_is_booked_with_its_usage(
    stack: Stack, path: str, body: dict[str, Any], api: str
) -> None:
    response, _ = await post(stack, body, path)
    assert response.status == 200
    request_id = response.headers["x-homeward-request-id"]
    (leg,) = await stack.legs(1, where=f"request_id = '{request_id}'")
    assert (leg["api"], leg["outcome"], leg["usage_source"]) == (api, "ok", "upstream")
    assert leg["input_tokens"] > 0
    assert (leg["output_tokens"] == 0) is (api == "embeddings")


async def test_a_model_without_a_price_costs_an_unknown_sum_and_not_nothing(stack: Stack) -> None:
    response, _ = await post(stack, ODD_BODY)
    request_id = response.headers["x-homeward-request-id"]
    (leg,) = await stack.legs(1, where=f"request_id = '{request_id}'")
    assert (leg["input_tokens"], leg["output_tokens"]) == (10, 4)
    assert (leg["cost_nanos"], leg["price_source"]) == (None, "unknown")


async def test_a_request_that_the_upstream_refuses_is_booked_as_rejected_and_costs_nothing(
    stack: Stack,
) -> None:
    response, body = await post(stack, chat(temperature=9))
    assert response.status == 400
    assert orjson.loads(body)["error"]["param"] == "temperature"
    request_id = response.headers["x-homeward-request-id"]
    (leg,) = await stack.legs(1, where=f"request_id = '{request_id}'")
    assert (leg["outcome"], leg["http_status"], leg["error_reason"]) == ("rejected", 400, "UPSTREAM_REJECTED")
    assert (leg["cost_nanos"], leg["price_source"]) == (0, "not_billed")
