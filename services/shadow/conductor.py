"""The conductor: looks at every workload twice a second, and proposes to the ledger what follows.

The policy is the truth. What shadow believed before it was killed, or before an answer was lost, counts for
nothing beside it; a decision that is proposed again under the same circumstances has the same request id, and
so is made once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.settings import Workload
from services.common.words import Stage
from services.shadow.adapters.ledger import LedgerAdapter
from services.shadow.adapters.store import Count, Store
from services.shadow.alarms import MINUTE_US, Alarms
from services.shadow.core.experiment import Experiment
from services.shadow.core.migration import Move, is_settled, step
from services.shadow.course import Course
from services.shadow.courses import Courses, Findings
from services.shadow.gatekeeper import Gatekeeper
from services.shadow.migrations import Migrations
from services.shadow.moves import Moves
from services.shadow.orders import Orders
from services.shadow.probes import Probes
from services.shadow.translate import evidence_to_proto, unix_us, wanted_from_proto

log = logging.getLogger(__name__)

TICK_S = 0.5
"""How often all is looked at."""


class Conductor:
    """Moves workloads. Use `start` once an event loop runs, and `stop` before it ends."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerAdapter,
        engine: Findings,
        probes: Probes,
        workloads: Mapping[str, Workload],
        clock: Callable[[], int],
    ) -> None:
        """`workloads` are the settings'; `clock` gives microseconds since 1970."""
        self._store = store
        self._ledger = ledger
        self._engine = engine
        self._clock = clock
        self._wake = asyncio.Event()
        self._moves = Moves(ledger, store)
        self._courses = Courses(store, self._moves, engine, workloads, clock)
        self._gatekeeper = Gatekeeper(probes, clock, self._wake.set)
        self._alarms = Alarms(store, ledger, clock)
        self._migrations = Migrations(store, engine, self._courses, self._alarms, clock)
        self._orders = Orders(store, self._moves, self._courses, self._gatekeeper, clock)
        self._task: asyncio.Task[None] | None = None
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def policy_version(self) -> int:
        """The version of the policy that is in force, as far as shadow knows."""
        return self._ledger.policy.version

    def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends; what is being decided is found in the policy by the next one."""
        tasks = [task for task in (self._task, *(course.probing for course in self._courses.all())) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._reports, return_exceptions=True)

    def saw(self, request: shadow_pb2.SubmitSampleRequest) -> None:
        """Notes the fixed parts of a sampled request."""
        course = self._courses.begun(request.workload)
        if course is not None:
            course.saw(request, self._clock())

    async def report(self, request: shadow_pb2.ReportTrafficRequest) -> None:
        """Takes what a router saw.

        Raises:
            DomainError: STORAGE_UNAVAILABLE; the router keeps the report.
        """
        # A router that waits no longer sends it again, and then it is known: whoever began must count it.
        task = asyncio.create_task(self._report(request))
        self._reports.add(task)
        task.add_done_callback(self._reported)
        await asyncio.shield(task)

    def _reported(self, task: asyncio.Task[None]) -> None:
        self._reports.discard(task)
        # What failed after nobody waited comes again.
        if not task.cancelled():
            task.exception()

    async def _report(self, request: shadow_pb2.ReportTrafficRequest) -> None:
        now = self._clock()
        counts = [
            Count(
                item.experiment_id,
                item.epoch,
                unix_us(item.minute_time) // MINUTE_US * MINUTE_US,
                item.step,
                item.reason,
                item.count,
            )
            for item in request.samplings
        ]
        if not await asyncio.to_thread(
            self._store.add_traffic, request.router_id, request.sequence, counts, now
        ):
            return
        for legs in request.legs:
            course = self._courses.begun(legs.workload)
            if course is not None:
                course.count(legs, now)
        if request.legs:
            self._wake.set()

    async def register(self, wanted: shadow_pb2.Experiment, request_id: bytes) -> Experiment:
        """As `Orders.register`.

        Raises:
            DomainError: INVALID_REQUEST too.
        """
        return await self._orders.register(wanted_from_proto(wanted), request_id)

    def experiment(self, experiment_id: bytes) -> tuple[Experiment, shadow_pb2.Evidence]:
        """The current epoch of an experiment, and what it has found.

        Raises:
            DomainError: EXPERIMENT_NOT_FOUND.
        """
        found = self._store.experiment(experiment_id)
        if found is None:
            raise DomainError(
                Reason.EXPERIMENT_NOT_FOUND,
                f"no experiment {experiment_id.hex()!r} is registered",
                experiment_id=experiment_id.hex(),
            )
        return found, evidence_to_proto(self._engine.evidence(found))

    def experiments(self, workload: str = "") -> list[Experiment]:
        """All epochs, the newest first; of one workload, if it is named."""
        return self._store.experiments(workload)

    async def migrations(self, workload: str = "") -> list[shadow_pb2.Migration]:
        """Where workloads stand, by their names; one, if it is named.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND.
        """
        names = [workload] if workload else sorted(self._ledger.policy.rows)
        return [await self._migrations.of(name) for name in names]

    async def cut_over(
        self, workload: str, key: str, *, request_id: bytes, approve: bool
    ) -> shadow_pb2.CutOverResponse:
        """As `Orders.cut_over`; tells where the workload stands then."""
        moved = await self._orders.cut_over(workload, key, request_id, approve=approve)
        return shadow_pb2.CutOverResponse(
            migration=await self._migrations.of(workload), moved=moved, policy_version=self.policy_version
        )

    async def roll_back(
        self, workload: str, key: str, *, request_id: bytes, reason: str
    ) -> shadow_pb2.RollBackResponse:
        """As `Orders.roll_back`; tells where the workload stands then."""
        await self._orders.roll_back(workload, key, request_id, reason)
        return shadow_pb2.RollBackResponse(
            migration=await self._migrations.of(workload), policy_version=self.policy_version
        )

    async def _run(self) -> None:
        while True:
            try:
                await self._tick()
            # A bad tick must not end the task: no alarm would ever be acted on again.
            except Exception:
                log.exception("a look at the workloads failed")
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _tick(self) -> None:
        rows = self._ledger.policy.rows
        # Those that answer applications first: a rollback waits for no other workload's move.
        for workload in sorted(rows, key=lambda name: -rows[name].place.share_ppm):
            try:
                await self._conduct(self._courses.of(workload))
            except DomainError as error:
                log.warning("%s: %s", workload, error.message)
            except Exception:
                log.exception("a look at %s failed", workload)
        for workload in self._courses.keep(rows):
            self._alarms.end(workload)
        await self._alarms.look(self._courses.all())

    async def _conduct(self, course: Course) -> None:
        async with course.lock:
            policy, row = self._moves.row(course.workload)
            seen = course.look is not None and course.look.row == row
            if seen and row.place.stage is Stage.OBSERVED:
                return
            look = await self._courses.look(course)
            what = step(look.situation, course.terms)
            if isinstance(what, Move) and self._ledger.connected:
                await self._moves.make(look, policy, what)
            elif is_settled(look.situation) and self._ledger.connected:
                await self._moves.rest(look, policy)
        self._gatekeeper.look(course, look)
