"""Requests of a workload that is compared reach shadow with the answer that their applications got.

The policy comes from the router's disk, and no ledger runs: so every answer also says how old it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import openai
import pytest
import pytest_asyncio
from grpc import aio
from homeward.common.v1 import chat_pb2, leg_pb2, policy_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc
from openai import AsyncOpenAI

from deploy.local.ports import free_ports
from services.common.errors import DomainError, Reason
from services.common.policy_rows import sampling_to_proto
from services.common.sampling import PPM, Sampling
from tests.support.shadow_recorder import Behaviour, ShadowRecorder, stall, take
from tests.support.stack import SECRETS, Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAB_KEY = "hw-test-lab"
SETTINGS = """
[keys.lab]
sha256 = "{digest}"
scopes = ["experiments"]

[upstreams.home]
target = "sovereign"
base_url = "http://127.0.0.1:{cloud}/v1"
api_key = "sk-home"
provider = "homeward-home"
region = "eu"

[upstreams.dead]
target = "sovereign"
base_url = "http://127.0.0.1:{dead}/v1"
region = "eu"

[models.both]
routes = [{{ upstream = "home", model = "stand-in-mini" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]

[models.half]
routes = [{{ upstream = "dead", model = "stand-in-mini" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]
"""
CLOUD, SOVEREIGN = leg_pb2.TARGET_CLOUD, leg_pb2.TARGET_SOVEREIGN
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a customer up.",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
}
SENT = {"eligible": 1, "sampled": 1, "sent": 1}
ROWS = (("ticket-triage", policy_pb2.STAGE_SHADOWED, 0), ("summaries", policy_pb2.STAGE_HOME, PPM))


def policy() -> bytes:
    rows = [
        policy_pb2.WorkloadPolicy(
            workload=workload,
            stage=stage,
            sovereign_share_ppm=share,
            allowed_targets=[CLOUD, SOVEREIGN],
            fallback_allowed=True,
            sampling=sampling_to_proto(
                Sampling(workload.ljust(16)[:16].encode(), 2, PPM, bytes(16), reversed=bool(share))
            ),
        )
        for workload, stage, share in ROWS
    ]
    return policy_pb2.Policy(version=41, workloads=rows).SerializeToString()


@pytest.fixture(scope="module")
async def shadow() -> AsyncIterator[ShadowRecorder]:
    made = ShadowRecorder()
    yield made
    await made.stop()


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, shadow: ShadowRecorder) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("sampling")
    environment = {"HOMEWARD_ROUTER__SHADOW": shadow.address, "HOMEWARD_ROUTER__SAMPLES_IN_MEMORY": "8"}
    async with Stack(folder, **environment) as running:
        digest = hashlib.sha256(LAB_KEY.encode()).hexdigest()
        more = SETTINGS.format(digest=digest, dead=free_ports(1)[0], **running.ports)
        running.settings_file.write_text(running.settings_file.read_text() + more)
        (folder / "router" / "0").mkdir(parents=True)
        (folder / "router" / "0" / "policy.binpb").write_bytes(policy())
        await running.start("classifier", "stand-in-cloud", "router")
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def recorded(shadow: ShadowRecorder) -> ShadowRecorder:
    """The recorder, listening and without what other tests sent: each waits for all of its own."""
    await shadow.stop()
    shadow.on_sample = shadow.on_report = take
    await shadow.start()
    shadow.samples.clear()
    shadow.reports.clear()
    return shadow


@pytest.fixture(scope="module")
async def door(stack: Stack) -> AsyncIterator[router_pb2_grpc.RouterServiceStub]:
    async with aio.insecure_channel(stack.grpc) as channel:
        yield router_pb2_grpc.RouterServiceStub(channel)


def asks(text: str, workload: str = "ticket-triage", model: str = "both", **fields: Any) -> dict[str, Any]:
    """A call of an application that declares its workload."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "extra_headers": {"x-homeward-workload": workload},
        "max_tokens": 12,
        **fields,
    }


async def sampled(shadow: ShadowRecorder, count: int = 1) -> None:
    async def there() -> bool:
        return len(shadow.samples) >= count

    await until(there, f"{count} samples")


async def counted(shadow: ShadowRecorder, wanted: dict[str, int]) -> None:
    async def there() -> bool:
        return shadow.counts() == wanted

    try:
        await until(there, "the counts")
    except AssertionError:
        assert shadow.counts() == wanted
        raise


async def requests_at_the_cloud(stack: Stack) -> str:
    """Something that changes with each request that reaches the stand-in."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/stats") as response:
        return await response.text()


def said(sample: Any) -> str:
    return "".join(part.text for part in sample.answer.content)


async def test_shadow_gets_the_question_and_the_answer_of_the_application(
    client: AsyncOpenAI, recorded: ShadowRecorder
) -> None:
    raw = await client.chat.completions.with_raw_response.create(**asks("Where is my card?", user="ann"))
    answer = raw.parse()
    await sampled(recorded)
    (sample,) = recorded.samples
    assert sample.sample_id.hex() == raw.headers["x-homeward-request-id"].replace("-", "")
    assert sample.traceparent.split("-")[1] == raw.headers["x-homeward-trace-id"]
    assert (sample.workload, sample.epoch, sample.key_name) == ("ticket-triage", 2, "demo")
    assert sample.chat.messages[0].content[0].text == "Where is my card?"
    assert sample.chat.model == "both"
    assert sample.chat.extra_fields["max_tokens"] == 12
    assert said(sample) == answer.choices[0].message.content
    assert (sample.target, sample.sovereign_failed, sample.streamed) == (CLOUD, False, False)
    assert answer.usage is not None
    assert sample.input_tokens == answer.usage.prompt_tokens
    assert (len(sample.cluster), len(sample.tenant), len(sample.leg_id)) == (16, 16, 16)
    await counted(recorded, SENT)
    assert recorded.legs() == {("ticket-triage", CLOUD): (1, 0, 0)}


async def test_a_stream_is_sampled_as_what_its_pieces_add_up_to(
    client: AsyncOpenAI, recorded: ShadowRecorder
) -> None:
    got = ""
    async for chunk in await client.chat.completions.create(**asks("Sum up: cards are late.", stream=True)):
        got += "".join(choice.delta.content or "" for choice in chunk.choices)
    await sampled(recorded)
    (sample,) = recorded.samples
    assert said(sample) == got
    assert got
    assert sample.streamed
    assert "stream" not in sample.chat.extra_fields

    async def told() -> bool:
        return any(item.ttft_us for report in recorded.reports.values() for item in report.legs)

    await until(told, "the time to the first token")
    await counted(recorded, SENT)


@pytest.mark.parametrize(
    ("fault", "legs"), [("silence=1.5", {}), ("cut=2", {("ticket-triage", CLOUD): (1, 1, 0)})]
)
async def test_a_stream_that_does_not_end_well_is_no_sample(
    client: AsyncOpenAI, recorded: ShadowRecorder, fault: str, legs: dict[Any, Any]
) -> None:
    """The application leaves the first, and the cloud cuts the second."""
    call = asks("Tell me a story.", stream=True)
    call["extra_headers"] = {**call["extra_headers"], "x-stand-in-fault": fault}
    stream = await client.chat.completions.create(**call)
    if legs:
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
    else:
        async for _ in stream:
            break
        await stream.close()
    await counted(recorded, {"ineligible/failed": 1})
    assert recorded.legs() == legs


async def test_an_answer_from_home_is_sampled_as_such(client: AsyncOpenAI, recorded: ShadowRecorder) -> None:
    await client.chat.completions.create(**asks("Sum up.", "summaries"))
    await sampled(recorded)
    (sample,) = recorded.samples
    assert (sample.target, sample.sovereign_failed, sample.reversed) == (SOVEREIGN, False, True)
    await counted(recorded, SENT)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_sovereign_failure_that_the_cloud_made_good_is_told(
    client: AsyncOpenAI, recorded: ShadowRecorder, streamed: bool
) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        **asks("Sum up.", "summaries", "half", stream=streamed)
    )
    assert raw.headers["x-homeward-target"] == "cloud"
    if streamed:
        async for _ in raw.parse():
            pass
    await sampled(recorded)
    (sample,) = recorded.samples
    assert (sample.target, sample.sovereign_failed) == (CLOUD, True)
    await counted(recorded, SENT)
    assert recorded.legs() == {("summaries", SOVEREIGN): (1, 1, 0), ("summaries", CLOUD): (1, 0, 0)}


async def test_tools_are_sampled_to_the_first_call(client: AsyncOpenAI, recorded: ShadowRecorder) -> None:
    answer = await client.chat.completions.create(
        **asks("Look Ann up.", tools=[TOOL], tool_choice="required", max_tokens=200)
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    await sampled(recorded)
    (sample,) = recorded.samples
    assert [item.name for item in sample.chat.tools] == ["look_up"]
    assert [(item.name, item.arguments_json) for item in sample.answer.tool_calls] == [
        (call.function.name, call.function.arguments)
    ]
    await counted(recorded, SENT)


async def test_what_can_not_be_compared_is_counted_with_its_reason(
    client: AsyncOpenAI, recorded: ShadowRecorder
) -> None:
    headers = {"x-homeward-workload": "ticket-triage"}
    await client.chat.completions.create(**asks("Twice.", n=2))
    await client.completions.create(model="both", prompt="x", max_tokens=3, extra_headers=headers)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(**asks("Odd.", temperature=9))
    await client.chat.completions.create(**asks("x" * 300_000))
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
    await client.chat.completions.create(**asks("", messages=[{"role": "user", "content": [image]}]))
    # Another workload, which nothing compares.
    await client.chat.completions.create(model="both", messages=[{"role": "user", "content": "Hello"}])
    await counted(
        recorded,
        {f"ineligible/{reason}": 1 for reason in ("choices", "api", "failed", "size", "shape")},
    )
    assert recorded.samples == []


@pytest.mark.parametrize("purpose", [leg_pb2.PURPOSE_SHADOW, leg_pb2.PURPOSE_NOISE])
async def test_a_leg_of_shadow_runs_where_it_is_asked_to_or_not_at_all(
    stack: Stack,
    client: AsyncOpenAI,
    door: router_pb2_grpc.RouterServiceStub,
    recorded: ShadowRecorder,
    purpose: leg_pb2.Purpose.ValueType,
) -> None:
    """It never falls back, is no sample itself, does not count as traffic, and runs no tool."""
    metadata = (("authorization", f"Bearer {LAB_KEY}"),)
    await client.chat.completions.create(**asks("Look Ann up.", tools=[TOOL], tool_choice="required"))
    await sampled(recorded)
    (sample,) = recorded.samples

    def leg(target: Any, model: str, workload: str) -> router_pb2.CompleteRequest:
        routing = router_pb2.Routing(
            workload=workload, purpose=purpose, target=target, sample_id=sample.sample_id
        )
        chat = chat_pb2.Chat()
        chat.CopyFrom(sample.chat)
        chat.model = model
        return router_pb2.CompleteRequest(chat=chat, routing=routing)

    for target in (CLOUD, SOVEREIGN):
        for workload, *_ in ROWS:
            answer = await door.Complete(leg(target, "both", workload), metadata=metadata)
            assert answer.route.target == target
            assert answer.choices[0].finish_reason == chat_pb2.FINISH_REASON_TOOL_CALLS
            assert answer.choices[0].message.tool_calls
    before = await requests_at_the_cloud(stack)
    with pytest.raises(aio.AioRpcError) as caught:
        await door.Complete(leg(SOVEREIGN, "half", "summaries"), metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await requests_at_the_cloud(stack) == before
    # One more of the application's, so that all before it has been reported.
    await client.chat.completions.create(**asks("Thanks."))
    await counted(recorded, {"eligible": 2, "sampled": 2, "sent": 2})
    assert recorded.legs() == {("ticket-triage", CLOUD): (2, 0, 0)}


async def refuse() -> None:
    raise DomainError(Reason.EXPERIMENT_NOT_FOUND, "none", experiment_id="e")


@pytest.mark.parametrize(
    ("behaviour", "shed"),
    [(None, "shed/away"), (stall, None), (refuse, "shed/refused")],
    ids=["down", "slow", "refusing"],
)
async def test_a_shadow_that_does_not_take_samples_costs_applications_nothing(
    client: AsyncOpenAI, recorded: ShadowRecorder, behaviour: Behaviour | None, shed: str | None
) -> None:
    total = 40
    if behaviour is None:
        await recorded.stop()
    else:
        recorded.on_sample = behaviour
    for start in range(0, total, 8):
        answers = await asyncio.gather(
            *(client.chat.completions.create(**asks(f"Number {start + number}.")) for number in range(8))
        )
        assert all(answer.choices[0].message.content for answer in answers)
    recorded.on_sample = refuse if behaviour is refuse else take
    if behaviour is None:
        await recorded.start()

    async def settled() -> bool:
        found = recorded.counts()
        ends = sum(count for step, count in found.items() if step.startswith(("sent", "shed")))
        return found.get("eligible") == found.get("sampled") == ends == total

    await until(settled, "what became of all samples")
    if shed:
        assert recorded.counts()[shed] > 0
    if behaviour is refuse:
        assert "sent" not in recorded.counts()


async def test_answers_say_how_old_the_policy_is_while_no_ledger_answers(
    stack: Stack,
    client: AsyncOpenAI,
    door: router_pb2_grpc.RouterServiceStub,
    recorded: ShadowRecorder,
) -> None:
    raw = await client.chat.completions.with_raw_response.create(**asks("Hello"))
    assert raw.headers["x-homeward-policy-version"] == "41"
    assert int(raw.headers["x-homeward-policy-age-s"]) >= 1
    await counted(recorded, SENT)
    url = stack.base_url.removesuffix("/v1")
    async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as response:
        health = await response.json()
    assert health["policy_version"] == 41
    assert health["policy_age_s"] >= 1
    chat = chat_pb2.Chat(
        model="both",
        messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hi")])],
    )
    call = door.Complete(
        router_pb2.CompleteRequest(chat=chat), metadata=(("authorization", f"Bearer {SECRETS.api_key}"),)
    )
    await call
    trailing = dict(await call.trailing_metadata())
    assert int(trailing["x-homeward-policy-age-s"]) >= 1
    assert len(re.findall("no ledger answers .* policy 41 stays in force", stack.log("router"))) == 1
