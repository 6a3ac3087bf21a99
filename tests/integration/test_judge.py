"""A judge through the real router: in the cloud, at home, where it may not be asked, and registered."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.ids import uuid7
from services.shadow.adapters.router import RouterAdapter
from services.shadow.adapters.store import Finished, Store
from services.shadow.core.experiment import registered
from services.shadow.engine import Engine
from services.shadow.translate import timestamp
from tests.support.anthropic_upstream import Received, Recorder
from tests.support.conductor_house import Clock, open_house
from tests.support.experiments import wanted
from tests.support.stack import Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

LAB_KEY = "hw-test-lab"
SETTINGS = """
[keys.lab]
sha256 = "{key}"
scopes = ["experiments"]

[upstreams.models]
base_url = "{models}"
api_key = "sk-models"
region = "eu"
models = ["writer-large", "judge-large"]

[upstreams.overseas]
base_url = "{models}"
api_key = "sk-models"
region = "us"
models = ["judge-overseas"]

[upstreams.house]
target = "sovereign"
base_url = "{models}"
api_key = "sk-models"
region = "eu"
models = ["writer-small", "judge-small"]

[models.writer]
routes = [
  {{ upstream = "models", model = "writer-large" }},
  {{ upstream = "house", model = "writer-small" }},
]

[models.judge-in-disguise]
routes = [{{ upstream = "models", model = "writer-large" }}]

[data_classes.european]
targets = ["cloud", "sovereign"]
regions = ["eu"]

[workloads.essays]
owner = "editors"
task_type = "open_ended"
data_class = "european"
"""
SECOND = 10**6
ONE, HALF = 1_000_000, 500_000


async def speak(request: web.Request, received: Received) -> web.Response:
    """Writers write; judges prefer what a small one wrote."""
    body = received.document
    model, said = body["model"], "a large essay"
    if model == "writer-small":
        said = "a small essay"
    elif body["messages"][-1]["content"].startswith("{"):
        told = orjson.loads(body["messages"][-1]["content"])
        small = ["small" in told["answer_1"], "small" in told["answer_2"]]
        said = f"Well.\nVERDICT: {'tie' if small[0] == small[1] else 1 + small.index(True)}"
    return web.json_response(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        }
    )


@pytest.fixture(scope="module")
async def models() -> AsyncIterator[Recorder]:
    async with Recorder(speak).running() as running:
        yield running


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, models: Recorder) -> AsyncIterator[Stack]:
    key = hashlib.sha256(LAB_KEY.encode()).hexdigest()
    settings = SETTINGS.format(key=key, models=models.base_url)
    async with Stack(tmp_path_factory.mktemp("judge"), settings) as running:
        await running.start("clickhouse", "ledger", "classifier", "router")
        yield running


class NoSpend:
    """Nothing is capped here."""

    def spent_today_nanos(self, workload: str) -> int | None:
        return 0

    def asked(self, workload: str) -> None:
        pass


async def compared(
    stack: Stack, folder: Path, scorer: str
) -> tuple[list[Finished], dict[tuple[str, str], int]]:
    """What becomes of one sample: its triplets, and its loss."""
    asked = wanted(
        "essays",
        scorer=scorer,
        margin=0.2,
        alpha=0.05,
        window_us=3600 * SECOND,
        watermark_us=3600 * SECOND,
    )
    now = time.time_ns() // 1_000
    start = now // asked.window_us * asked.window_us
    experiment = registered(
        asked, None, experiment_id=uuid7(time.time_ns()), salt=bytes(16), now_unix_us=start
    )
    store = Store(folder / "shadow.sqlite", 100)
    store.add_experiment(experiment, uuid7(time.time_ns()))
    router = RouterAdapter(stack.grpc, LAB_KEY)
    engine = Engine(store, router, None, NoSpend(), lambda: now, control_share=0)
    engine.start()
    try:
        await engine.submit(
            shadow_pb2.SubmitSampleRequest(
                sample_id=uuid7(time.time_ns()),
                experiment_id=experiment.experiment_id,
                epoch=1,
                request_time=timestamp(now),
                chat=chat_pb2.Chat(
                    model="writer", messages=[text(chat_pb2.ROLE_USER, "Write about the sea.")]
                ),
                answer=text(chat_pb2.ROLE_ASSISTANT, "another large essay"),
                leg_id=uuid7(time.time_ns()),
                cluster=bytes(16),
                target=leg_pb2.TARGET_CLOUD,
                workload="essays",
            )
        )

        async def done() -> bool:
            return store.waiting() == 0

        await until(done, "the sample is finished or lost")
        rows = [row for _, row in store.all_finished(0)]
        return rows, dict(store.funnel(experiment.experiment_id, 1).losses)
    finally:
        await engine.stop()
        await router.close()
        store.close()


def text(role: chat_pb2.Role.ValueType, said: str) -> chat_pb2.Message:
    return chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=said)])


@pytest.mark.parametrize("judge", ["judge-large", "judge-small"])
async def test_a_judge_judges_wherever_it_runs(
    stack: Stack, models: Recorder, tmp_path: Path, judge: str
) -> None:
    models.requests.clear()
    rows, losses = await compared(stack, tmp_path, f"judge@1:{judge}")
    assert losses == {}
    (row,) = rows
    assert (row.sovereign_millionths, row.noise_millionths, row.reason) == (ONE, HALF, "")
    asked: list[Any] = [item.document for item in models.requests if item.document["model"] == judge]
    assert len(asked) == 4
    assert {item["temperature"] for item in asked} == {0}


@pytest.mark.parametrize(
    ("judge", "reason"),
    [
        ("judge-overseas", "judge_not_allowed"),
        ("judge-in-disguise", "judge_serves_an_arm"),
        ("writer-small", "judge_serves_an_arm"),
        ("no-such-judge", "judge_model_not_found"),
    ],
)
async def test_a_judge_that_may_not_judge_loses_the_sample(
    stack: Stack, models: Recorder, tmp_path: Path, judge: str, reason: str
) -> None:
    models.requests.clear()
    rows, losses = await compared(stack, tmp_path, f"judge@1:{judge}")
    assert (rows, losses) == ([], {("lost", reason): 1})
    # What the data class keeps in Europe has not left it.
    assert not [item for item in models.requests if item.document["model"] == "judge-overseas"]


async def test_a_model_that_samples_ask_for_is_not_registered_as_their_judge(
    stack: Stack, tmp_path: Path
) -> None:
    async with open_house(stack, tmp_path, "essays", Clock()) as house:
        await house.sees(house.place)
        house.conductor.saw(
            shadow_pb2.SubmitSampleRequest(
                workload="essays",
                chat=chat_pb2.Chat(model="writer", messages=[text(chat_pb2.ROLE_USER, "Hello.")]),
            )
        )
        with pytest.raises(DomainError) as caught:
            await house.register(scorer="judge@1:writer")
        assert caught.value.reason is Reason.INVALID_REQUEST
        assert house.store.current("essays") is None
        assert (await house.register(scorer="judge@1:judge-large")).epoch == 1
