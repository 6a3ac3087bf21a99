"""The gRPC door answers chats, types its errors, and lets nothing run on that nobody waits for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import grpc
import orjson
import pytest
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from homeward.common.v1 import chat_pb2, leg_pb2, usage_pb2, workload_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc

from deploy.local.cloud.__main__ import start as start_cloud
from deploy.local.cloud.pace import Pace
from tests.support.stack import SECRETS, Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIAS, SERVED = "gpt-4o-mini", "stand-in-mini"
LAB_KEY, HURRIED_KEY = "hw-test-lab", "hw-test-hurried"
SETTINGS = f"""
[keys.lab]
sha256 = "{hashlib.sha256(LAB_KEY.encode()).hexdigest()}"
scopes = ["experiments"]

[keys.hurried]
sha256 = "{hashlib.sha256(HURRIED_KEY.encode()).hexdigest()}"
requests_per_minute = 2

[upstreams.slow]
base_url = "http://127.0.0.1:{{port}}/v1"
api_key = "sk-slow"

[models.slow]
routes = [{{{{ upstream = "slow", model = "stand-in-mini" }}}}]
"""
SLOWNESS = 10.0
"""Times slower than as published: a first token takes some five seconds, another one an eighth of one."""
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)


@pytest.fixture(scope="module")
async def slow_cloud() -> AsyncIterator[int]:
    """The port of a second stand-in cloud, which takes its time."""
    runner, port = await start_cloud(Pace(SLOWNESS))
    yield port
    await runner.cleanup()


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, slow_cloud: int) -> AsyncIterator[Stack]:
    settings = SETTINGS.format(port=slow_cloud)
    patient = {"HOMEWARD_TIMEOUTS__FIRST_TOKEN_S": "60", "HOMEWARD_TIMEOUTS__ANSWER_S": "60"}
    async with Stack(tmp_path_factory.mktemp("grpc"), settings, **patient) as running:
        await running.start()
        yield running


@pytest.fixture(scope="module")
async def door(stack: Stack) -> AsyncIterator[router_pb2_grpc.RouterServiceStub]:
    async with aio.insecure_channel(stack.grpc) as channel:
        yield router_pb2_grpc.RouterServiceStub(channel)


def caller(key: str = SECRETS.api_key, **metadata: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a caller with a key."""
    return (("authorization", f"Bearer {key}"), *metadata.items())


def text(role: int, *parts: str) -> chat_pb2.Message:
    """A message of text."""
    return chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=part) for part in parts])


def user(*parts: str) -> chat_pb2.Message:
    return text(chat_pb2.ROLE_USER, *parts)


def asks(*messages: chat_pb2.Message, model: str = ALIAS, **fields: Any) -> router_pb2.CompleteRequest:
    """A request for one chat."""
    return router_pb2.CompleteRequest(chat=chat_pb2.Chat(model=model, messages=messages, **fields))


def streamed(request: router_pb2.CompleteRequest) -> router_pb2.CompleteStreamRequest:
    """The same request for a stream."""
    return router_pb2.CompleteStreamRequest(chat=request.chat, routing=request.routing)


def struct(document: dict[str, Any]) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(document)
    return made


def said(message: chat_pb2.Message) -> str:
    return "".join(part.text for part in message.content)


async def arrived(stack: Stack) -> dict[str, Any]:
    """The body of the request that reached the cloud last."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/last") as response:
        last = await response.json()
    document: dict[str, Any] = orjson.loads(base64.b64decode(last["body"]))
    return document


QUESTION = user("Where is my card? It was sent on 2024-05-01 to Ghent.")
WEATHER = chat_pb2.Tool(
    name="get_weather",
    description="Tells the weather in a city.",
    parameters=struct(
        {"type": "object", "properties": {"city": {"type": "string", "maxLength": 40}}, "required": ["city"]}
    ),
)
ASKS_WEATHER = user("What is the weather in Bruges?")


# --- answers -----------------------------------------------------------------------------------------


async def test_a_chat_is_answered_with_usage_and_route(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack
) -> None:
    request = asks(text(chat_pb2.ROLE_SYSTEM, "You triage tickets."), QUESTION)
    trace_id = os.urandom(16).hex()
    answer = await door.Complete(request, metadata=caller(traceparent=f"00-{trace_id}-00f067aa0ba902b7-01"))
    (choice,) = answer.choices
    assert choice.message.role == chat_pb2.ROLE_ASSISTANT
    assert said(choice.message)
    assert choice.finish_reason == chat_pb2.FINISH_REASON_STOP
    assert answer.usage.source == usage_pb2.USAGE_SOURCE_UPSTREAM
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer.usage.HasField("reasoning_tokens")
    route = answer.route
    assert (route.workload, route.evidence) == ("ticket-triage", workload_pb2.EVIDENCE_FINGERPRINT)
    assert (route.target, route.upstream, route.model) == (leg_pb2.TARGET_CLOUD, "cloud", SERVED)
    assert route.policy_version >= 1
    assert route.trace_id == trace_id
    (leg,) = await stack.legs(1, where=f"trace_id = '{trace_id}'")
    assert leg["leg_id"].bytes == route.leg_id
    assert leg["request_id"].bytes == route.request_id
    assert leg["output_tokens"] == answer.usage.output_tokens
    assert (leg["key_name"], leg["model_requested"], leg["purpose"]) == ("demo", ALIAS, "production")


async def test_a_declared_workload_is_the_requests(door: router_pb2_grpc.RouterServiceStub) -> None:
    request = asks(QUESTION)
    request.routing.workload = "summaries"
    answer = await door.Complete(request, metadata=caller())
    assert answer.route.workload == "summaries"
    assert answer.route.evidence == workload_pb2.EVIDENCE_DECLARED


async def test_a_stream_opens_with_its_route_and_closes_with_its_usage(
    door: router_pb2_grpc.RouterServiceStub,
) -> None:
    trace_id = os.urandom(16).hex()
    metadata = caller(traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    events = [event async for event in door.CompleteStream(streamed(asks(QUESTION)), metadata=metadata)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["route", *["delta"] * (len(kinds) - 2), "end"]
    assert "".join(event.delta.text for event in events)
    assert events[-2].delta.finish_reason == chat_pb2.FINISH_REASON_STOP
    assert events[0].route.trace_id == trace_id
    end = events[-1].end
    assert end.route.leg_id == events[0].route.leg_id
    assert end.route.model == SERVED
    assert end.usage.output_tokens > 0
    assert end.usage.source == usage_pb2.USAGE_SOURCE_UPSTREAM


async def test_several_answers_are_told_apart(door: router_pb2_grpc.RouterServiceStub) -> None:
    request = asks(QUESTION, sampling=chat_pb2.SamplingParameters(n=3))
    answer = await door.Complete(request, metadata=caller())
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    events = [event async for event in door.CompleteStream(streamed(request), metadata=caller())]
    assert {event.delta.choice_index for event in events if event.HasField("delta")} == {0, 1, 2}


async def test_sampling_reaches_the_cloud_as_it_is(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack
) -> None:
    sampling = chat_pb2.SamplingParameters(
        max_tokens=3, temperature=0.0, top_p=0.9, seed=7, stop=["END"], presence_penalty=-1, n=1
    )
    answer = await door.Complete(asks(QUESTION, sampling=sampling), metadata=caller())
    assert answer.choices[0].finish_reason == chat_pb2.FINISH_REASON_LENGTH
    assert answer.usage.output_tokens == 3
    wanted = {
        "max_completion_tokens": 3,
        "temperature": 0.0,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "presence_penalty": -1.0,
        "n": 1,
    }
    body = await arrived(stack)
    assert {key: value for key, value in body.items() if key not in ("model", "messages")} == wanted


async def test_a_tool_is_called_and_its_result_is_understood(
    door: router_pb2_grpc.RouterServiceStub,
) -> None:
    asked = await door.Complete(asks(ASKS_WEATHER, tools=[WEATHER]), metadata=caller())
    assert asked.choices[0].finish_reason == chat_pb2.FINISH_REASON_TOOL_CALLS
    (call,) = asked.choices[0].message.tool_calls
    assert call.id
    assert call.name == "get_weather"
    assert isinstance(orjson.loads(call.arguments_json)["city"], str)
    result = text(chat_pb2.ROLE_TOOL, '{"sky":"overcast"}')
    result.tool_call_id = call.id
    answer = await door.Complete(
        asks(ASKS_WEATHER, asked.choices[0].message, result, tools=[WEATHER]), metadata=caller()
    )
    assert "overcast" in said(answer.choices[0].message)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [("required", chat_pb2.FINISH_REASON_TOOL_CALLS), ("get_weather", chat_pb2.FINISH_REASON_STOP)],
)
async def test_a_tool_call_is_streamed_piece_by_piece(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack, choice: str, reason: int
) -> None:
    request = asks(ASKS_WEATHER, tools=[WEATHER], tool_choice=choice)
    events = [event async for event in door.CompleteStream(streamed(request), metadata=caller())]
    pieces = [piece for event in events for piece in event.delta.tool_calls]
    assert len(pieces) > 2
    assert [bool(piece.id) for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert pieces[0].name == "get_weather"
    assert isinstance(orjson.loads("".join(piece.arguments_json for piece in pieces))["city"], str)
    assert events[-2].delta.finish_reason == reason
    # A Struct knows only doubles; the schema's whole numbers arrive as such.
    schema = (await arrived(stack))["tools"][0]["function"]["parameters"]
    assert type(schema["properties"]["city"]["maxLength"]) is int


async def test_an_answer_keeps_to_its_json_schema(door: router_pb2_grpc.RouterServiceStub) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "late": {"type": "boolean"}},
        "required": ["city", "late"],
        "additionalProperties": False,
    }
    form = chat_pb2.ResponseFormat(
        json_schema=chat_pb2.JsonSchema(name="parcel", schema=struct(schema), strict=True)
    )
    answer = await door.Complete(asks(QUESTION, response_format=form), metadata=caller())
    parcel = orjson.loads(said(answer.choices[0].message))
    assert parcel.keys() == {"city", "late"}
    assert isinstance(parcel["late"], bool)


async def test_an_answer_is_a_json_object_if_asked_for(door: router_pb2_grpc.RouterServiceStub) -> None:
    form = chat_pb2.ResponseFormat(json_object=True)
    question = user('Give JSON with the key "city". The card was sent to Ghent.')
    answer = await door.Complete(asks(question, response_format=form), metadata=caller())
    assert "city" in orjson.loads(said(answer.choices[0].message))


async def test_extra_fields_reach_the_cloud(door: router_pb2_grpc.RouterServiceStub, stack: Stack) -> None:
    extra = {"x_unknown": {"a": [1, 2.5, None, "b"]}, "logit_bias": {"50256": -100}, "store": False}
    await door.Complete(asks(QUESTION, extra_fields=struct(extra)), metadata=caller())
    body = await arrived(stack)
    assert {key: body[key] for key in extra} == extra
    assert type(body["logit_bias"]["50256"]) is int


@pytest.mark.parametrize("number", [1e300, -(2.0**70), 0.1, 2.0**53])
async def test_an_extra_number_of_any_size_reaches_the_cloud(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack, number: float
) -> None:
    await door.Complete(asks(QUESTION, extra_fields=struct({"x": number})), metadata=caller())
    assert (await arrived(stack))["x"] == number


@pytest.mark.parametrize("url", [PIXEL, "https://example.org/cat.png"])
async def test_an_image_reaches_the_model(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack, url: str
) -> None:
    message = chat_pb2.Message(
        role=chat_pb2.ROLE_USER,
        content=[chat_pb2.ContentPart(text="What is this?"), chat_pb2.ContentPart(image_url=url)],
    )
    answer = await door.Complete(asks(message), metadata=caller())
    assert "1 image" in said(answer.choices[0].message)
    (turn,) = (await arrived(stack))["messages"]
    assert turn["content"][1] == {"type": "image_url", "image_url": {"url": url}}


async def test_models_are_listed_in_order_with_their_calls(door: router_pb2_grpc.RouterServiceStub) -> None:
    models = (await door.ListModels(router_pb2.ListModelsRequest(), metadata=caller())).models
    names = [model.name for model in models]
    assert names == sorted(names)
    assert {ALIAS, "slow"} <= set(names)
    assert set(next(model for model in models if model.name == ALIAS).apis) == {
        "chat.completions",
        "completions",
        "embeddings",
        "responses",
    }


async def test_a_key_of_the_laboratory_may_ask_for_a_leg_of_an_experiment(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack
) -> None:
    request = asks(QUESTION)
    sample_id = os.urandom(16)
    request.routing.purpose = leg_pb2.PURPOSE_SHADOW
    request.routing.target = leg_pb2.TARGET_CLOUD
    request.routing.sample_id = sample_id
    await door.Complete(request, metadata=caller(LAB_KEY))
    (leg,) = await stack.legs(1, where=f"sample_id = '{sample_id.hex()}'")
    assert (leg["purpose"], leg["target"], leg["key_name"]) == ("shadow", "cloud", "lab")


# --- errors ------------------------------------------------------------------------------------------


async def failure(call: Any) -> tuple[aio.AioRpcError, error_details_pb2.ErrorInfo, Sequence[Any]]:
    """The error of a call, unary or streamed, its ErrorInfo, and its other details."""
    with pytest.raises(aio.AioRpcError) as caught:
        await (call if isinstance(call, aio.UnaryUnaryCall) else anext(aiter(call)))
    status = rpc_status.from_call(caught.value)
    assert status is not None, "no google.rpc.Status came with the error"
    assert status.code == caught.value.code().value[0]
    assert status.message == caught.value.details()
    info = error_details_pb2.ErrorInfo()
    first, *others = status.details
    assert first.Unpack(info)
    assert info.domain == "homeward"
    return caught.value, info, others


def shadowed() -> router_pb2.CompleteRequest:
    request = asks(QUESTION)
    request.routing.purpose = leg_pb2.PURPOSE_SHADOW
    return request


def sampled() -> router_pb2.CompleteRequest:
    request = asks(QUESTION)
    request.routing.sample_id = os.urandom(16)
    return request


def experimental(**routing: Any) -> router_pb2.CompleteRequest:
    request = asks(QUESTION)
    request.routing.CopyFrom(router_pb2.Routing(**{"purpose": leg_pb2.PURPOSE_NOISE, **routing}))
    return request


UNKNOWN_WORD = 99
"""A number that no enumeration of the contract has; proto3 lets it through."""


def of_workload(name: str) -> router_pb2.CompleteRequest:
    request = asks(QUESTION)
    request.routing.workload = name
    return request


@pytest.mark.parametrize("kind", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("request_", "metadata", "code", "reason", "details"),
    [
        (asks(QUESTION), (), "UNAUTHENTICATED", "KEY_MISSING", {}),
        (asks(QUESTION), caller("hw-nobody"), "UNAUTHENTICATED", "KEY_INVALID", {}),
        (asks(QUESTION, model="gpt-9"), caller(), "NOT_FOUND", "MODEL_NOT_FOUND", {"model": "gpt-9"}),
        (asks(QUESTION, model=""), caller(), "INVALID_ARGUMENT", "INVALID_REQUEST", {"field": "chat.model"}),
        (asks(), caller(), "INVALID_ARGUMENT", "INVALID_REQUEST", {"field": "chat.messages"}),
        (
            asks(text(chat_pb2.ROLE_UNSPECIFIED, "x")),
            caller(),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "chat.messages[0].role", "got": "ROLE_UNSPECIFIED"},
        ),
        (
            asks(QUESTION, sampling=chat_pb2.SamplingParameters(temperature=3)),
            caller(),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "chat.sampling.temperature"},
        ),
        (
            asks(QUESTION, sampling=chat_pb2.SamplingParameters(top_p=0)),
            caller(),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "chat.sampling.top_p"},
        ),
        (
            asks(QUESTION, extra_fields=struct({"stream": True})),
            caller(),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "chat.extra_fields.stream"},
        ),
        (sampled(), caller(), "INVALID_ARGUMENT", "INVALID_REQUEST", {"field": "routing.target"}),
        (
            shadowed(),
            caller(),
            "PERMISSION_DENIED",
            "PURPOSE_FORBIDDEN",
            {"key": "demo", "purpose": "SHADOW"},
        ),
        (
            experimental(purpose=UNKNOWN_WORD),
            caller(LAB_KEY),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "routing.purpose"},
        ),
        (
            experimental(target=UNKNOWN_WORD),
            caller(LAB_KEY),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "routing.target"},
        ),
        (
            experimental(sample_id=b"short"),
            caller(LAB_KEY),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "routing.sample_id"},
        ),
        (
            asks(QUESTION, response_format=chat_pb2.ResponseFormat(json_object=False)),
            caller(),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "chat.response_format.json_object"},
        ),
        (
            asks(QUESTION, extra_fields=struct({"x": float("nan")})),
            caller(),
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            {"field": "chat.extra_fields"},
        ),
        (
            of_workload("ticket-triag"),
            caller(),
            "NOT_FOUND",
            "WORKLOAD_NOT_FOUND",
            {"workload": "ticket-triag", "nearest": "ticket-triage"},
        ),
        (
            asks(QUESTION, tool_choice="get_weather"),
            caller(),
            "FAILED_PRECONDITION",
            "UPSTREAM_REJECTED",
            {"upstream": "cloud", "status": "400"},
        ),
    ],
    ids=lambda value: next(iter(value.values()), "") if isinstance(value, dict) else None,
)
async def test_an_error_is_a_typed_status(
    door: router_pb2_grpc.RouterServiceStub,
    kind: str,
    request_: router_pb2.CompleteRequest,
    metadata: tuple[tuple[str, str], ...],
    code: str,
    reason: str,
    details: dict[str, str],
) -> None:
    if kind == "whole":
        call = door.Complete(request_, metadata=metadata)
    else:
        call = door.CompleteStream(streamed(request_), metadata=metadata)
    error, info, _ = await failure(call)
    assert (error.code().name, info.reason) == (code, reason)
    assert {key: info.metadata[key] for key in details} == details


@pytest.mark.parametrize("kind", ["whole", "streamed"])
async def test_no_trace_has_what_an_upstream_quotes(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack, kind: str
) -> None:
    secret = "the zebra's password"
    schema = struct({"type": "object", "properties": {"a": {"type": "string", "pattern": f"({secret}"}}})
    request = asks(QUESTION)
    request.chat.response_format.json_schema.name = "a"
    request.chat.response_format.json_schema.schema.CopyFrom(schema)
    trace_id = os.urandom(16).hex()
    metadata = caller(traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    if kind == "whole":
        call = door.Complete(request, metadata=metadata)
    else:
        call = door.CompleteStream(streamed(request), metadata=metadata)
    _, info, _ = await failure(call)
    assert info.reason == "UPSTREAM_REJECTED"
    assert secret in info.metadata["message"]
    spans: list[Any] = []

    async def traced() -> bool:
        spans[:] = await stack.query(
            "SELECT SpanAttributes['error.type'], StatusMessage, SpanAttributes, Events.Attributes"
            f" FROM otel.otel_traces WHERE TraceId = '{trace_id}'"
        )
        return any(reason == "UPSTREAM_REJECTED" for reason, *_ in spans)

    await until(traced, "the call's span is written")
    assert secret not in repr(spans)


async def test_models_are_not_told_to_strangers(door: router_pb2_grpc.RouterServiceStub) -> None:
    _, info, _ = await failure(door.ListModels(router_pb2.ListModelsRequest()))
    assert info.reason == "KEY_MISSING"


async def test_a_used_up_key_is_told_when_to_come_back(door: router_pb2_grpc.RouterServiceStub) -> None:
    for _ in range(2):
        await door.Complete(asks(QUESTION), metadata=caller(HURRIED_KEY))
    error, info, others = await failure(door.Complete(asks(QUESTION), metadata=caller(HURRIED_KEY)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info.reason == "RATE_LIMITED"
    assert info.metadata["limit"] == "requests_per_minute"
    retry = error_details_pb2.RetryInfo()
    assert others[0].Unpack(retry)
    assert 1 <= retry.retry_delay.seconds <= 30
    assert info.metadata["retry_after_s"] == str(retry.retry_delay.seconds)


# --- callers that do not wait ------------------------------------------------------------------------


class Waiting:
    """Counts what the slow cloud has to do."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/stand-in/stats"

    async def counts(self) -> dict[str, int]:
        async with aiohttp.ClientSession() as session, session.get(self._url) as response:
            counts: dict[str, int] = await response.json()
            return counts

    async def until_busy(self) -> None:
        await until(self._busy, "the slow cloud has a request")

    async def until_cancelled(self, count: int) -> None:
        async def reached() -> bool:
            counts = await self.counts()
            return counts["cancelled"] == count and not counts["in_flight"]

        await until(reached, "the call of the slow cloud is cancelled")

    async def _busy(self) -> bool:
        return (await self.counts())["in_flight"] > 0


@pytest.mark.parametrize("kind", ["whole", "streamed"])
@pytest.mark.parametrize("how", ["deadline", "cancellation"])
async def test_a_caller_that_gives_up_ends_the_call_upstream(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack, slow_cloud: int, kind: str, how: str
) -> None:
    waiting = Waiting(slow_cloud)
    before = (await waiting.counts())["cancelled"]
    trace_id = os.urandom(16).hex()
    metadata = caller(traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    timeout = 1.5 if how == "deadline" else None
    request = asks(QUESTION, model="slow")
    if kind == "whole":
        call = door.Complete(request, metadata=metadata, timeout=timeout)
    else:
        call = door.CompleteStream(streamed(request), metadata=metadata, timeout=timeout)
    reading = asyncio.ensure_future(call if kind == "whole" else drain(call))
    if how == "cancellation":
        await waiting.until_busy()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        with pytest.raises(aio.AioRpcError) as caught:
            await reading
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await waiting.until_cancelled(before + 1)
    (leg,) = await stack.legs(1, where=f"trace_id = '{trace_id}'")
    assert (leg["outcome"], leg["error_reason"], leg["upstream"]) == ("cancelled", "CANCELLED", "slow")
    assert leg["streamed"] is (kind == "streamed")


async def test_a_stream_that_is_given_up_in_its_middle_is_booked_with_an_estimate(
    door: router_pb2_grpc.RouterServiceStub, stack: Stack, slow_cloud: int
) -> None:
    waiting = Waiting(slow_cloud)
    before = (await waiting.counts())["cancelled"]
    trace_id = os.urandom(16).hex()
    metadata = caller(traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    call = door.CompleteStream(streamed(asks(QUESTION, model="slow")), metadata=metadata)
    texts = 0
    async for event in call:
        texts += bool(event.delta.text)
        if texts == 2:
            break
    call.cancel()
    await waiting.until_cancelled(before + 1)
    (leg,) = await stack.legs(1, where=f"trace_id = '{trace_id}'")
    assert (leg["outcome"], leg["usage_source"]) == ("cancelled", "estimated")
    assert leg["input_tokens"] > 0
    assert leg["output_tokens"] > 0


async def drain(call: Any) -> None:
    async for _ in call:
        pass


# --- what every server has ---------------------------------------------------------------------------

SERVICES = {
    "grpc": "homeward.router.v1.RouterService",
    "classifier": "homeward.classifier.v1.ClassifierService",
    "ledger": "homeward.ledger.v1.LedgerService",
    "shadow": "homeward.shadow.v1.ShadowService",
}


@pytest.mark.parametrize("port", SERVICES)
async def test_every_server_reports_its_health(stack: Stack, port: str) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports[port]}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICES[port]):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="homeward.nothing.v1.Nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("port", SERVICES)
async def test_every_server_describes_itself(stack: Stack, port: str) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports[port]}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICES[port]),
        ]
        listed, described = [answer async for answer in stub.ServerReflectionInfo(iter(requests))]
        names = {service.name for service in listed.list_services_response.service}
        assert names == {
            SERVICES[port],
            "homeward.common.v1.InfoService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        assert described.file_descriptor_response.file_descriptor_proto
