"""The judge at work: the engine on a real store, and a router's door behind which a test's models speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.server import Server
from services.shadow.adapters.router import RouterAdapter
from services.shadow.adapters.store import Finished, Store
from services.shadow.core.experiment import Experiment, registered
from services.shadow.engine import Engine
from services.shadow.judging import JUDGE_TOKENS
from services.shadow.translate import timestamp
from tests.support.experiments import wanted

SECOND = 10**6
NOW = 1_000 * SECOND
JUDGE = "judge-large"
WANTED = wanted("essays", scorer=f"judge@1:{JUDGE}")
WAIT_S = 20.0
ONE, HALF, NONE = 1_000_000, 500_000, None
GIVEN, HOME, AGAIN = "cloud's words", "home's words", "cloud's other words"
Says = Callable[[str, str], str]
"""The judge's reply to two answers in the order in which they are shown."""


def prefers(*order: str) -> Says:
    """A judge that likes what stands first here; what does not stand here is all the same to it, and last."""

    def says(first: str, second: str) -> str:
        places = [order.index(item) if item in order else len(order) for item in (first, second)]
        best = "tie" if places[0] == places[1] else "1" if places[0] < places[1] else "2"
        return f"I have read both.\nVERDICT: {best}"

    return says


def refuses(reason: Reason, what: str = "", **metadata: Any) -> Says:
    """A judge that can't be asked about pairs with an answer in which this stands; others are ties."""

    def says(first: str, second: str) -> str:
        if what in first + second:
            raise DomainError(reason, "no", **metadata)
        return "VERDICT: tie"

    return says


def broken(what: str = "") -> Says:
    return refuses(Reason.CONTEXT_LENGTH_EXCEEDED, what, context_tokens=1, field="messages")


def away() -> Says:
    return refuses(Reason.UPSTREAM_UNREACHABLE, upstream="cloud", attempts="3")


@dataclass
class Door(router_pb2_grpc.RouterServiceServicer):
    """A router whose models are a test's."""

    says: Says = field(default_factory=prefers)
    home: str = HOME
    noise: str = AGAIN
    models: Mapping[str, str] = field(default_factory=dict)
    """What serves, by purpose, where it is not what the name says."""
    judge_at: tuple[int, ...] = (leg_pb2.TARGET_CLOUD,)
    """Where a judge may run."""
    mumbles: int = 0
    """How many replies of the judge are none."""
    in_step: bool = False
    """Whether the judge answers both orders of a pair together: the one that gives up cancels the other."""
    asked: list[router_pb2.CompleteRequest] = field(default_factory=list)
    pairs: dict[frozenset[str], asyncio.Barrier] = field(default_factory=dict)

    @property
    def judged(self) -> list[router_pb2.CompleteRequest]:
        return [item for item in self.asked if item.routing.purpose == leg_pb2.PURPOSE_JUDGE]

    async def Complete(
        self, request: router_pb2.CompleteRequest, context: Any
    ) -> router_pb2.CompleteResponse:
        self.asked.append(request)
        purpose = leg_pb2.Purpose.Name(request.routing.purpose).removeprefix("PURPOSE_").lower()
        if purpose == "judge":
            if self.in_step:
                told = orjson.loads(request.chat.messages[1].content[0].text)
                pair = frozenset((told["answer_1"], told["answer_2"]))
                await self.pairs.setdefault(pair, asyncio.Barrier(2)).wait()
            said = self._judge(request)
        else:
            said = self.home if purpose == "shadow" else self.noise
        model = self.models.get(purpose, {"judge": JUDGE, "shadow": "small"}.get(purpose, "large"))
        return router_pb2.CompleteResponse(
            choices=[router_pb2.Choice(message=text(said))],
            route=router_pb2.Route(leg_id=b"l" * 16, model=model),
        )

    def CompleteStream(self, request: router_pb2.CompleteStreamRequest, context: Any) -> Any:
        raise AssertionError("no leg is streamed")

    async def ListModels(self, request: router_pb2.ListModelsRequest, context: Any) -> Any:
        raise AssertionError("nobody asks for it")

    def _judge(self, request: router_pb2.CompleteRequest) -> str:
        if request.routing.target not in self.judge_at:
            raise DomainError(
                Reason.TARGET_NOT_ALLOWED, "not there", workload="essays", allowed="", model=JUDGE
            )
        if self.mumbles:
            self.mumbles -= 1
            return "They are both fine answers."
        told = orjson.loads(request.chat.messages[1].content[0].text)
        return self.says(told["answer_1"], told["answer_2"])


@dataclass
class Spend:
    """Counts legs in the cloud."""

    legs: int = 0

    def spent_today_nanos(self, workload: str) -> int | None:
        return 0

    def asked(self, workload: str) -> None:
        assert workload == "essays"
        self.legs += 1


@dataclass
class Bench:
    """An engine and what it works with."""

    engine: Engine
    store: Store
    spend: Spend
    experiment: Experiment

    @property
    def rows(self) -> list[Finished]:
        return [row for _, row in self.store.all_finished(0)]

    @property
    def losses(self) -> dict[tuple[str, str], int]:
        return dict(self.store.funnel(self.experiment.experiment_id, 1).losses)

    async def compare(self, number: int = 1, said: str = GIVEN, **fields: Any) -> None:
        """Submits a sample, and waits until it is finished or lost."""
        await self.engine.submit(request(number, said, **fields))
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while self.store.waiting():
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.005)


@asynccontextmanager
async def bench(tmp_path: Path, door: Door) -> AsyncIterator[Bench]:
    server = Server()
    router_pb2_grpc.add_RouterServiceServicer_to_server(door, server.grpc)
    port = await server.start("127.0.0.1:0")
    store = Store(tmp_path / "shadow.sqlite", 100)
    experiment = registered(WANTED, None, experiment_id=b"e" * 16, salt=b"s" * 16, now_unix_us=NOW)
    store.add_experiment(experiment, b"r" * 16)
    router, spend = RouterAdapter(f"127.0.0.1:{port}", "hw-test-shadow"), Spend()
    engine = Engine(store, router, None, spend, lambda: NOW, control_share=0, leg_timeout_s=WAIT_S)
    engine.start()
    try:
        yield Bench(engine, store, spend, experiment)
    finally:
        await engine.stop(0)
        await router.close()
        await server.stop()
        store.close()


def request(number: int, said: str, **fields: Any) -> shadow_pb2.SubmitSampleRequest:
    made = shadow_pb2.SubmitSampleRequest(
        sample_id=number.to_bytes(16, "big"),
        experiment_id=b"e" * 16,
        epoch=1,
        request_time=timestamp(NOW),
        answer=text(said),
        leg_id=b"a" * 16,
        cluster=number.to_bytes(16, "big"),
        traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01",
        target=leg_pb2.TARGET_CLOUD,
        workload="essays",
        chat=chat_pb2.Chat(model="writer", messages=[text("Write about the sea.")]),
    )
    for name, value in fields.items():
        if name == "model":
            made.chat.model = value
        else:
            setattr(made, name, value)
    return made


def text(said: str) -> chat_pb2.Message:
    return chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text=said)])


@pytest.mark.parametrize(
    ("door", "sovereign", "noise", "reason", "judge_legs"),
    [
        (Door(prefers(HOME)), ONE, HALF, "", 4),
        (Door(prefers(GIVEN, AGAIN, HOME)), 0, 0, "", 4),
        (Door(prefers(AGAIN, HOME, GIVEN)), ONE, ONE, "", 4),
        (Door(prefers()), HALF, HALF, "", 4),
        # One that likes its place, whatever stands there, says nothing.
        (Door(lambda first, second: "VERDICT: 1"), HALF, HALF, "", 4),
        (Door(lambda first, second: "VERDICT: 2"), HALF, HALF, "", 4),
        (Door(prefers(HOME), mumbles=1), ONE, HALF, "", 5),
        (Door(lambda first, second: "Hm."), 0, NONE, "unscorable", 8),
        # An answer must gain nothing by being such that no judge can be asked about it.
        (Door(broken(HOME), in_step=True), 0, HALF, "unscorable", 6),
        # What needs no judge is not judged.
        (Door(prefers(HOME), home=GIVEN, noise=GIVEN), HALF, HALF, "", 0),
        (Door(prefers(HOME), home=" ", noise=GIVEN), 0, HALF, "empty", 0),
        # Where the data class keeps all at home, and where the judge is at home.
        (Door(prefers(HOME), judge_at=(leg_pb2.TARGET_SOVEREIGN,)), ONE, HALF, "", None),
    ],
)
async def test_what_the_judge_makes_of_a_sample(
    tmp_path: Path,
    door: Door,
    sovereign: int | None,
    noise: int | None,
    reason: str,
    judge_legs: int | None,
) -> None:
    door = replace(door, asked=[], pairs={})
    async with bench(tmp_path, door) as made:
        await made.compare()
        assert made.losses == {} or noise is None
        (row,) = made.rows
        assert (row.sovereign_millionths, row.noise_millionths, row.reason) == (sovereign, noise, reason)
        assert row.scorer == f"judge@1:{JUDGE}"
        if judge_legs is not None:
            assert len(door.judged) == judge_legs
            assert made.spend.legs == 1 + judge_legs  # the noise, and each leg of the judge


async def test_the_judge_sees_both_orders_and_not_whose_answer_is_which(tmp_path: Path) -> None:
    door = Door(prefers(HOME))
    async with bench(tmp_path, door) as made:
        await made.compare()
    told = [orjson.loads(item.chat.messages[1].content[0].text) for item in door.judged]
    assert {item["request"] for item in told} == {"user: Write about the sea."}
    assert {(item["answer_1"], item["answer_2"]) for item in told} == {
        (HOME, GIVEN),
        (GIVEN, HOME),
        (AGAIN, GIVEN),
        (GIVEN, AGAIN),
    }
    for item in door.judged:
        assert item.chat.model == JUDGE
        assert item.chat.sampling == chat_pb2.SamplingParameters(max_tokens=JUDGE_TOKENS, temperature=0)
        assert item.routing == router_pb2.Routing(
            workload="essays",
            purpose=leg_pb2.PURPOSE_JUDGE,
            target=leg_pb2.TARGET_CLOUD,
            sample_id=(1).to_bytes(16, "big"),
        )
        assert not any(word in str(item.chat) for word in ("sovereign", "small", "large\n"))


@pytest.mark.parametrize(
    ("door", "fields", "reason"),
    [
        (Door(models={"shadow": JUDGE}), {}, "judge_serves_an_arm"),
        (Door(models={"shadow": "judge-large-2026-01-01"}), {}, "judge_serves_an_arm"),
        (Door(models={"noise": JUDGE}), {}, "judge_serves_an_arm"),
        # Under another name.
        (Door(models={"judge": "small"}), {}, "judge_serves_an_arm"),
        (Door(), {"model": JUDGE}, "judge_serves_an_arm"),
        (Door(judge_at=()), {}, "judge_not_allowed"),
        (Door(away()), {}, "judge_upstream_unreachable"),
        (Door(refuses(Reason.MODEL_NOT_FOUND, model=JUDGE)), {}, "judge_model_not_found"),
        (Door(refuses(Reason.BUDGET_EXHAUSTED, budget="b", retry_after_s=1)), {}, "judge_budget_exhausted"),
        # The sovereign model has no part in what goes wrong between the cloud's answers.
        (Door(broken(AGAIN)), {}, "judge_context_length_exceeded"),
    ],
)
async def test_what_is_no_fault_of_the_model_is_a_loss(
    tmp_path: Path, door: Door, fields: dict[str, Any], reason: str
) -> None:
    async with bench(tmp_path, replace(door, asked=[])) as made:
        await made.compare(**fields)
        assert made.losses == {("lost", reason): 1}
        assert made.rows == []


async def test_a_judge_that_is_asked_for_by_the_application_costs_nothing(tmp_path: Path) -> None:
    door = Door()
    async with bench(tmp_path, door) as made:
        await made.compare(model=JUDGE)
        assert (door.asked, made.spend.legs) == ([], 0)


async def test_after_the_cutover_and_where_the_cloud_stepped_in(tmp_path: Path) -> None:
    door = Door(prefers(HOME, GIVEN), home=GIVEN)
    async with bench(tmp_path, door) as made:
        await made.compare(1, HOME, target=leg_pb2.TARGET_SOVEREIGN)
        await made.compare(2, GIVEN, sovereign_failed=True)
        found = [(row.lane, row.sovereign_millionths, row.noise_millionths, row.reason) for row in made.rows]
        assert found == [("after", ONE, 0, ""), ("after", 0, 0, "sovereign_failed")]


@pytest.mark.parametrize(
    ("says", "compared", "degraded"),
    [
        (prefers("right", "right too", "wrong"), [0, 0, 0], [0, 0]),
        # One that can't tell what answers another request finds all at parity, and the control too.
        (lambda first, second: "VERDICT: 1", [HALF] * 3, [HALF] * 2),
    ],
)
async def test_another_requests_answer_is_judged_in_every_sample(
    tmp_path: Path, says: Says, compared: list[int], degraded: list[int]
) -> None:
    """The control must have the votes to show it before the comparison says READY."""
    door = Door(says, noise="right too")
    async with bench(tmp_path, door) as made:
        for number, door.home in ((1, "wrong"), (2, "right too"), (3, "right too")):
            await made.compare(number, "right")
        for lane, expected in (("", compared), ("degraded", degraded)):
            rows = [row for row in made.rows if row.lane == lane]
            assert [row.sovereign_millionths for row in rows] == expected
            assert [row.noise_millionths for row in rows] == [compared[0]] * len(rows)
