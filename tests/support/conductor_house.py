"""A conductor with a real store and a real ledger, for tests.

What routers and the engine would put into the store is put there by hand; time is the test's own.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from homeward.common.v1 import leg_pb2, policy_pb2
from homeward.ledger.v1 import ledger_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.settings import Cutover, Workload
from services.common.stages import Place
from services.common.words import Stage
from services.shadow.adapters.ledger import LedgerAdapter
from services.shadow.adapters.store import Finished, Sample, Store
from services.shadow.conductor import Conductor
from services.shadow.core.experiment import Experiment
from services.shadow.core.gate import Capability, Need
from services.shadow.core.verdict import Window, windows
from services.shadow.home_models import Models
from services.shadow.probes import Subject
from tests.support.stack import Stack, until

S = 1_000_000
STEP_S = 60.0
STEP_REQUESTS = 5


class Clock:
    """Time that goes only when a test says so."""

    def __init__(self) -> None:
        self.unix_us = time.time_ns() // 1000

    def __call__(self) -> int:
        return self.unix_us

    def pass_s(self, seconds: float) -> None:
        """Lets time go by."""
        self.unix_us += int(seconds * S)


class Found:
    """What an engine makes of the store: replay, at the test's time."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.broken = False
        self.models: dict[int, Models] = {}
        """By epoch."""

    def evidence(self, experiment: Experiment, lane: str = "") -> list[Window]:
        if self.broken:
            raise ValueError("a defect, as the test wants it")
        triplets = self._store.triplets(experiment.experiment_id, experiment.epoch, lane)
        return windows(triplets, experiment.rules, self._clock())

    def discordance(self, experiment: Experiment) -> float | None:
        return None

    def home_models(self, experiment: Experiment) -> Models:
        return self.models.get(experiment.epoch, {})


class Endpoint:
    """A sovereign endpoint that has all but what it lacks."""

    def __init__(self) -> None:
        self.lacks: set[str] = set()
        self.away = False
        self.probed: list[str] = []

    async def probe(self, subject: Subject, need: Need) -> Capability:
        self.probed.append(need.name)
        if self.away:
            raise DomainError(
                Reason.STORAGE_UNAVAILABLE, "the router does not answer", store="router", detail=""
            )
        return Capability(need, need.name not in self.lacks, "as the test has it", 1)


class ForgetfulLedger(LedgerAdapter):
    """The real adapter on a line that loses the first answer to each decision."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.asked: set[bytes] = set()

    async def decide(
        self,
        row: policy_pb2.WorkloadPolicy,
        expected_version: int,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any],
        request_id: bytes,
    ) -> ledger_pb2.Decision:
        if request_id in self.asked:
            return await super().decide(row, expected_version, actor, reason, evidence, request_id)
        self.asked.add(request_id)
        # Past the adapter's own bookkeeping: what a client that was killed would know.
        request = ledger_pb2.DecideRequest(
            request_id=request_id,
            expected_policy_version=expected_version,
            actor=actor,
            reason=reason,
            after=row,
        )
        request.evidence.update(evidence)
        await self._stub.Decide(request)
        raise DomainError(Reason.STORAGE_UNAVAILABLE, "the answer is lost", store="ledger", detail="lost")


class CrowdedLedger(LedgerAdapter):
    """The real adapter, where somebody else is faster a few times."""

    crowds = 0

    async def decide(
        self,
        row: policy_pb2.WorkloadPolicy,
        expected_version: int,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any],
        request_id: bytes,
    ) -> ledger_pb2.Decision:
        if self.crowds:
            self.crowds -= 1
            await self._stub.Decide(
                ledger_pb2.DecideRequest(
                    request_id=uuid.uuid4().bytes,
                    expected_policy_version=expected_version,
                    actor="anna",
                    reason="another workload's row, as it was",
                    after=self.policy.rows["summaries"].proto,
                )
            )
        return await super().decide(row, expected_version, actor, reason, evidence, request_id)


class DeafLedger(LedgerAdapter):
    """The real adapter on a line that loses a decision before it arrives, a few times."""

    losses = 0

    async def decide(
        self,
        row: policy_pb2.WorkloadPolicy,
        expected_version: int,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any],
        request_id: bytes,
    ) -> ledger_pb2.Decision:
        if self.losses:
            self.losses -= 1
            raise DomainError(Reason.STORAGE_UNAVAILABLE, "nobody answers", store="ledger", detail="lost")
        return await super().decide(row, expected_version, actor, reason, evidence, request_id)


class House:
    """A shadow's conductor, its store and its ledger."""

    def __init__(
        self,
        stack: Stack,
        folder: Path,
        workload: str,
        clock: Clock,
        cutover: Cutover,
        adapter: type[LedgerAdapter] = LedgerAdapter,
    ) -> None:
        self.workload, self.clock = workload, clock
        self.store = Store(folder / "shadow.sqlite", 10_000)
        self.ledger = adapter(f"127.0.0.1:{stack.ports['ledger']}")
        self.endpoint = Endpoint()
        settings = {workload: Workload(owner="tests", cutover=cutover)}
        self.found = Found(self.store, clock)
        self.conductor = Conductor(self.store, self.ledger, self.found, self.endpoint, settings, clock)
        self._sequence = itertools.count(1)
        self._router_id = uuid.uuid4().bytes

    @property
    def place(self) -> Place:
        """Where the workload stands."""
        return self.ledger.policy.rows[self.workload].place

    async def register(self, request_id: bytes | None = None, **changes: Any) -> Experiment:
        """Registers the comparison of the test's workload."""
        wanted = shadow_pb2.Experiment(
            workload=self.workload,
            scorer="exact_match@1",
            margin=0.3,
            alpha=0.05,
            min_windows=2,
            rate_ppm=1_000_000,
            reverse_rate_ppm=100_000,
        )
        wanted.window.FromSeconds(1)
        for name, value in changes.items():
            setattr(wanted, name, value)
        return await self.conductor.register(wanted, request_id or uuid.uuid4().bytes)

    def triplets(
        self, count: int, *, right: bool = True, lane: str = "", start_us: int | None = None
    ) -> None:
        """Finishes samples of the current experiment, all of the window that begins then."""
        experiment = self.store.current(self.workload)
        assert experiment is not None
        at = experiment.start_unix_us if start_us is None else start_us
        for _ in range(count):
            sample_id = uuid.uuid4().bytes
            about = (experiment.experiment_id, experiment.epoch, self.workload)
            self.store.take(Sample(sample_id, *about, at, "", "", b"", reversed=lane == "after"))
            row = Finished(
                sample_id,
                lane,
                *about,
                at,
                at + 1,
                "",
                "",
                1_000_000 if right else 0,
                1_000_000,
                "exact_match@1",
                features=("tools",),
                input_tokens=40,
            )
            self.store.finish(sample_id, [row])

    def proven(self, *, right: bool = True) -> None:
        """Lets three windows close, in which all was right or all was wrong."""
        experiment = self.store.current(self.workload)
        assert experiment is not None
        for number in range(3):
            self.triplets(30, right=right, start_us=experiment.start_unix_us + number * S)
        self.clock.unix_us = experiment.start_unix_us + 3 * S

    async def legs(self, count: int, failed: int = 0) -> None:
        """Reports production legs at home."""
        await self.conductor.report(
            shadow_pb2.ReportTrafficRequest(
                router_id=self._router_id,
                sequence=next(self._sequence),
                legs=[
                    shadow_pb2.LegCount(
                        workload=self.workload,
                        target=leg_pb2.TARGET_SOVEREIGN,
                        leg_count=count,
                        failed_count=failed,
                        latency_us=[100_000] * (count - failed),
                    )
                ],
            )
        )

    async def reaches(self, place: Place) -> None:
        """Waits until the policy has the workload there."""

        async def there() -> bool:
            return self.place == place

        await until(there, f"{self.workload} is {place}")

    async def standing(self) -> shadow_pb2.Migration:
        """Where it stands, as the service tells it."""
        (migration,) = await self.conductor.migrations(self.workload)
        return migration

    async def blocked_by(self, *beginnings: str) -> None:
        """Waits until exactly these keep it."""

        async def so() -> bool:
            blocks = (await self.standing()).blocks
            return len(blocks) == len(beginnings) and all(map(str.startswith, blocks, beginnings))

        await until(so, f"blocked by {beginnings}")

    async def walk(self, *places: Place) -> None:
        """Lets each step last long enough and answer enough, and waits for the next place."""
        for place in places:
            # Only what is counted in the step counts.
            await self.sees(self.place)
            await self.legs(STEP_REQUESTS)
            self.clock.pass_s(STEP_S)
            await self.reaches(place)

    async def sees(self, place: Place) -> None:
        """Waits until the conductor has noticed where the workload is."""

        async def seen() -> bool:
            row = (await self.standing()).policy
            return Place(Stage(row.stage), row.sovereign_share_ppm) == place

        await until(seen, f"the conductor sees {place}")

    async def close(self) -> None:
        """Ends it, as SIGTERM would."""
        await self.conductor.stop()
        await self.ledger.close()
        self.store.close()


@asynccontextmanager
async def open_house(
    stack: Stack,
    folder: Path,
    workload: str,
    clock: Clock,
    adapter: type[LedgerAdapter] = LedgerAdapter,
    **cutover: Any,
) -> AsyncIterator[House]:
    """A conductor that looks, with the ledger's policy at hand."""
    terms = {"step_s": STEP_S, "step_requests": STEP_REQUESTS, **cutover}
    house = House(stack, folder, workload, clock, Cutover(**terms), adapter)

    async def there() -> bool:
        return workload in house.ledger.policy.rows

    try:
        await until(there, "the policy is there")
        house.conductor.start()
        yield house
    finally:
        await house.close()
