"""Probes that a person asks for: by whom, of what, and one model at a time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field

import pytest
from google.protobuf import json_format
from homeward.common.v1 import chat_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.shadow.core.gate import Capability, Need
from services.shadow.model_probe import ModelProbe
from services.shadow.probes import Subject

SECRET = "hw-operator"
HOLDERS = {hashlib.sha256(SECRET.encode()).digest(): "operator"}
REQUEST = shadow_pb2.ProbeModelRequest(model="small")


@dataclass
class Endpoint:
    """Has all but what it lacks, and can't be asked for what it hides."""

    lacks: frozenset[str] = frozenset()
    hides: frozenset[str] = frozenset()
    asked: list[tuple[Subject, Need]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def probe(self, subject: Subject, need: Need) -> Capability:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        self.asked.append((subject, need))
        if need.name in self.hides:
            raise DomainError(Reason.UPSTREAM_UNREACHABLE, "no server answers", upstream="home")
        return Capability(need, need.name not in self.lacks, "it was asked", 42)


async def test_what_was_found_and_what_could_not_be_asked_are_told_apart() -> None:
    endpoint = Endpoint(lacks=frozenset({"tools"}), hides=frozenset({"stop"}))
    answer = await ModelProbe(endpoint, HOLDERS).probe(REQUEST, SECRET)
    passed = {item.name: item.passed for item in answer.capabilities}
    assert passed == {
        "context_length": True,
        "tools": False,
        "json_schema": True,
        "json_object": True,
        "streaming_usage": True,
    }
    assert [(item.name, item.problem) for item in answer.failures] == [("stop", "no server answers")]
    assert answer.capabilities[0].probe_time.ToMicroseconds() == 42


@pytest.mark.parametrize(("asked", "tried"), [(0, 1024), (2016, 2016), (1, 256)])
async def test_the_context_is_tried_as_asked(asked: int, tried: int) -> None:
    endpoint = Endpoint()
    request = shadow_pb2.ProbeModelRequest(model="small", context_tokens=asked)
    await ModelProbe(endpoint, HOLDERS).probe(request, SECRET)
    assert {need.size for _, need in endpoint.asked if need.name == "context_length"} == {tried}


async def test_no_workload_is_asked_for_and_the_parts_are_of_the_contract() -> None:
    endpoint = Endpoint()
    await ModelProbe(endpoint, HOLDERS).probe(REQUEST, SECRET)
    subject = endpoint.asked[0][0]
    assert subject.workload == ""
    assert subject.parts.model == "small"
    chat = json_format.ParseDict({"tools": json.loads(subject.parts.tools)}, chat_pb2.Chat())
    json_format.Parse(subject.parts.response_format, chat.response_format)
    assert chat.tools[0].name
    assert chat.response_format.json_schema.name
    assert subject.parts.stop


@pytest.mark.parametrize(
    ("secret", "request_", "reason"),
    [
        ("", REQUEST, Reason.KEY_MISSING),
        ("hw-other", REQUEST, Reason.PURPOSE_FORBIDDEN),
        (SECRET, shadow_pb2.ProbeModelRequest(), Reason.INVALID_REQUEST),
    ],
    ids=["no key", "a key without the scope", "no model"],
)
async def test_who_may_not_or_names_no_model_is_refused(
    secret: str, request_: shadow_pb2.ProbeModelRequest, reason: Reason
) -> None:
    endpoint = Endpoint()
    with pytest.raises(DomainError) as caught:
        await ModelProbe(endpoint, HOLDERS).probe(request_, secret)
    assert caught.value.reason is reason
    assert endpoint.asked == []


async def test_one_model_is_probed_at_a_time() -> None:
    endpoint = Endpoint()
    probe = ModelProbe(endpoint, HOLDERS)
    await asyncio.gather(*(probe.probe(REQUEST, SECRET) for _ in range(3)))
    assert endpoint.most_at_once == 1
