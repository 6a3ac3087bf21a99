"""Personal data at the real router: a hit stays at home, or is masked in what the cloud receives.

Cloud and home are servers of this process that keep what arrives. The policy comes from the router's disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import openai
import orjson
import pytest
from aiohttp import web
from homeward.common.v1 import leg_pb2, policy_pb2
from openai import AsyncOpenAI

from services.common.policy_rows import sampling_to_proto
from services.common.sampling import PPM, Sampling
from tests.support.anthropic_upstream import Received, Recorder
from tests.support.shadow_recorder import ShadowRecorder
from tests.support.stack import SECRETS, Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

IBAN = "DE89 3704 0044 0532 0130 00"
MAIL = "jane@example.com"
CLOUD, SOVEREIGN = leg_pb2.TARGET_CLOUD, leg_pb2.TARGET_SOVEREIGN

SETTINGS = """
[upstreams.far]
base_url = "{cloud}"
api_key = "sk-far"

[upstreams.near]
target = "sovereign"
base_url = "{home}"
api_key = "sk-near"

[models.both]
routes = [{{ upstream = "near", model = "m" }}, {{ upstream = "far", model = "m" }}]

[models.far-only]
routes = [{{ upstream = "far", model = "m" }}]

[models.near-only]
routes = [{{ upstream = "near", model = "m" }}]

[workloads.payroll]
owner = "people"
[workloads.payroll.personal_data]
detectors = ["iban", "card"]

[workloads.mail]
owner = "care"
[workloads.mail.personal_data]
detectors = ["email", "iban"]
on_hit = "mask"

[workloads.plain]
owner = "care"

[workloads.staff]
owner = "people"
[workloads.staff.personal_data]
detectors = ["person"]

[workloads.letters]
owner = "care"
[workloads.letters.personal_data]
detectors = ["person", "email"]
on_hit = "mask"

[keys.demo]
workloads = ["*", "payroll"]
scopes = ["approvals"]
"""
STAGES = {
    "payroll": policy_pb2.STAGE_SHADOWED,
    "mail": policy_pb2.STAGE_SHADOWED,
    "plain": policy_pb2.STAGE_SHADOWED,
    "staff": policy_pb2.STAGE_SHADOWED,
    "letters": policy_pb2.STAGE_SHADOWED,
}


@dataclass(frozen=True)
class House:
    """A router between two servers that keep what arrives."""

    stack: Stack
    cloud: Recorder
    home: Recorder
    shadow: ShadowRecorder

    def clear(self) -> None:
        self.cloud.requests.clear()
        self.home.requests.clear()


async def respond(_request: web.Request, received: Received) -> web.StreamResponse:
    said = received.document["messages"][-1].get("content") or ""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    head = {"id": "1", "created": 1, "model": "m"}
    if not received.document.get("stream"):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        answer = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")
    piece = {"index": 0, "delta": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    chunks = ({"choices": [piece]}, {"choices": [], "usage": usage})
    events = [orjson.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
    body = b"".join(b"data: " + event + b"\n\n" for event in [*events, b"[DONE]"])
    return web.Response(body=body, content_type="text/event-stream")


async def failing(_request: web.Request, _received: Received) -> web.StreamResponse:
    return web.Response(status=503)


def policy() -> bytes:
    rows = [
        policy_pb2.WorkloadPolicy(
            workload=workload,
            stage=stage,
            allowed_targets=[CLOUD, SOVEREIGN],
            fallback_allowed=True,
            sampling=sampling_to_proto(Sampling(workload.ljust(16)[:16].encode(), 1, PPM, bytes(16))),
        )
        for workload, stage in STAGES.items()
    ]
    return policy_pb2.Policy(version=7, workloads=rows).SerializeToString()


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("residency")
    shadow = ShadowRecorder()
    async with AsyncExitStack() as opened:
        cloud = await opened.enter_async_context(Recorder(respond).running())
        home = await opened.enter_async_context(Recorder(respond).running())
        await shadow.start()
        opened.push_async_callback(shadow.stop)
        more = SETTINGS.format(cloud=cloud.base_url, home=home.base_url)
        stack = await opened.enter_async_context(Stack(folder, more, HOMEWARD_ROUTER__SHADOW=shadow.address))
        (folder / "router" / "0").mkdir(parents=True)
        (folder / "router" / "0" / "policy.binpb").write_bytes(policy())
        await stack.start("classifier", "router")
        yield House(stack, cloud, home, shadow)


@pytest.fixture(scope="module")
async def client(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=house.stack.base_url, api_key=SECRETS.api_key, max_retries=0) as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(house: House) -> None:
    house.clear()


def asks(text: str, workload: str, model: str = "both", **fields: Any) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "extra_headers": {"x-homeward-workload": workload} if workload else {},
        **fields,
    }


async def test_a_request_with_an_iban_stays_at_home(client: AsyncOpenAI, house: House) -> None:
    answer = await client.chat.completions.create(**asks(f"Pay {IBAN}", "payroll"))
    assert answer.choices[0].message.content == f"Pay {IBAN}"
    assert (len(house.home.requests), len(house.cloud.requests)) == (1, 0)


async def test_without_a_hit_it_goes_where_the_policy_says(client: AsyncOpenAI, house: House) -> None:
    await client.chat.completions.create(**asks(f"Write to {MAIL}", "payroll"))
    assert (len(house.home.requests), len(house.cloud.requests)) == (0, 1)
    assert house.cloud.last.document["messages"][0]["content"] == f"Write to {MAIL}"


async def test_with_no_model_at_home_it_is_refused_and_never_sent(client: AsyncOpenAI, house: House) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await client.chat.completions.create(**asks(f"Pay {IBAN}", "payroll", "far-only"))
    assert "personal data (iban)" in str(refused.value)
    assert IBAN not in str(refused.value)
    assert not house.cloud.requests


async def test_a_failing_home_does_not_send_it_to_the_cloud(
    client: AsyncOpenAI, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.home, "_respond", failing)
    with pytest.raises(openai.APIStatusError):
        await client.chat.completions.create(**asks(f"Pay {IBAN}", "payroll"))
    assert house.home.requests
    assert not house.cloud.requests


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_cloud_gets_placeholders(client: AsyncOpenAI, house: House, streamed: bool) -> None:
    call = asks(f"{MAIL} pays {IBAN}, says {MAIL.upper()}", "mail", user=MAIL)
    if streamed:
        async for _ in await client.chat.completions.create(**call, stream=True):
            pass
    else:
        answer = await client.chat.completions.create(**call)
        assert answer.choices[0].message.content == "<EMAIL_1> pays <IBAN_1>, says <EMAIL_1>"
    (received,) = house.cloud.requests
    assert received.document["messages"][0]["content"] == "<EMAIL_1> pays <IBAN_1>, says <EMAIL_1>"
    assert received.document["user"] == "<EMAIL_1>"
    assert MAIL.encode() not in received.wire
    assert IBAN.encode() not in received.wire
    assert not house.home.requests


async def test_a_request_that_names_a_person_stays_at_home(client: AsyncOpenAI, house: House) -> None:
    await client.chat.completions.create(**asks("Write a reference for Jane Doe.", "staff"))
    assert (len(house.home.requests), len(house.cloud.requests)) == (1, 0)
    await client.chat.completions.create(**asks("Write a reference for a nurse.", "staff"))
    assert (len(house.home.requests), len(house.cloud.requests)) == (1, 1)


async def test_the_cloud_gets_placeholders_for_names(client: AsyncOpenAI, house: House) -> None:
    text = f"Jane Doe ({MAIL}) has not paid. Write a letter to Mrs Doe, signed by Rajesh Kumar."
    await client.chat.completions.create(**asks(text, "letters"))
    assert house.cloud.last.document["messages"][0]["content"] == (
        "<PERSON_1> (<EMAIL_1>) has not paid. Write a letter to Mrs <PERSON_1>, signed by <PERSON_2>."
    )
    assert b"Doe" not in house.cloud.last.wire


async def test_what_tools_are_called_with_is_masked_too(client: AsyncOpenAI, house: House) -> None:
    arguments = orjson.dumps({"to": MAIL, "text": "line\nline"}).decode()
    call = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Send it."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": f"sent to {MAIL}"},
    ]
    await client.chat.completions.create(**{**asks("", "mail"), "messages": messages})
    _, called, result = house.cloud.last.document["messages"]
    assert orjson.loads(called["tool_calls"][0]["function"]["arguments"]) == {
        "to": "<EMAIL_1>",
        "text": "line\nline",
    }
    assert result["content"] == "sent to <EMAIL_1>"


async def test_home_gets_the_original_of_what_is_masked(client: AsyncOpenAI, house: House) -> None:
    await client.chat.completions.create(**asks(f"mail {MAIL}", "mail", "near-only"))
    assert house.home.last.document["messages"][0]["content"] == f"mail {MAIL}"


async def test_an_unnamed_request_meets_the_detectors_that_its_key_lists(
    client: AsyncOpenAI, house: House
) -> None:
    await client.chat.completions.create(**asks(f"What is {IBAN}?", ""))
    assert (len(house.home.requests), len(house.cloud.requests)) == (1, 0)
    await client.chat.completions.create(**asks(f"Who is {MAIL}?", ""))
    assert house.cloud.last.document["messages"][0]["content"] == f"Who is {MAIL}?"


async def test_a_workload_without_detectors_is_not_read(client: AsyncOpenAI, house: House) -> None:
    await client.chat.completions.create(**asks(f"Pay {IBAN}", "plain"))
    assert IBAN.encode() in house.cloud.last.wire


async def test_a_hit_is_not_compared(client: AsyncOpenAI, house: House) -> None:
    await client.chat.completions.create(**asks(f"compare {IBAN}", "payroll"))
    await client.chat.completions.create(**asks(f"compare {IBAN}", "mail"))
    await client.chat.completions.create(**asks(f"compare {IBAN}", "plain"))

    def compared() -> set[str]:
        return {
            sample.workload
            for sample in house.shadow.samples
            if f"compare {IBAN}" in sample.chat.messages[0].content[0].text
        }

    async def handed_over() -> bool:
        return "plain" in compared()

    async def counted() -> bool:
        return house.shadow.counts().get("ineligible/bound", 0) >= 2

    await until(handed_over, "the sample without detectors")
    await until(counted, "the counts of those that can't be compared")
    assert compared() == {"plain"}
