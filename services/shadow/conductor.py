"""The conductor: looks at every workload twice a second, and proposes to the ledger what follows.

The policy is the truth. What shadow believed before it was killed, or before an answer was lost, counts for
nothing beside it; a decision that is proposed again under the same circumstances has the same request id, and
so is made once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.ids import uuid7
from services.common.sampling import ID_BYTES
from services.common.settings import Workload
from services.common.stages import OBSERVED, ROLLED_BACK, SHADOWED, Place, move, next_place
from services.common.words import Stage
from services.shadow.adapters.ledger import LedgerAdapter, Row
from services.shadow.adapters.store import Count, Store
from services.shadow.alarms import MINUTE_US, Alarms
from services.shadow.core.experiment import Experiment, registered
from services.shadow.core.funnel import Funnel
from services.shadow.core.lanes import COMPARISON, CONTROLS
from services.shadow.core.migration import Move, Wait, is_settled, step
from services.shadow.core.verdict import Window
from services.shadow.course import Course, Look
from services.shadow.gatekeeper import Gatekeeper
from services.shadow.migrations import migration_to_proto
from services.shadow.moves import Moves
from services.shadow.probes import Probes
from services.shadow.translate import evidence_to_proto, unix_us, wanted_from_proto

log = logging.getLogger(__name__)

TICK_S = 0.5
"""How often all is looked at."""
DAY_US = 86_400 * 1_000_000


class Findings(Protocol):
    """What the engine has found."""

    def evidence(self, experiment: Experiment, lane: str = "") -> list[Window]:
        """The closed windows of an epoch."""

    def discordance(self, experiment: Experiment) -> float | None:
        """The share of votes that are not zero; None without votes."""


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
        self._settings = workloads
        self._clock = clock
        self._moves = Moves(ledger, store)
        self._alarms = Alarms(store, ledger, clock)
        self._wake = asyncio.Event()
        self._gatekeeper = Gatekeeper(probes, clock, self._wake.set)
        self._courses: dict[str, Course] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def policy_version(self) -> int:
        """The version of the policy that is in force, as far as shadow knows."""
        return self._ledger.policy.version

    def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends; what is being decided is found in the policy by the next one."""
        tasks = [task for task in (self._task, *(item.probing for item in self._courses.values())) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def saw(self, request: shadow_pb2.SubmitSampleRequest) -> None:
        """Notes the fixed parts of a sampled request."""
        course = self._courses.get(request.workload)
        if course is not None:
            course.saw(request, self._clock())

    async def report(self, request: shadow_pb2.ReportTrafficRequest) -> None:
        """Takes what a router saw.

        Raises:
            DomainError: STORAGE_UNAVAILABLE; the router keeps the report.
        """
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
            course = self._courses.get(legs.workload)
            if course is not None:
                course.count(legs, now)
        if request.legs:
            self._wake.set()

    async def register(self, wanted: shadow_pb2.Experiment, request_id: bytes) -> Experiment:
        """Registers an experiment, or the next epoch of one, and lets the comparison begin.

        Args:
            wanted: what is asked for.
            request_id: 16 bytes. If this fails, the same call again goes on where it failed.

        Raises:
            DomainError: INVALID_REQUEST, EXPERIMENT_FIXED, WORKLOAD_NOT_FOUND, STAGE_MOVE_FORBIDDEN, or
                STORAGE_UNAVAILABLE if the ledger is away.
        """
        asked = wanted_from_proto(wanted)
        course = self._course(asked.workload)
        async with course.lock:
            experiment = await asyncio.to_thread(self._store.registered_by, request_id)
            if experiment is None:
                _, row = self._moves.row(asked.workload)
                move(asked.workload, row.place, SHADOWED)
                # Before anything is stored: an epoch that never began would have spent its share of α.
                self._moves.check_ledger()
                last = await asyncio.to_thread(self._store.current, asked.workload)
                now = self._clock()
                made = registered(
                    asked,
                    last,
                    experiment_id=uuid7(now * 1000),
                    salt=os.urandom(ID_BYTES),
                    now_unix_us=now,
                    arm_models=filter(None, [course.parts.model]),
                )
                experiment = await asyncio.to_thread(self._store.add_experiment, made, request_id)
            await self._moves.begin(experiment)
        return experiment

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
        return [await self._migration(self._course(name)) for name in names]

    async def cut_over(
        self, workload: str, key: str, *, request_id: bytes, approve: bool
    ) -> shadow_pb2.CutOverResponse:
        """Moves a workload to its next stage, or approves that it moves when nothing else keeps it.

        Args:
            workload: its name.
            key: the name of the key that asks. Asking is approving.
            request_id: 16 bytes.
            approve: a move that something else keeps happens later by itself.

        Raises:
            DomainError: MOVE_BLOCKED, with all that keeps it; STAGE_MOVE_FORBIDDEN, APPROVAL_FORBIDDEN,
                WORKLOAD_NOT_FOUND, STORAGE_UNAVAILABLE.
        """
        course = self._course(workload)
        if course.approvers and key not in course.approvers:
            raise DomainError(
                Reason.APPROVAL_FORBIDDEN,
                f"the key {key!r} may not move {workload!r}; {', '.join(course.approvers)} may",
                key=key,
                workload=workload,
            )
        async with course.lock:
            look = await self._look(course)
        await self._gatekeeper.ask(course, look)
        moved = True
        async with course.lock:
            if not self._moves.was_made(workload, request_id):
                moved = await self._cut_over(course, key, request_id, approve=approve)
        return shadow_pb2.CutOverResponse(
            migration=await self._migration(course), moved=moved, policy_version=self.policy_version
        )

    async def roll_back(
        self, workload: str, key: str, *, request_id: bytes, reason: str
    ) -> shadow_pb2.RollBackResponse:
        """Moves a workload back to the cloud at once, or ends its comparison if it is there. One that is back
        already stays so.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND, STORAGE_UNAVAILABLE.
        """
        course = self._course(workload)
        to = ROLLED_BACK

        async def attempt() -> None:
            nonlocal to
            policy, row = self._moves.row(workload)
            if row.place in (OBSERVED, ROLLED_BACK):
                return
            to = OBSERVED if row.place == SHADOWED else ROLLED_BACK
            # Evidence is for the journal; a look that is half a second old is good enough for it.
            look = course.look if course.look is not None and course.look.row == row else None
            await self._moves.make(look or await self._look(course), policy, Move(to, reason, key))

        async with course.lock:
            if not self._moves.was_made(workload, request_id):
                await self._moves.persist(workload, attempt)
                self._moves.note(workload, request_id, to, done=True)
        return shadow_pb2.RollBackResponse(
            migration=await self._migration(course), policy_version=self.policy_version
        )

    async def _cut_over(self, course: Course, key: str, request_id: bytes, *, approve: bool) -> bool:
        moved = False

        async def attempt() -> None:
            nonlocal moved
            policy, row = self._moves.row(course.workload)
            to = next_place(row.place)
            if to is None:
                raise DomainError(
                    Reason.STAGE_MOVE_FORBIDDEN,
                    f"{course.workload!r} is {row.place}, from where there is no way further home",
                    **{"workload": course.workload, "from": str(row.place), "to": ""},
                )
            if approve:
                await asyncio.to_thread(course.approve, row, key)
            look = await self._look(course)
            what = step(replace(look.situation, approved_by=key), course.terms)
            if isinstance(what, Wait):
                if approve:
                    return
                raise _blocked(course.workload, to, what.blocks)
            if what.to == ROLLED_BACK:
                await self._moves.make(look, policy, what)
                raise _blocked(course.workload, to, (what.reason,))
            # First noted: if the answer is lost, the policy says whether the move was made.
            self._moves.note(course.workload, request_id, what.to, done=False)
            await self._moves.make(look, policy, replace(what, actor=key), approved_by=key)
            moved = True

        await self._moves.persist(course.workload, attempt)
        if moved:
            _, row = self._moves.row(course.workload)
            self._moves.note(course.workload, request_id, row.place, done=True)
        return moved

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
                await self._conduct(self._course(workload))
            except DomainError as error:
                log.warning("%s: %s", workload, error.message)
            except Exception:
                log.exception("a look at %s failed", workload)
        for workload in self._courses.keys() - rows.keys():
            del self._courses[workload]
            self._alarms.end(workload)
        await self._alarms.look(list(self._courses.values()))

    async def _conduct(self, course: Course) -> None:
        async with course.lock:
            policy, row = self._moves.row(course.workload)
            seen = course.look is not None and course.look.row == row
            if seen and row.place.stage is Stage.OBSERVED:
                return
            look = await self._look(course)
            what = step(look.situation, course.terms)
            if isinstance(what, Move) and self._ledger.connected:
                await self._moves.make(look, policy, what)
            elif is_settled(look.situation) and self._ledger.connected:
                await self._moves.rest(look, policy)
        self._gatekeeper.look(course, look)

    async def _look(self, course: Course) -> Look:
        """What is known of a workload now. Its lock must be held."""
        now = self._clock()
        _, row = self._moves.row(course.workload)
        course.arrive(row, now)
        course.save_baseline(now)
        # Here and not in the thread: it reads what reports add to.
        trip = course.breakers.trip(course.limits, now)

        def see() -> Look:
            experiment = self._experiment(row)
            lanes: dict[str, Sequence[Window]] = {}
            if experiment is not None:
                lanes = {lane: self._engine.evidence(experiment, lane) for lane in (COMPARISON, *CONTROLS)}
            last = self._store.current(course.workload)
            newer = experiment is not None and last is not None and last.epoch > experiment.epoch
            look = course.see(
                row, experiment, lanes, trip, now, last.epoch if newer and last is not None else 0
            )
            course.save()
            return look

        course.look = await asyncio.to_thread(see)
        return course.look

    def _experiment(self, row: Row) -> Experiment | None:
        if row.sampling is not None:
            return self._store.experiment(row.sampling.experiment_id, row.sampling.epoch)
        # To show what it had found; nothing is sampled any more.
        return self._store.current(row.proto.workload) if row.place == ROLLED_BACK else None

    async def _migration(self, course: Course) -> shadow_pb2.Migration:
        _, row = self._moves.row(course.workload)
        look = course.look
        if look is None or look.row != row:
            async with course.lock:
                look = await self._look(course)
        now = self._clock()
        known = look.experiment

        def read() -> tuple[Funnel, Funnel, float | None]:
            if known is None:
                return Funnel(), Funnel(), None
            epoch = (known.experiment_id, known.epoch)
            today = self._store.funnel(*epoch, now // DAY_US * DAY_US)
            return today, self._store.funnel(*epoch), self._engine.discordance(known)

        today, whole, discordance = await asyncio.to_thread(read)
        told = (*course.alerts.values(), *self._alarms.own().values())
        return migration_to_proto(
            course, look, today=today, epoch=whole, alerts=told, discordance=discordance
        )

    def _course(self, workload: str) -> Course:
        """The course of a workload that the policy has.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND, or STORAGE_UNAVAILABLE if there is no policy yet.
        """
        self._moves.row(workload)
        if workload not in self._courses:
            self._courses[workload] = Course(workload, self._store, self._settings.get(workload))
        return self._courses[workload]


def _blocked(workload: str, to: Place, blocks: Sequence[str]) -> DomainError:
    return DomainError(
        Reason.MOVE_BLOCKED,
        f"{workload!r} can't go to {to}: {'; '.join(blocks)}",
        workload=workload,
        to=to,
        blocks="\n".join(blocks),
    )
