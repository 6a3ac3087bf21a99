"""The conductor against the real ledger: home and back, with lost answers, restarts, a ledger away."""

from __future__ import annotations

import asyncio
import shutil
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from grpc import aio
from homeward.common.v1 import chat_pb2, leg_pb2, policy_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.stages import CANARIES, HOME, OBSERVED, ROLLED_BACK, SHADOWED, Place
from services.common.words import Stage
from services.shadow.adapters.ledger import LedgerAdapter
from tests.support.conductor_house import (
    STEP_REQUESTS,
    STEP_S,
    Clock,
    CrowdedLedger,
    DeafLedger,
    ForgetfulLedger,
    House,
    S,
    open_house,
)
from tests.support.stack import WAIT_S, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = tuple(f"workload-{number}" for number in range(28))
CLOUD_ONLY = "cloud-only"
EXTRA = (
    "".join(f'\n[workloads.{name}]\nowner = "tests"\n' for name in NAMES)
    + f"""
[data_classes.never-home]
targets = ["cloud"]
[workloads.{CLOUD_ONLY}]
owner = "tests"
data_class = "never-home"
"""
)
_names = iter(NAMES)


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ledger, with the ClickHouse that it ships to."""
    async with Stack(tmp_path_factory.mktemp("conductor"), EXTRA) as running:
        await running.start("clickhouse", "ledger")
        yield running


@pytest.fixture
def workload() -> str:
    """The name of one that no other test has."""
    return next(_names)


async def decisions(stack: Stack, workload: str) -> list[ledger_pb2.Decision]:
    """The journal's decisions about a workload but its registration, oldest first."""
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        found = await stub.ListDecisions(ledger_pb2.ListDecisionsRequest(workload=workload))
    return list(reversed(found.decisions))[1:]


def places(made: list[ledger_pb2.Decision]) -> list[Place]:
    """Where decisions led."""
    return [Place(Stage(item.after.stage), item.after.sovereign_share_ppm) for item in made]


async def test_a_registration_that_comes_again_begins_no_spent_epoch(
    stack: Stack, tmp_path: Path, workload: str
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="first") as house:
        call = uuid.uuid4().bytes
        await house.register(call)
        house.proven()
        await house.conductor.cut_over(workload, "anna", request_id=uuid.uuid4().bytes, approve=True)
        await house.reaches(CANARIES[0])
        await house.conductor.roll_back(
            workload, "anna", request_id=uuid.uuid4().bytes, reason="a fire drill"
        )
        assert (await house.register(call)).epoch == 1
        assert house.place == ROLLED_BACK
        assert (await house.register()).epoch == 2
    assert places(await decisions(stack, workload)) == [SHADOWED, CANARIES[0], ROLLED_BACK, SHADOWED]


async def test_nor_does_one_whose_answer_was_lost(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), ForgetfulLedger, approval="first") as house:
        call = uuid.uuid4().bytes
        with pytest.raises(DomainError, match="the answer is lost"):
            await house.register(call)
        await house.reaches(SHADOWED)
        house.proven()
        await house.blocked_by("the move from SHADOWED to CANARY 1% needs an approval")
        with pytest.raises(DomainError, match="the answer is lost"):
            await house.conductor.cut_over(workload, "anna", request_id=uuid.uuid4().bytes, approve=True)
        await house.reaches(CANARIES[0])
        with pytest.raises(DomainError, match="the answer is lost"):
            await house.conductor.roll_back(workload, "anna", request_id=uuid.uuid4().bytes, reason="a drill")
        await house.reaches(ROLLED_BACK)
        assert (await house.register(call)).epoch == 1
        assert house.place == ROLLED_BACK
    assert places(await decisions(stack, workload)) == [SHADOWED, CANARIES[0], ROLLED_BACK]


async def test_a_comparison_that_a_person_ended_stays_so(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock()) as house:
        call = uuid.uuid4().bytes
        await house.register(call)
        await house.conductor.roll_back(workload, "anna", request_id=uuid.uuid4().bytes, reason="a mistake")
        assert (await house.register(call)).epoch == 1
        assert house.place == OBSERVED
    assert places(await decisions(stack, workload)) == [SHADOWED, OBSERVED]


async def test_what_can_not_be_compared_spends_no_epoch(stack: Stack, tmp_path: Path) -> None:
    async with open_house(stack, tmp_path, CLOUD_ONLY, Clock()) as house:
        for _ in range(2):
            with pytest.raises(DomainError, match="its data class does not allow both targets") as refused:
                await house.register()
            assert refused.value.reason is Reason.STAGE_MOVE_FORBIDDEN
            assert refused.value.metadata == {"workload": CLOUD_ONLY, "from": "OBSERVED", "to": "SHADOWED"}
        assert house.store.current(CLOUD_ONLY) is None
    assert await decisions(stack, CLOUD_ONLY) == []


async def test_a_workload_walks_home(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="first") as house:
        experiment = await house.register()
        await house.reaches(SHADOWED)
        await house.blocked_by(
            "the verdict is COLLECTING: 0 windows closed",
            "no samples yet",
            "the move from SHADOWED to CANARY 1% needs",
        )
        house.proven()
        await house.blocked_by("the move from SHADOWED to CANARY 1% needs an approval")
        answer = await house.conductor.cut_over(
            workload, "anna", request_id=uuid.uuid4().bytes, approve=False
        )
        assert answer.moved
        assert answer.migration.next_share_ppm == 50_000
        assert house.place == CANARIES[0]
        await house.walk(*CANARIES[1:], HOME)
        standing = await house.standing()
        assert list(standing.blocks) == []
        assert standing.next_stage == policy_pb2.STAGE_UNSPECIFIED
        assert [item.name for item in standing.capabilities] == ["context_length", "tools"]

    made = await decisions(stack, workload)
    assert places(made) == [SHADOWED, *CANARIES, HOME]
    assert [item.actor for item in made] == ["shadow", "anna", *["shadow"] * 4]
    for item in made[1:]:
        evidence = json_format.MessageToDict(item.evidence)
        assert evidence["verdict"] == "READY"
        assert evidence["experiment_id"] == experiment.experiment_id.hex()
        # Those of the window that brought the verdict, not of the last one.
        assert evidence["votes"] == 60
        assert evidence["lower_bound"] > -experiment.margin
        assert item.after.sampling.reversed
        assert item.after.sampling.salt == experiment.salt
    assert made[1].evidence["approved_by"] == "anna"
    assert [item.after.sampling.rate_ppm for item in made] == [*[1_000_000] * 5, 100_000]


async def test_a_worse_model_stays_in_the_cloud(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await house.register()
        house.proven(right=False)
        await house.blocked_by("the verdict is REJECTED", "the sovereign endpoint was not", "the sovereign")
        with pytest.raises(DomainError) as refused:
            await house.conductor.cut_over(workload, "anna", request_id=uuid.uuid4().bytes, approve=False)
        assert refused.value.reason is Reason.MOVE_BLOCKED
        assert refused.value.metadata["blocks"].startswith("the verdict is REJECTED")
        assert house.place == SHADOWED

        # Whoever looked first, the conductor's own look ends the sampling.
        async def rested() -> bool:
            return len(await decisions(stack, workload)) == 2

        await until(rested, "nothing is sampled any more")
        made = await decisions(stack, workload)
        assert places(made) == [SHADOWED, SHADOWED]
        # What can't change any more is paid for no longer.
        assert [item.after.sampling.rate_ppm > 0 for item in made] == [True, False]
        assert json_format.MessageToDict(made[-1].evidence)["verdict"] == "REJECTED"
        assert (await house.register()).epoch == 2


async def test_what_the_endpoint_lacks_blocks(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        house.endpoint.lacks = {"tools"}
        await house.register()
        house.proven()
        await house.blocked_by("the sovereign endpoint lacks tools")
        probed = len(house.endpoint.probed)
        # What failed is tried again, after a minute and not before.
        house.endpoint.lacks = set()
        house.clock.pass_s(59)
        await house.blocked_by("the sovereign endpoint lacks tools")
        assert len(house.endpoint.probed) == probed
        house.clock.pass_s(2)
        await house.reaches(CANARIES[0])


async def home(house: House) -> None:
    """Takes a workload home."""
    await house.register()
    house.proven()
    await house.reaches(CANARIES[0])
    await house.walk(*CANARIES[1:], HOME)


async def test_the_alarm_rolls_back_and_a_new_epoch_begins(
    stack: Stack, tmp_path: Path, workload: str
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await home(house)
        house.triplets(200, right=False, lane="after", start_us=house.clock())
        await house.reaches(ROLLED_BACK)
        standing = await house.standing()
        assert standing.log_m > 11.5
        assert list(standing.blocks) == [
            "it was rolled back; register a new epoch of its experiment to start again"
        ]
        again = await house.register()
        assert again.epoch == 2
        await house.reaches(SHADOWED)
        await house.blocked_by("the verdict is COLLECTING: 0 windows closed", "no samples yet")

    made = await decisions(stack, workload)
    assert places(made)[-2:] == [ROLLED_BACK, SHADOWED]
    rolled = made[-2]
    assert rolled.actor == "shadow"
    assert rolled.reason.startswith("the alarm after cutover")
    assert json_format.MessageToDict(rolled.evidence)["log_m"] > 11.5
    assert not rolled.after.HasField("sampling")


async def test_a_breaker_rolls_back(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await house.register()
        house.proven()
        await house.reaches(CANARIES[0])
        await house.sees(CANARIES[0])
        await house.legs(40, failed=2)
        await house.legs(40, failed=20)
        await house.reaches(ROLLED_BACK)
    rolled = (await decisions(stack, workload))[-1]
    assert rolled.actor == "breaker"
    assert rolled.reason.startswith("22 of 80 legs at home failed within 60 s")
    assert json_format.MessageToDict(rolled.evidence)["breaker"]["figures"]["error_rate"] == 0.275


async def test_a_report_whose_router_waits_no_longer_counts_once(
    stack: Stack, tmp_path: Path, workload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await house.register()
        house.proven()
        await house.reaches(CANARIES[0])
        await house.sees(CANARIES[0])
        begun, go, added = threading.Event(), threading.Event(), threading.Event()
        add_traffic = house.store.add_traffic

        def slowly(*report: Any) -> bool:
            begun.set()
            assert go.wait(WAIT_S)
            is_new = add_traffic(*report)
            added.set()
            return is_new

        monkeypatch.setattr(house.store, "add_traffic", slowly)
        report = shadow_pb2.ReportTrafficRequest(
            router_id=uuid.uuid4().bytes,
            sequence=1,
            legs=[
                shadow_pb2.LegCount(
                    workload=workload, target=leg_pb2.TARGET_SOVEREIGN, leg_count=40, failed_count=20
                )
            ],
        )
        given_up = asyncio.create_task(house.conductor.report(report))
        assert await asyncio.to_thread(begun.wait, WAIT_S)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        go.set()
        assert await asyncio.to_thread(added.wait, WAIT_S)
        await house.conductor.report(report)
        await house.reaches(ROLLED_BACK)
    rolled = (await decisions(stack, workload))[-1]
    assert rolled.reason.startswith("20 of 40 legs at home failed within 60 s")


async def test_a_person_rolls_back(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await house.register()
        house.proven()
        await house.reaches(CANARIES[0])
        request_id = uuid.uuid4().bytes
        for _ in range(2):
            await house.conductor.roll_back(workload, "anna", request_id=request_id, reason="a fire drill")
            assert house.place == ROLLED_BACK
    made = await decisions(stack, workload)
    assert places(made) == [SHADOWED, CANARIES[0], ROLLED_BACK]
    assert (made[-1].actor, made[-1].reason) == ("anna", "a fire drill")


async def test_a_comparison_is_ended_and_the_next_one_is_another_epoch(
    stack: Stack, tmp_path: Path, workload: str
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await house.register()
        for _ in range(2):
            await house.conductor.roll_back(
                workload, "anna", request_id=uuid.uuid4().bytes, reason="rejected"
            )
            assert house.place == OBSERVED
        assert (await house.register()).epoch == 2
    assert places(await decisions(stack, workload)) == [SHADOWED, OBSERVED, SHADOWED]


async def test_another_model_at_home_needs_another_epoch(
    stack: Stack, tmp_path: Path, workload: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await house.register()
        house.found.models[1] = {"gpt-4o": ["llama-8b", "llama-3b"]}
        house.proven()
        mixed = (
            "more than one model answered at home in this epoch (for 'gpt-4o' 'llama-8b', then 'llama-3b')"
        )
        await house.blocked_by(mixed)

        async def told() -> bool:
            house.clock.pass_s(1)
            return f"alert: {workload}: {mixed}" in caplog.text

        await until(told, "the alert")
        assert (await house.standing()).alerts[0].startswith(mixed)
        # The new model's evidence is its own.
        await house.register()
        house.found.models[2] = {"gpt-4o": ["llama-3b"]}
        house.proven()
        await house.reaches(CANARIES[0])


@pytest.mark.parametrize("kept", [0, 1], ids=["lost", "older"])
async def test_error_that_the_journal_has_as_spent_stays_so_where_the_file_is(
    stack: Stack, tmp_path: Path, workload: str, kept: int
) -> None:
    clock, backup = Clock(), tmp_path / "backup"
    for epoch in (1, 2):
        async with open_house(stack, tmp_path, workload, clock) as house:
            assert (await house.register()).epoch == epoch
            experiment_id = house.ledger.policy.rows[workload].proto.sampling.experiment_id
        if epoch == kept:
            shutil.copytree(tmp_path, backup)
    backup.mkdir(exist_ok=True)
    async with open_house(stack, backup, workload, clock) as house:
        for name, value in (("margin", 0.4), ("alpha", 0.01)):
            with pytest.raises(DomainError, match=f"{name} is 0.[0-9]+ in all its epochs") as refused:
                await house.register(**{name: value})
            assert refused.value.reason is Reason.EXPERIMENT_FIXED
        call = uuid.uuid4().bytes
        for _ in range(2):
            made = await house.register(call)
            assert (made.experiment_id, made.epoch) == (experiment_id, 3)
        await house.reaches(SHADOWED)
        assert house.ledger.policy.rows[workload].proto.sampling.epoch == 3
        await house.blocked_by("the verdict is COLLECTING", "no samples yet", "the move from SHADOWED to")
    assert [item.after.sampling.epoch for item in await decisions(stack, workload)] == [1, 2, 3]


async def test_what_a_journal_that_does_not_answer_has_is_spent_too(
    stack: Stack, tmp_path: Path, workload: str
) -> None:
    class Mute(LedgerAdapter):
        """A line on which the journal can't be read."""

        async def decisions(self, workload: str) -> AsyncIterator[ledger_pb2.Decision]:
            raise DomainError(Reason.STORAGE_UNAVAILABLE, "nobody answers", store="ledger", detail="lost")
            yield ledger_pb2.Decision()

    async with open_house(stack, tmp_path, workload, Clock(), Mute) as house:
        with pytest.raises(DomainError, match="nobody answers") as refused:
            await house.register()
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
        assert (house.place, house.store.current(workload)) == (OBSERVED, None)


async def test_lost_answers_make_no_second_move(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(
        stack, tmp_path, workload, Clock(), ForgetfulLedger, approval="first", approvers=["anna"]
    ) as house:
        request_id = uuid.uuid4().bytes
        with pytest.raises(DomainError, match="the answer is lost"):
            await house.register(request_id)
        first = await house.register(request_id)
        assert first.epoch == 1
        await house.reaches(SHADOWED)
        house.proven()
        await house.blocked_by("the move from SHADOWED to CANARY 1% needs an approval")
        with pytest.raises(DomainError) as refused:
            await house.conductor.cut_over(workload, "bert", request_id=request_id, approve=True)
        assert refused.value.reason is Reason.APPROVAL_FORBIDDEN
        call = uuid.uuid4().bytes
        with pytest.raises(DomainError, match="the answer is lost"):
            await house.conductor.cut_over(workload, "anna", request_id=call, approve=False)
        await house.reaches(CANARIES[0])
        # The same call again finds its move in the policy, and makes no other.
        answer = await house.conductor.cut_over(workload, "anna", request_id=call, approve=False)
        assert answer.moved
        assert house.place == CANARIES[0]
        await house.walk(*CANARIES[1:], HOME)
    assert places(await decisions(stack, workload)) == [SHADOWED, *CANARIES, HOME]


async def test_an_epoch_that_could_not_begin_keeps_the_old_one_from_moving(
    stack: Stack, tmp_path: Path, workload: str
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), DeafLedger, approval="first") as house:
        assert isinstance(house.ledger, DeafLedger)
        await house.register()
        house.proven()
        await house.blocked_by("the move from SHADOWED to CANARY 1% needs an approval")
        house.ledger.losses = 1
        request_id = uuid.uuid4().bytes
        with pytest.raises(DomainError, match="nobody answers"):
            await house.register(request_id)
        await house.blocked_by("epoch 2 was registered and has not begun", "the move from SHADOWED to")
        again = await house.register(request_id)
        assert again.epoch == 2
        await house.blocked_by("the verdict is COLLECTING", "no samples yet", "the move from SHADOWED to")
    assert places(await decisions(stack, workload)) == [SHADOWED, SHADOWED]


async def test_a_funnel_that_stands_still_is_told_once_and_its_end_too(
    stack: Stack, tmp_path: Path, workload: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        experiment = await house.register()
        await house.sees(SHADOWED)
        house.clock.pass_s(2_400)
        half_an_hour_ago = house.clock() - 1_800 * S
        count = shadow_pb2.SamplingCount(
            workload=workload,
            experiment_id=experiment.experiment_id,
            epoch=experiment.epoch,
            step="eligible",
            count=100,
        )
        count.minute_time.FromMicroseconds(half_an_hour_ago)
        report = shadow_pb2.ReportTrafficRequest(router_id=uuid.uuid4().bytes, sequence=1, samplings=[count])
        for _ in range(2):
            await house.conductor.report(report)
        assert (await house.standing()).funnel_epoch.eligible_count == 100

        async def told(times: int, words: str) -> None:
            async def so() -> bool:
                house.clock.pass_s(1)
                return caplog.text.count(f"alert: {workload}: {words}") == times

            await until(so, words)

        await told(1, "no sample of an hour was scored, of 100 requests")
        assert (await house.standing()).alerts[0].startswith("no sample of an hour was scored")
        house.triplets(5, start_us=half_an_hour_ago)
        await told(1, "no longer: no sample of an hour was scored")
        await told(1, "no sample of an hour was scored, of 100 requests")
        assert list((await house.standing()).alerts) == []


async def test_a_restart_forgets_nothing(stack: Stack, tmp_path: Path, workload: str) -> None:
    clock = Clock()
    async with open_house(stack, tmp_path, workload, clock, approval="first") as house:
        await house.register()
        answer = await house.conductor.cut_over(workload, "anna", request_id=uuid.uuid4().bytes, approve=True)
        assert not answer.moved
        assert answer.migration.approved
    async with open_house(stack, tmp_path, workload, clock, approval="first") as house:
        assert (await house.standing()).approved
        # The approval waited; now nothing else keeps the workload.
        house.proven()
        await house.reaches(CANARIES[0])
        await house.sees(CANARIES[0])
        assert not (await house.standing()).approved
        since = (await house.standing()).stage_time
        await house.legs(STEP_REQUESTS)
        await house.blocked_by("CANARY 1% has lasted 0 s of 60 s")
    async with open_house(stack, tmp_path, workload, clock, approval="first") as house:
        assert (await house.standing()).stage_time == since
        await house.blocked_by("CANARY 1% has lasted 0 s of 60 s")
        clock.pass_s(STEP_S)
        await house.reaches(CANARIES[1])
        # What probes found is known still.
        assert house.endpoint.probed == []
    assert [item.actor for item in await decisions(stack, workload)] == ["shadow"] * 3


async def test_other_decisions_meanwhile_do_not_matter(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), CrowdedLedger, approval="first") as house:
        await house.register()
        house.proven()
        await house.blocked_by("the move from SHADOWED to CANARY 1% needs an approval")
        assert isinstance(house.ledger, CrowdedLedger)
        house.ledger.crowds = 2
        answer = await house.conductor.cut_over(
            workload, "anna", request_id=uuid.uuid4().bytes, approve=False
        )
        assert answer.moved
        assert house.ledger.crowds == 0
        assert house.place == CANARIES[0]


async def test_a_defect_does_not_end_the_looking(
    stack: Stack, tmp_path: Path, workload: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await house.register()
        house.found.broken = True

        async def failed() -> bool:
            return f"a look at {workload} failed" in caplog.text

        await until(failed, "a look has failed")
        house.found.broken = False
        house.proven()
        await house.reaches(CANARIES[0])


async def test_fixed_parts_are_seen_and_kept(stack: Stack, tmp_path: Path, workload: str) -> None:
    clock = Clock()
    async with open_house(stack, tmp_path, workload, clock) as house:
        experiment = await house.register()
        await house.sees(SHADOWED)
        chat = chat_pb2.Chat(
            model="gpt-4o-mini",
            messages=[chat_pb2.Message(content=[chat_pb2.ContentPart(text="my secret question")])],
            tools=[chat_pb2.Tool(name="route", description="Routes.")],
        )
        chat.sampling.max_tokens = 50
        epoch = (experiment.experiment_id, experiment.epoch)
        house.conductor.saw(
            shadow_pb2.SubmitSampleRequest(
                workload=workload, experiment_id=epoch[0], epoch=epoch[1], chat=chat, streamed=True
            )
        )

        async def kept() -> bool:
            return b"gpt-4o-mini" in (house.store.get_state(f"parts:{workload}") or b"")

        await until(kept, "the parts are kept")
        state = house.store.get_state(f"parts:{workload}")
        assert state is not None
        assert b"route" in state
        assert b"secret" not in state


async def test_a_ledger_that_goes_and_comes_back(stack: Stack, tmp_path: Path, workload: str) -> None:
    async with open_house(stack, tmp_path, workload, Clock(), approval="none") as house:
        await stack.kill("ledger")

        async def noticed() -> bool:
            return not house.ledger.connected

        await until(noticed, "the ledger's death is noticed")
        request_id = uuid.uuid4().bytes
        with pytest.raises(DomainError) as refused:
            await house.register(request_id)
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
        # No epoch is spent on it.
        assert house.store.experiments() == []

        async def told() -> bool:
            house.clock.pass_s(1)
            return any(
                item.startswith("the ledger does not answer") for item in (await house.standing()).alerts
            )

        await until(told, "the alert is on")
        await stack.start("ledger")

        async def back() -> bool:
            return house.ledger.connected

        await until(back, "the ledger is back")
        assert (await house.register(request_id)).epoch == 1
        house.proven()
        await house.reaches(CANARIES[0])
        await stack.kill("ledger")
        await until(noticed, "the ledger's death is noticed")
        # A rollback that can't be decided now is decided as soon as it can.

        async def due() -> bool:
            return not (await house.standing()).blocks

        assert not await due()
        await house.legs(40, failed=40)
        await until(due, "the breaker has tripped")
        assert house.place == CANARIES[0]
        await stack.start("ledger")
        await house.reaches(ROLLED_BACK)
    assert (await decisions(stack, workload))[-1].actor == "breaker"
