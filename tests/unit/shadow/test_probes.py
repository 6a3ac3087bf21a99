"""The probes against a router's door whose endpoint can do what a test lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from google.protobuf import json_format
from homeward.common.v1 import chat_pb2, leg_pb2, usage_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc

from services.common.errors import DomainError, Reason
from services.common.server import Server
from services.shadow.core.gate import FixedParts, Need
from services.shadow.probes import Prober, Subject, probe_all

TOOLS = '[{"name": "route", "description": "Routes."}]'
SCHEMA = '{"json_schema": {"name": "label", "schema": {"type": "object"}}}'
SUBJECT = Subject(
    "triage",
    FixedParts(model="small", tools=TOOLS, response_format=SCHEMA, stop=("END",)),
    ("You triage tickets.",),
)
TEMPLATE_TOKENS = 17
"""What a prompt has beside its words."""


@dataclass
class Door(router_pb2_grpc.RouterServiceServicer):
    """A router whose endpoint has a context, and lacks some things."""

    context_tokens: int = 4_000
    tokens_a_word: int = 2
    lacks: frozenset[str] = frozenset()
    invalid_answers: int = 0
    """How many answers break the form that was asked for."""
    away: bool = False
    asked: list[Any] = field(default_factory=list)

    async def Complete(
        self, request: router_pb2.CompleteRequest, context: Any
    ) -> router_pb2.CompleteResponse:
        self._check(request)
        chat = request.chat
        text = chat.messages[-1].content[0].text
        tokens = TEMPLATE_TOKENS + self.tokens_a_word * len(text.split())
        if tokens + chat.sampling.max_tokens > self.context_tokens:
            raise DomainError(
                Reason.CONTEXT_LENGTH_EXCEEDED,
                "too long",
                context_tokens=self.context_tokens,
                field="messages",
            )
        usage = usage_pb2.Usage(input_tokens=tokens, output_tokens=1)
        if "usage" in self.lacks:
            usage.ClearField("input_tokens")
        message = chat_pb2.Message(content=[chat_pb2.ContentPart(text="some words")])
        if chat.tools:
            self._refuse("tools", "tools")
            message = chat_pb2.Message(tool_calls=[chat_pb2.ToolCall(name="route", arguments_json="{}")])
            if "calls" in self.lacks:
                message.ClearField("tool_calls")
        if chat.HasField("response_format"):
            self._refuse("schemas", "response_format")
            if self.invalid_answers:
                self.invalid_answers -= 1
                raise DomainError(Reason.ANSWER_INVALID, "it is not JSON", upstream="home", problem="words")
            message = chat_pb2.Message(content=[chat_pb2.ContentPart(text='{"label": "billing"}')])
        if chat.sampling.stop and "stop" in self.lacks:
            message = chat_pb2.Message(content=[chat_pb2.ContentPart(text="on END and on")])
        return router_pb2.CompleteResponse(choices=[router_pb2.Choice(message=message)], usage=usage)

    async def CompleteStream(
        self, request: router_pb2.CompleteStreamRequest, context: Any
    ) -> AsyncIterator[router_pb2.CompleteStreamResponse]:
        self._check(request)
        usage = usage_pb2.Usage(output_tokens=7)
        if "usage" in self.lacks:
            usage.ClearField("output_tokens")
        yield router_pb2.CompleteStreamResponse(delta=router_pb2.Delta(text="words"))
        yield router_pb2.CompleteStreamResponse(end=router_pb2.End(usage=usage))

    async def ListModels(self, request: router_pb2.ListModelsRequest, context: Any) -> Any:
        raise AssertionError("no probe asks for it")

    def _check(self, request: Any) -> None:
        self.asked.append(request)
        if self.away:
            raise DomainError(Reason.UPSTREAM_UNREACHABLE, "no server answers", upstream="home", attempts="3")

    def _refuse(self, what: str, name: str) -> None:
        if what in self.lacks:
            raise DomainError(Reason.FEATURE_NOT_SUPPORTED, f"it can't do {what}", field=name, feature=what)


@pytest.fixture
async def prober() -> AsyncIterator[Callable[[Door], Any]]:
    """A prober of a door."""
    made: list[Any] = []

    async def serve(door: Door) -> Prober:
        server = Server()
        router_pb2_grpc.add_RouterServiceServicer_to_server(door, server.grpc)
        port = await server.start("127.0.0.1:0")
        found = Prober(f"127.0.0.1:{port}", "hw-test-shadow", lambda: 42)
        made.extend((found.close, server.stop))
        return found

    yield serve
    for close in made:
        await close()


@pytest.mark.parametrize(
    ("need", "door", "passed", "found"),
    [
        (Need("context_length", "", 2_000), Door(), True, "it took a prompt of 2,"),
        (Need("context_length", "", 10), Door(), True, "it took a prompt of "),
        (Need("context_length", "", 4_100), Door(), False, "its context holds 4000 tokens"),
        (Need("context_length", "", 3_900), Door(tokens_a_word=7), True, "it took a prompt of 3,9"),
        (
            Need("context_length", "", 2_000),
            Door(lacks=frozenset({"usage"})),
            False,
            "it does not say how many tokens a prompt has",
        ),
        (Need("tools", ""), Door(), True, "it called route"),
        (
            Need("tools", ""),
            Door(lacks=frozenset({"tools"})),
            False,
            "FEATURE_NOT_SUPPORTED: it can't do tools",
        ),
        (Need("tools", ""), Door(lacks=frozenset({"calls"})), False, "it called none of the tools"),
        (Need("json_schema", ""), Door(), True, "it answered in the form asked for"),
        # A model breaks a form now and then; one that always does lacks it.
        (Need("json_schema", ""), Door(invalid_answers=2), True, "it answered in the form asked for"),
        (Need("json_schema", ""), Door(invalid_answers=9), False, "none of its answers fits: it is not JSON"),
        (Need("json_schema", ""), Door(lacks=frozenset({"schemas"})), False, "FEATURE_NOT_SUPPORTED"),
        (Need("json_object", ""), Door(), True, "it answered in the form asked for"),
        (Need("stop", ""), Door(), True, "it takes stop words"),
        (Need("stop", ""), Door(lacks=frozenset({"stop"})), False, "its answer goes on after a stop word"),
        (Need("streaming_usage", ""), Door(), True, "its stream ended with 7 tokens counted"),
        (Need("streaming_usage", ""), Door(lacks=frozenset({"usage"})), False, "its streams end without"),
    ],
)
async def test_what_a_probe_finds(
    prober: Callable[[Door], Any], need: Need, door: Door, passed: bool, found: str
) -> None:
    door = replace(door, asked=[])
    capability = await (await prober(door)).probe(SUBJECT, need)
    assert capability.passed == passed
    assert capability.found.startswith(found)
    assert capability.covers(need)
    assert capability.probe_unix_us == 42
    for request in door.asked:
        assert request.routing == router_pb2.Routing(
            workload="triage", purpose=leg_pb2.PURPOSE_PROBE, target=leg_pb2.TARGET_SOVEREIGN
        )
        assert request.chat.model == "small"


async def test_a_context_is_found_with_room_for_longer_prompts(prober: Callable[[Door], Any]) -> None:
    roomy = await (await prober(Door(asked=[]))).probe(SUBJECT, Need("context_length", "", 2_000))
    assert roomy.covers(Need("context_length", "", 2_500))
    # The door holds 4,000: what is needed fits, the room does not.
    tight = await (await prober(Door(asked=[]))).probe(SUBJECT, Need("context_length", "", 3_900))
    assert tight.passed
    assert not tight.covers(Need("context_length", "", 3_901))


async def test_the_parts_that_the_workload_uses_are_sent(prober: Callable[[Door], Any]) -> None:
    door = Door()
    found, failures = await probe_all(
        await prober(door), SUBJECT, [Need("tools", ""), Need("json_schema", ""), Need("stop", "")]
    )
    assert [item.passed for item in found] == [True] * 3
    assert failures == {}
    tools, schema, stop = (request.chat for request in door.asked)
    assert [tool.name for tool in tools.tools] == ["route"]
    assert json_format.MessageToDict(schema.response_format)["jsonSchema"]["name"] == "label"
    assert list(stop.sampling.stop) == ["END"]
    assert tools.messages[0].content[0].text == "You triage tickets."


@pytest.mark.parametrize("parts", [FixedParts(model="small"), FixedParts(model="small", tools="[]")])
async def test_a_part_that_was_not_seen_is_no_pass(prober: Callable[[Door], Any], parts: FixedParts) -> None:
    subject = Subject("triage", parts)
    for name in ("tools", "json_schema"):
        capability = await (await prober(Door())).probe(subject, Need(name, ""))
        assert not capability.passed


async def test_an_endpoint_that_is_away_is_not_judged(prober: Callable[[Door], Any]) -> None:
    found, failures = await probe_all(await prober(Door(away=True)), SUBJECT, [Need("tools", "")])
    assert found == []
    assert failures == {"tools": "no server answers"}
