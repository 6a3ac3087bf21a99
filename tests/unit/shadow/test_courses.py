"""What is remembered of a workload: of which epoch, and that nothing is read twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from homeward.common.v1 import chat_pb2, leg_pb2, policy_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.stages import CANARIES, HOME, ROLLED_BACK, SHADOWED, Place
from services.common.words import Target
from services.shadow.adapters.ledger import Policy, Row
from services.shadow.adapters.store import Finished, Sample, Store
from services.shadow.core.experiment import Experiment, registered
from services.shadow.core.features import STOP
from services.shadow.core.gate import CONTEXT_LENGTH, Capability, Need
from services.shadow.core.lanes import AFTER, COMPARISON
from services.shadow.core.verdict import Window
from services.shadow.course import HOLD_US, MAX_FOUND, Course, Look
from services.shadow.courses import Courses
from services.shadow.gatekeeper import Gatekeeper
from services.shadow.home_models import Models
from services.shadow.moves import Moves
from services.shadow.probes import Subject
from tests.support.experiments import wanted

WORKLOAD = "ticket-triage"
NOW = 1_000_000_000
WAIT_S = 10.0
TURNS = 10
"""Of the event loop: more than a cancellation takes."""


class Nothing:
    """An engine that has closed no window."""

    def evidence(self, experiment: Experiment, lane: str = "") -> list[Window]:
        return []

    def discordance(self, experiment: Experiment) -> float | None:
        return None

    def home_models(self, experiment: Experiment) -> Models:
        return {}


@dataclass
class Desk:
    """Courses on a real store, with the policy that a test puts there."""

    store: Store
    row: Row | None = None

    def __post_init__(self) -> None:
        # Moves without a ledger: a look only asks for the workload's row.
        self.courses = Courses(self.store, cast(Moves, self._Rows(self)), Nothing(), {}, lambda: NOW)

    @dataclass
    class _Rows:
        desk: Desk

        def row(self, workload: str) -> tuple[Policy, Row]:
            assert self.desk.row is not None
            return Policy(), self.desk.row

    @property
    def course(self) -> Course:
        return self.courses.of(WORKLOAD)

    def begin(self, place: Place = SHADOWED) -> Experiment:
        """Registers the next epoch, and has the policy sample it."""
        last = self.store.current(WORKLOAD)
        number = last.epoch + 1 if last is not None else 1
        made = registered(wanted(WORKLOAD), last, experiment_id=b"e" * 16, salt=b"s" * 16, now_unix_us=NOW)
        made = self.store.add_experiment(made, number.to_bytes(16, "big"))
        self.stand(made, place)
        return made

    def stand(self, experiment: Experiment | None, place: Place) -> None:
        """Puts the workload there; without an experiment it is not sampled."""
        proto = policy_pb2.WorkloadPolicy(workload=WORKLOAD)
        sampling = experiment.sampling() if experiment is not None else None
        self.row = Row(place, sampling, frozenset(Target), proto)

    def finish(self, experiment: Experiment, count: int = 1, lane: str = COMPARISON) -> None:
        """Finishes samples whose answers disagree."""
        for number in range(count):
            sample_id = f"{experiment.epoch}{lane}{number}".encode().rjust(16, b"0")[-16:]
            about = (experiment.experiment_id, experiment.epoch, WORKLOAD)
            self.store.take(Sample(sample_id, *about, NOW, "", "", b"", reversed=lane == AFTER))
            row = Finished(
                sample_id, lane, *about, NOW, NOW + 1, "", "", 0, 1_000_000, "exact_match@1", input_tokens=40
            )
            self.store.finish(sample_id, [row])

    def saw(self, experiment: Experiment, now: int = NOW, **fields: Any) -> None:
        """Lets a request of an epoch come."""
        chat = chat_pb2.Chat(model="gpt", **fields)
        request = shadow_pb2.SubmitSampleRequest(
            experiment_id=experiment.experiment_id, epoch=experiment.epoch, workload=WORKLOAD, chat=chat
        )
        self.course.saw(request, now)

    async def look(self) -> Look:
        async with self.course.lock:
            return await self.courses.look(self.course)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(tmp_path / "shadow.sqlite", 1_000)
    yield Desk(store)
    store.close()


def long_answers(tokens: int) -> chat_pb2.SamplingParameters:
    return chat_pb2.SamplingParameters(max_tokens=tokens)


async def test_what_an_epoch_used_asks_nothing_of_the_next(desk: Desk) -> None:
    first = desk.begin()
    await desk.look()
    desk.saw(first, sampling=long_answers(128_000), tools=[chat_pb2.Tool(name="route")])
    desk.finish(first)
    assert (await desk.look()).wanted[0] == Need(
        CONTEXT_LENGTH,
        "its longest prompt has 40 tokens, and an answer may have 128,000",
        size=128_040,
    )
    second = desk.begin()
    await desk.look()
    # One that waited in a router while the epoch changed.
    desk.saw(first, sampling=long_answers(128_000))
    desk.saw(second, sampling=long_answers(256))
    desk.finish(second)
    assert (await desk.look()).wanted[0].size == 296
    assert (desk.course.parts.tools, desk.course.parts.model) == ("", "gpt")


@pytest.mark.parametrize(
    ("name", "fields", "kept"),
    [
        ("tools", lambda n: {"tools": [chat_pb2.Tool(name=f"t{n}")]}, lambda n: f'[{{"name": "t{n}"}}]'),
        (
            "response_format",
            lambda n: {
                "response_format": chat_pb2.ResponseFormat(json_schema=chat_pb2.JsonSchema(name=f"s{n}"))
            },
            lambda n: f'{{"json_schema": {{"name": "s{n}"}}}}',
        ),
        (
            "stop",
            lambda n: {"sampling": chat_pb2.SamplingParameters(stop=[f"END{n}"])},
            lambda n: (f"END{n}",),
        ),
    ],
    ids=["tools", "schema", "stop"],
)
async def test_a_part_that_differs_in_each_request_stands_until_its_probe_was_of_use(
    desk: Desk, name: str, fields: Callable[[int], dict[str, Any]], kept: Callable[[int], Any]
) -> None:
    epoch = desk.begin()
    await desk.look()
    for number in range(5):
        desk.saw(epoch, NOW + number * HOLD_US // 4, **fields(number))
        assert getattr(desk.course.parts, name) == kept(0 if number < 4 else 4)
    desk.saw(epoch, NOW + 3 * HOLD_US)
    assert getattr(desk.course.parts, name) == kept(4)


async def test_probes_of_what_changes_push_out_none_of_what_stays(desk: Desk) -> None:
    epoch = desk.begin()
    await desk.look()
    about = (epoch.experiment_id, epoch.epoch)
    fixed = Need(CONTEXT_LENGTH, "a length", 40)
    stops = [Need(STOP, "stop words", digest=str(number)) for number in range(100)]
    for need in (fixed, *stops, stops[-2]):
        desk.course.keep([Capability(need, True, "", NOW)], {}, about, NOW)
    kept = [item.need for item in desk.course.found]
    assert kept == [fixed, *stops[-MAX_FOUND:-2], stops[-1], stops[-2]]


async def test_what_home_failed_before_the_cutover_trips_no_breaker_after_it(desk: Desk) -> None:
    def fail(count: int) -> None:
        failed = shadow_pb2.LegCount(
            workload=WORKLOAD, target=leg_pb2.TARGET_SOVEREIGN, leg_count=count, failed_count=count
        )
        desk.course.count(failed, NOW)

    async def tripped(place: Place) -> bool:
        desk.stand(epoch, place)
        return bool((await desk.look()).trip)

    epoch = desk.begin()
    await desk.look()
    fail(100)
    assert await tripped(CANARIES[0]) is False
    fail(10)
    assert await tripped(CANARIES[0]) is False
    fail(10)
    assert await tripped(CANARIES[1]) is True
    desk.stand(None, ROLLED_BACK)
    await desk.look()
    assert await tripped(SHADOWED) is True
    assert await tripped(CANARIES[0]) is False


async def test_fixed_parts_outlive_a_restart_with_their_epoch(desk: Desk) -> None:
    for tokens in (128_000, 256):
        epoch = desk.begin()
        await desk.look()
        desk.saw(epoch, sampling=long_answers(tokens))
        desk.finish(epoch)
        await desk.look()
    restarted = Desk(desk.store, desk.row)
    assert (await restarted.look()).wanted[0].size == 296


async def test_the_parts_of_a_version_that_kept_one_for_all_epochs_go_on(desk: Desk) -> None:
    epoch = desk.begin()
    await desk.look()
    desk.saw(epoch, sampling=long_answers(512))
    desk.finish(epoch)
    await desk.look()
    content = desk.store.get_state(f"parts:{WORKLOAD}")
    assert content is not None
    # What that version has not written.
    old = Desk(desk.store, desk.row)
    known = desk.store.get_state
    name = f"parts:{epoch.experiment_id.hex()}:{epoch.epoch}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.store, "get_state", lambda asked: None if asked == name else known(asked))
        assert (await old.look()).wanted[0].size == 552


async def test_an_epoch_that_was_only_registered_has_no_parts_of_the_one_before(desk: Desk) -> None:
    first = desk.begin()
    await desk.look()
    desk.saw(first, sampling=long_answers(128_000))
    desk.finish(first)
    await desk.look()
    second = desk.begin()
    # Rolled back meanwhile: the look shows the newer epoch, which has not begun.
    desk.stand(None, ROLLED_BACK)
    await desk.look()
    desk.stand(second, SHADOWED)
    await desk.look()
    desk.saw(second, sampling=long_answers(256))
    desk.finish(second)
    assert (await desk.look()).wanted[0].size == 296


async def test_a_look_that_is_given_up_lets_no_row_vote_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 5
    epoch = desk.begin(HOME)
    await desk.look()
    desk.finish(epoch, rows, AFTER)
    reading, go = threading.Event(), threading.Event()
    finished, calls = desk.store.finished, iter(range(1_000))

    def slowly(experiment_id: bytes, number: int, lane: str, since: int, limit: int) -> Any:
        found = finished(experiment_id, number, lane, since, limit)
        # The second time it is for the alarm; these rows are read and have not voted yet.
        if lane == AFTER and found and next(calls) == 1:
            reading.set()
            assert go.wait(WAIT_S)
        return found

    monkeypatch.setattr(desk.store, "finished", slowly)
    given_up = asyncio.create_task(desk.look())
    assert await asyncio.to_thread(reading.wait, WAIT_S)
    given_up.cancel()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    held = desk.course.lock.locked()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await desk.look()
    watch = desk.course._watch
    assert watch is not None
    assert (held, watch.detector.votes) == (True, rows)


@dataclass
class SlowEndpoint:
    """An endpoint that has everything, and answers when it is told to."""

    asked: asyncio.Event
    go: asyncio.Event

    async def probe(self, subject: Subject, need: Need) -> Capability:
        self.asked.set()
        await self.go.wait()
        return Capability(need, True, "as the test has it", NOW)


@pytest.mark.parametrize(("another", "passed"), [(False, True), (True, False)])
async def test_a_round_of_probes_is_good_for_the_epoch_in_which_it_began(
    desk: Desk, another: bool, passed: bool
) -> None:
    endpoint = SlowEndpoint(asyncio.Event(), asyncio.Event())
    gatekeeper = Gatekeeper(endpoint, lambda: NOW, lambda: None)
    desk.finish(desk.begin())
    gatekeeper._begin(desk.course, await desk.look())
    await endpoint.asked.wait()
    if another:
        # The same need of another epoch: it may be another model's.
        desk.finish(desk.begin())
        await desk.look()
    endpoint.go.set()
    assert desk.course.probing is not None
    await desk.course.probing
    look = await desk.look()
    assert [item.need.name for item in look.capabilities] == ([CONTEXT_LENGTH] if passed else [])
    assert (look.situation.gate == ()) is passed
    # Nor does what was found of another keep this one from being probed at once.
    assert bool(desk.course.probed_unix_us) is passed


@pytest.mark.parametrize(
    "error", [DomainError(Reason.STORAGE_UNAVAILABLE, "away"), ValueError("a defect")], ids=["away", "defect"]
)
async def test_probes_that_fail_in_one_epoch_hold_up_none_of_the_next(desk: Desk, error: Exception) -> None:
    class Failing(SlowEndpoint):
        async def probe(self, subject: Subject, need: Need) -> Capability:
            await super().probe(subject, need)
            raise error

    endpoint = Failing(asyncio.Event(), asyncio.Event())
    gatekeeper = Gatekeeper(endpoint, lambda: NOW, lambda: None)
    desk.finish(desk.begin())
    gatekeeper._begin(desk.course, await desk.look())
    await endpoint.asked.wait()
    desk.finish(desk.begin())
    await desk.look()
    endpoint.go.set()
    assert desk.course.probing is not None
    await desk.course.probing
    assert (desk.course.failures, desk.course.probed_unix_us) == ({}, 0)
