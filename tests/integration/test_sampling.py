"""Requests of a workload that is compared reach shadow with the answer that their applications got.

The policy comes from the router's disk, and no ledger runs: so every answer also says how old it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import openai
import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from anthropic import AsyncAnthropic
from grpc import aio
from homeward.common.v1 import chat_pb2, leg_pb2, policy_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc
from openai import AsyncOpenAI

from deploy.local.ports import free_ports
from services.common.errors import DomainError, Reason
from services.common.policy_rows import sampling_to_proto
from services.common.sampling import PPM, Sampling
from services.shadow.adapters.router import RouterAdapter
from services.shadow.adapters.store import Store
from services.shadow.core.experiment import registered
from services.shadow.engine import Engine
from tests.support.anthropic_upstream import AnthropicUpstream, Received, Recorder
from tests.support.experiments import wanted
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

[upstreams.dead-cloud]
base_url = "http://127.0.0.1:{dead}/v1"
region = "eu"

[upstreams.refusing]
target = "sovereign"
base_url = "{refusing}"
region = "eu"
models = ["refuses-*"]

[upstreams.claude]
protocol = "anthropic"
base_url = "{claude}"
api_key = "sk-ant-upstream"
apis = ["messages"]
region = "eu"

[models.assistant]
routes = [{{ upstream = "home", model = "stand-in-mini" }}, {{ upstream = "claude", model = "claude-real" }}]

[models.both]
routes = [{{ upstream = "home", model = "stand-in-mini" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]

[models.half]
routes = [{{ upstream = "dead", model = "stand-in-mini" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]

[models.third]
routes = [
  {{ upstream = "dead", model = "stand-in-mini" }},
  {{ upstream = "dead-cloud", model = "stand-in-mini" }},
  {{ upstream = "cloud", model = "stand-in-mini" }},
]
"""
REFUSALS = (400, 404, 422)
_REFUSING = """
[models.refused-{status}]
routes = [
  {{ upstream = "refusing", model = "refuses-{status}" }},
  {{ upstream = "cloud", model = "stand-in-mini" }},
]
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
async def claude() -> AsyncIterator[AnthropicUpstream]:
    server = AnthropicUpstream()
    async with server.running():
        yield server


async def _refuse(_: web.Request, received: Received) -> web.Response:
    error = {"message": "this server does not know that", "type": "BadRequestError", "code": None}
    status = int(received.document["model"].removeprefix("refuses-"))
    return web.json_response({"error": error}, status=status)


@pytest.fixture(scope="module")
async def refusing() -> AsyncIterator[Recorder]:
    """A server of models that refuses every request, with the status that its model's name has."""
    server = Recorder(_refuse)
    async with server.running():
        yield server


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory,
    shadow: ShadowRecorder,
    claude: AnthropicUpstream,
    refusing: Recorder,
) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("sampling")
    environment = {"HOMEWARD_ROUTER__SHADOW": shadow.address, "HOMEWARD_ROUTER__SAMPLES_IN_MEMORY": "8"}
    async with Stack(folder, **environment) as running:
        digest = hashlib.sha256(LAB_KEY.encode()).hexdigest()
        servers = {"claude": claude.base_url, "refusing": refusing.base_url}
        more = SETTINGS.format(digest=digest, dead=free_ports(1)[0], **servers, **running.ports)
        more += "".join(_REFUSING.format(status=status) for status in REFUSALS)
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
@pytest.mark.parametrize("model", ["half", *(f"refused-{status}" for status in REFUSALS)])
async def test_a_sovereign_failure_that_the_cloud_made_good_is_told(
    client: AsyncOpenAI, recorded: ShadowRecorder, model: str, streamed: bool
) -> None:
    """Also a refusal: what a server at home does not take may be right in the cloud."""
    raw = await client.chat.completions.with_raw_response.create(
        **asks("Sum up.", "summaries", model, stream=streamed)
    )
    assert (raw.status_code, raw.headers["x-homeward-target"]) == (200, "cloud")
    if streamed:
        async for _ in raw.parse():
            pass
    await sampled(recorded)
    (sample,) = recorded.samples
    assert (sample.target, sample.sovereign_failed) == (CLOUD, True)
    await counted(recorded, SENT)
    assert recorded.legs() == {("summaries", SOVEREIGN): (1, 1, 0), ("summaries", CLOUD): (1, 0, 0)}


@pytest.mark.parametrize("status", REFUSALS)
async def test_where_only_home_may_answer_its_refusal_is_the_answer(
    client: AsyncOpenAI, recorded: ShadowRecorder, status: int
) -> None:
    with pytest.raises(openai.APIStatusError, match="this server does not know that") as caught:
        await client.chat.completions.create(**asks("Sum up.", "summaries", f"refuses-{status}"))
    assert caught.value.status_code == status
    await counted(recorded, {"ineligible/bound": 1})
    assert recorded.legs() == {("summaries", SOVEREIGN): (1, 1, 0)}


async def test_it_is_told_of_the_second_cloud_that_was_asked_too(
    client: AsyncOpenAI, recorded: ShadowRecorder
) -> None:
    raw = await client.chat.completions.with_raw_response.create(**asks("Sum up.", "summaries", "third"))
    assert raw.headers["x-homeward-upstream"] == "cloud"
    await sampled(recorded)
    (sample,) = recorded.samples
    assert (sample.target, sample.sovereign_failed) == (CLOUD, True)
    await counted(recorded, SENT)


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


# Messages of Anthropic's SDK


LOOK_UP = {
    "name": "look_up",
    "description": "Looks a customer up.",
    "input_schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
    },
}
MARK = {"cache_control": {"type": "ephemeral"}}
ASKED: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Where is my card?"}]},
    {
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind.", **MARK}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi."}, {"type": "text", "text": "Well?"}]},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Where is my card?"},
        ],
        "stop_sequences": ["END"],
        "metadata": {"user_id": "ann"},
    },
    {
        "messages": [{"role": "user", "content": "Look Ann up."}],
        "tools": [{**LOOK_UP, **MARK}],
        "tool_choice": {"type": "tool", "name": "look_up", "disable_parallel_tool_use": True},
    },
]


@pytest.fixture(scope="module")
async def messages(stack: Stack) -> AsyncIterator[AsyncAnthropic]:
    base_url = stack.base_url.removesuffix("/v1")
    async with AsyncAnthropic(base_url=base_url, api_key=SECRETS.api_key, max_retries=0) as made:
        yield made


async def tell(
    client: AsyncAnthropic, fields: dict[str, Any], workload: str, model: str, streamed: bool
) -> Any:
    """The message that an application gets which declares its workload."""
    call = {
        "model": model,
        "max_tokens": 200,
        "extra_headers": {"x-homeward-workload": workload},
        **fields,
    }
    if not streamed:
        return await client.messages.create(**call)
    async with client.messages.stream(**call) as stream:
        return await stream.get_final_message()


def unmarked(document: dict[str, Any]) -> bytes:
    """What arrived, but for how the answer is to travel and what may be cached."""

    def strip(value: Any) -> Any:
        if isinstance(value, list):
            return [strip(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {key: strip(item) for key, item in value.items() if key not in ("stream", "cache_control")}

    return orjson.dumps(strip(document), option=orjson.OPT_SORT_KEYS)


@asynccontextmanager
async def engine_of(stack: Stack, folder: Path) -> AsyncIterator[tuple[Engine, Store]]:
    """Shadow's engine in this process, with the experiment that the policy names."""

    def now_us() -> int:
        return time.time_ns() // 1_000

    store = Store(folder / "shadow.sqlite", 1_000)
    hour_us = 3_600 * 10**6
    asked = wanted("ticket-triage", margin=0.2, alpha=0.05, window_us=hour_us, watermark_us=hour_us)
    start = now_us() // hour_us * hour_us
    made = registered(asked, None, experiment_id=b"ticket-triage   ", salt=bytes(16), now_unix_us=start)
    store.add_experiment(replace(made, epoch=2), bytes(16))
    router = RouterAdapter(stack.grpc, LAB_KEY)
    engine = Engine(store, router, None, Unspent(), now_us, in_flight=4, control_share=0)
    engine.start()
    try:
        yield engine, store
    finally:
        await engine.stop()
        await router.close()
        store.close()


class Unspent:
    """Nothing is capped here."""

    def spent_today_nanos(self, workload: str) -> int | None:
        return 0

    def asked(self, workload: str) -> None:
        pass


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_messages_are_compared_with_the_model_at_home(
    stack: Stack,
    messages: AsyncAnthropic,
    claude: AnthropicUpstream,
    recorded: ShadowRecorder,
    tmp_path: Path,
    streamed: bool,
) -> None:
    """Anthropic answers the SDK; its question goes home and, for the noise, to Anthropic once more."""
    claude.requests.clear()
    answers = [await tell(messages, fields, "ticket-triage", "assistant", streamed) for fields in ASKED]
    await sampled(recorded, len(ASKED))
    await counted(recorded, {step: len(ASKED) for step in SENT})
    samples = sorted(recorded.samples, key=lambda sample: sample.sample_id)
    assert [said(sample) for sample in samples[:2]] == ["You said: Where is my card?"] * 2
    (call,) = samples[2].answer.tool_calls
    assert (call.name, orjson.loads(call.arguments_json)) == ("look_up", answers[2].content[0].input)
    for sample in samples:
        assert (sample.target, sample.streamed, sample.input_tokens) == (CLOUD, streamed, 3211)
        assert sample.chat.model == "assistant"
        assert sample.chat.extra_fields["max_tokens"] == 200
    assert len({sample.tenant for sample in samples}) == 2
    assert recorded.legs() == {("ticket-triage", CLOUD): (3, 0, 0)}

    asked = [received.document for received in claude.requests]
    claude.requests.clear()
    async with engine_of(stack, tmp_path) as (engine, store):
        for sample in samples:
            await engine.submit(sample)

        async def finished() -> bool:
            return store.waiting() == 0

        await until(finished, "all legs are answered")
        rows = [row for _, row in store.all_finished(0)]
        assert not store.funnel(b"ticket-triage   ", 2).losses
    # What Anthropic answers is always the same, so the noise is none unless the question is another.
    again = [received.document for received in claude.requests]
    assert sorted(map(unmarked, again)) == sorted(map(unmarked, asked))
    compared = {row.sample_id: row for row in rows if not row.lane}
    assert set(compared) == {sample.sample_id for sample in samples}
    assert {row.noise_millionths for row in compared.values()} == {PPM}
    assert all(row.sovereign_millionths is not None for row in compared.values())
    assert all(len(row.sovereign_leg_id) == len(row.noise_leg_id) == 16 for row in compared.values())


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["assistant", "both"])
async def test_messages_that_home_answers_are_sampled_as_such(
    messages: AsyncAnthropic, recorded: ShadowRecorder, model: str, streamed: bool
) -> None:
    """After the move nothing has changed for the application; whatever the cloud speaks."""
    answer = await tell(messages, ASKED[1], "summaries", model, streamed)
    assert answer.model == model
    await sampled(recorded)
    (sample,) = recorded.samples
    assert (sample.target, sample.reversed, sample.streamed) == (SOVEREIGN, True, streamed)
    assert said(sample) == answer.content[0].text
    await counted(recorded, SENT)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_messages_before_a_cloud_that_speaks_chats_are_sampled_too(
    messages: AsyncAnthropic, recorded: ShadowRecorder, streamed: bool
) -> None:
    answer = await tell(messages, ASKED[1], "ticket-triage", "both", streamed)
    await sampled(recorded)
    (sample,) = recorded.samples
    assert said(sample) == answer.content[0].text
    assert sample.chat.messages[0].content[0].text == "Be brief.\nBe kind."
    assert sample.target == CLOUD
    await counted(recorded, SENT)


async def test_messages_that_have_no_form_as_a_chat_are_answered_and_counted(
    messages: AsyncAnthropic, recorded: ShadowRecorder
) -> None:
    call = {"model": "assistant", "max_tokens": 2000, **ASKED[0]}
    call["extra_headers"] = {"x-homeward-workload": "ticket-triage"}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A."}}
    question = {"role": "user", "content": [document, {"type": "text", "text": "What is it?"}]}
    search = {"type": "web_search_20250305", "name": "web_search"}
    await messages.messages.create(**{**call, "thinking": thinking})
    await messages.messages.create(**{**call, "messages": [question]})
    await messages.messages.create(**{**call, "tools": [search], "tool_choice": {"type": "none"}})
    await messages.messages.create(**call, extra_body={"top_k": 5})
    await messages.beta.messages.create(**call, betas=["context-1m-2025-08-07"])
    await counted(recorded, {"ineligible/form": 5})
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
    told = "the last policy is not known .* policy 41 stays in force"
    assert len(re.findall(told, stack.log("router"))) == 1
