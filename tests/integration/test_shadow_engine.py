"""Samples become triplets through the real router, also when that dies in the middle."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc
from typer.testing import CliRunner, Result

from playbook.commands.shadow_examples import examples
from playbook.disagreements import texts_sha256
from services.common.ids import uuid7, uuid_text
from services.common.server import Server
from services.common.words import Purpose, Target
from services.shadow.adapters.router import LegFailed, RouterAdapter
from services.shadow.adapters.store import Store
from services.shadow.core.examples import Keeping, Reader
from services.shadow.core.experiment import Experiment, registered
from services.shadow.core.verdict import windows
from services.shadow.engine import Engine
from services.shadow.examples import ExampleShelf
from services.shadow.servicer import ShadowServicer
from services.shadow.translate import timestamp
from tests.support.experiments import wanted
from tests.support.stack import Stack, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAB_KEY = "hw-test-lab"
SETTINGS = f"""
[keys.lab]
sha256 = "{hashlib.sha256(LAB_KEY.encode()).hexdigest()}"
scopes = ["experiments"]

[upstreams.house]
target = "sovereign"
base_url = "http://127.0.0.1:CLOUD/v1"
api_key = "sk-house"
provider = "homeward-home"
region = "eu"
models = ["stand-in-*"]

[models.both]
routes = [
  {{{{ upstream = "cloud", model = "stand-in-mini" }}}},
  {{{{ upstream = "house", model = "stand-in-mini" }}}},
]
"""
PARTS = ("stand-in-cloud", "classifier", "router")
SECOND = 10**6
COMMAND = typer.Typer()
COMMAND.command()(examples)


class NoSpend:
    """Nothing is capped here."""

    def spent_today_nanos(self, workload: str) -> int | None:
        return 0

    def asked(self, workload: str) -> None:
        pass


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("engine"), SETTINGS.replace("{{", "{").replace("}}", "}"))
    file = running.settings_file
    file.write_text(file.read_text().replace("CLOUD", str(running.ports["cloud"])))
    async with running:
        await running.start(*PARTS)
        yield running


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def now_us() -> int:
    return time.time_ns() // 1_000


@asynccontextmanager
async def shadowing(
    stack: Stack, folder: Path, window_s: int, watermark_s: int, keeping: Keeping | None = None
) -> AsyncIterator[tuple[Engine, Store, Experiment]]:
    """An engine of this process, and an experiment that has begun."""
    store = Store(folder / "shadow.sqlite", 1_000)
    asked = wanted(
        "ticket-triage",
        margin=0.2,
        alpha=0.05,
        window_us=window_s * SECOND,
        watermark_us=watermark_s * SECOND,
    )
    start = now_us() // asked.window_us * asked.window_us
    experiment = registered(
        asked, None, experiment_id=uuid7(time.time_ns()), salt=bytes(16), now_unix_us=start
    )
    store.add_experiment(experiment, uuid7(time.time_ns()))
    router = RouterAdapter(stack.grpc, LAB_KEY)
    readers = {hashlib.sha256(LAB_KEY.encode()).digest(): Reader("lab", frozenset({"ticket-triage"}))}
    shelf = ExampleShelf(store, keeping or Keeping(), readers, now_us)
    engine = Engine(store, router, None, NoSpend(), now_us, in_flight=4, control_share=0.5, examples=shelf)
    engine.start()
    try:
        yield engine, store, experiment
    finally:
        await engine.stop()
        await router.close()
        store.close()


def sample(experiment: Experiment, number: int, model: str = "both") -> shadow_pb2.SubmitSampleRequest:
    trace = hashlib.sha256(b"%d" % number).hexdigest()
    return shadow_pb2.SubmitSampleRequest(
        sample_id=uuid7(time.time_ns()),
        experiment_id=experiment.experiment_id,
        epoch=experiment.epoch,
        request_time=timestamp(now_us()),
        chat=chat_pb2.Chat(
            model=model,
            messages=[
                _text(chat_pb2.ROLE_SYSTEM, "You triage tickets."),
                _text(chat_pb2.ROLE_USER, f"Ticket {number}: the printer on floor {number} burns."),
            ],
        ),
        answer=_text(chat_pb2.ROLE_ASSISTANT, "hardware"),
        leg_id=uuid7(time.time_ns()),
        cluster=number.to_bytes(16, "big"),
        traceparent=f"00-{trace[:32]}-{trace[32:48]}-01",
        target=leg_pb2.TARGET_CLOUD,
        workload="ticket-triage",
        streamed=number % 2 == 1,
    )


def _text(role: int, text: str) -> chat_pb2.Message:
    return chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=text)])  # type: ignore[arg-type]  # a number of the enumeration


async def test_samples_become_triplets(stack: Stack, tmp_path: Path) -> None:
    async with shadowing(stack, tmp_path, window_s=1, watermark_s=20) as (engine, store, experiment):
        requests = [sample(experiment, number) for number in range(10)]
        for request in requests:
            await engine.submit(request)
            await engine.submit(request)

        async def done() -> bool:
            return store.waiting() == 0

        await until(done, "all samples are finished")
        assert not store.funnel(experiment.experiment_id, 1).losses
        rows = [row for _, row in store.all_finished(0)]
        compared = [row for row in rows if not row.lane]
        assert sorted(row.sample_id for row in compared) == sorted(request.sample_id for request in requests)
        # Both targets are the same stand-in, whose answer is not "hardware".
        assert {(row.sovereign_millionths, row.reason) for row in compared} <= {(0, ""), (1_000_000, "")}
        assert all(row.noise_millionths is not None for row in compared)
        assert all(len(row.sovereign_leg_id) == len(row.noise_leg_id) == 16 for row in compared)
        assert {row.lane for row in rows} == {"", "cloud", "degraded"}
        store.forget()
        left = b"".join([file.read_bytes() for file in files_of(tmp_path)])
        assert left.startswith(b"SQLite")
        assert b"printer" not in left


async def test_a_router_that_dies_costs_no_sample(stack: Stack, tmp_path: Path) -> None:
    """Killed while legs run, and started again before the window closes: each has one triplet."""
    async with shadowing(stack, tmp_path, window_s=3600, watermark_s=60) as (engine, store, experiment):
        requests = [sample(experiment, number) for number in range(40)]
        for request in requests[:20]:
            await engine.submit(request)

        async def some() -> bool:
            return len(store.all_finished(0)) > 0

        await until(some, "the first sample is finished")
        await stack.kill("router")
        for request in requests[20:]:
            await engine.submit(request)
        assert store.waiting() > 0
        await stack.start("router")

        async def done() -> bool:
            return store.waiting() == 0

        await until(done, "all samples are finished")
        rows = Counter(row.sample_id for _, row in store.all_finished(0) if not row.lane)
        assert rows == Counter(request.sample_id for request in requests)
        assert not store.funnel(experiment.experiment_id, 1).losses
        scored = [row for _, row in store.all_finished(0) if not row.lane]
        assert all(row.sovereign_millionths is not None for row in scored)


async def test_the_evidence_is_that_of_a_replay(stack: Stack, tmp_path: Path) -> None:
    async with shadowing(stack, tmp_path, window_s=1, watermark_s=3) as (engine, store, experiment):
        for number in range(12):
            await engine.submit(sample(experiment, number))

        async def closed() -> bool:
            return sum(item.n for item in engine.evidence(experiment)[-1:]) == 12

        await until(closed, "all windows have closed")
        exported = store.triplets(experiment.experiment_id, 1)
        assert engine.evidence(experiment) == windows(exported, experiment.rules)


@pytest.mark.parametrize(
    ("model", "target", "reason", "counts"),
    [
        ("gpt-4o-mini", Target.SOVEREIGN, "target_not_allowed", True),
        ("no-such-model", Target.SOVEREIGN, "model_not_found", False),
    ],
)
async def test_a_leg_that_fails_says_whose_fault_it_is(
    stack: Stack, model: str, target: Target, reason: str, counts: bool
) -> None:
    router = RouterAdapter(stack.grpc, LAB_KEY)
    with pytest.raises(LegFailed) as caught:
        await router.ask(
            chat_pb2.Chat(model=model, messages=[_text(chat_pb2.ROLE_USER, "hello")]),
            workload="ticket-triage",
            purpose=Purpose.SHADOW,
            target=target,
            sample_id=uuid7(time.time_ns()),
            traceparent="",
            timeout_s=20,
        )
    assert (caught.value.reason, caught.value.counts) == (reason, counts)
    await router.close()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_leg_is_asked_as_the_application_asked(stack: Stack, streamed: bool) -> None:
    router = RouterAdapter(stack.grpc, LAB_KEY)
    reply = await router.ask(
        chat_pb2.Chat(model="both", messages=[_text(chat_pb2.ROLE_USER, "hello")]),
        workload="ticket-triage",
        purpose=Purpose.SHADOW,
        target=Target.SOVEREIGN,
        sample_id=uuid7(time.time_ns()),
        traceparent="",
        timeout_s=20,
        streamed=streamed,
    )
    assert reply.answer.text
    assert (len(reply.leg_id), reply.input_tokens is not None) == (16, True)
    assert reply.model.startswith("stand-in")
    await router.close()


async def test_a_router_that_is_away_is_not_the_models_fault() -> None:
    router = RouterAdapter("127.0.0.1:1", LAB_KEY)
    with pytest.raises(LegFailed) as caught:
        await router.ask(
            chat_pb2.Chat(model="both"),
            workload="ticket-triage",
            purpose=Purpose.SHADOW,
            target=Target.CLOUD,
            sample_id=uuid7(time.time_ns()),
            traceparent="",
            timeout_s=20,
        )
    assert (caught.value.reason, caught.value.counts, caught.value.passing) == ("router_away", False, True)
    await router.close()


@asynccontextmanager
async def told_by(engine: Engine) -> AsyncIterator[str]:
    """ShadowService with this engine on a free port; gives its address."""
    server = Server("homeward.shadow.v1.ShadowService")
    servicer = ShadowServicer(engine, cast("Any", None), {}, cast("Any", None))
    shadow_pb2_grpc.add_ShadowServiceServicer_to_server(servicer, server.grpc)
    port = await server.start("127.0.0.1:0")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.grpc.stop(0)


async def test_the_worst_disagreements_are_kept_and_told(
    stack: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Real answers, and what of them a person gets by the command; nobody else does, and no log has any."""
    caplog.set_level(logging.INFO)
    keeping = Keeping({"ticket-triage": 7}, {"ticket-triage": "public"}, per_epoch=3)
    async with shadowing(stack, tmp_path, window_s=3600, watermark_s=60, keeping=keeping) as running:
        engine, store, experiment = running
        # Both targets are the same stand-in; what the application got from home is said to be another's.
        requests = [sample(experiment, number) for number in range(8)]
        for request in requests:
            request.target = leg_pb2.TARGET_SOVEREIGN
            await engine.submit(request)

        async def done() -> bool:
            return store.waiting() == 0

        await until(done, "all samples are finished")
        rows = {row.sample_id: row for _, row in store.all_finished(0) if row.lane == "after"}
        worst = sorted(
            (row.sovereign_millionths - row.noise_millionths, row.sample_id)
            for row in rows.values()
            if row.sovereign_millionths is not None and row.noise_millionths is not None
        )[:3]
        assert worst[0][0] < 0
        async with told_by(engine) as address:
            settings = tmp_path / "reader.toml"
            settings.write_text(f'[shadow]\ngrpc = "{address}"\n[local]\nstate_dir = "{tmp_path}"\n')

            def asked(key: str, *more: str) -> Result:
                runner = CliRunner(env={"HOMEWARD_API_KEY": key, "COLUMNS": "100"})
                return runner.invoke(COMMAND, ["ticket-triage", "--settings", str(settings), *more])

            found = json.loads((await asyncio.to_thread(asked, LAB_KEY, "--json")).stdout)
            page = await asyncio.to_thread(asked, LAB_KEY)
            refused = await asyncio.to_thread(asked, "hw-nobody")
    told = found["examples"]
    assert [(item["difference"], item["sample_id"]) for item in told] == [
        (difference / 1e6, uuid_text(sample_id)) for difference, sample_id in worst
    ]
    for item in told:
        assert item["texts"]["sovereign"]["text"] == "hardware"
        assert item["texts"]["cloud"]["text"] not in ("", "hardware")
        assert [turn["speaker"] for turn in item["texts"]["turns"]] == ["system", "user"]
        assert texts_sha256(item["texts"]) == item["texts_sha256"]
    assert "the printer on floor" in page.stdout
    assert "«hardware»" in page.stdout
    assert refused.exit_code == 1
    assert "printer" not in refused.output
    assert "printer" not in caplog.text
    # The data class keeps none any more: the next start deletes them, before it does anything else.
    async with shadowing(stack, tmp_path, window_s=3600, watermark_s=60) as (_, store, _):
        store.forget()
        assert b"printer" not in b"".join([file.read_bytes() for file in files_of(tmp_path)])
        left = store.examples("ticket-triage", 0, now_us(), offset=0, limit=9, with_deleted=True)
        assert [item for item in left if item.texts is not None] == []
        # Those that worse ones replaced have their hash as well.
        reasons = Counter(item.delete_reason for item in left)
        assert reasons["settings"] == 3
        assert reasons.keys() <= {"settings", "replaced"}
