"""The courses of all workloads that the policy has, and what a look at one of them reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from services.common.settings import Workload
from services.common.stages import ROLLED_BACK
from services.shadow.adapters.ledger import Row
from services.shadow.adapters.store import Store
from services.shadow.core.experiment import Experiment
from services.shadow.core.lanes import COMPARISON, CONTROLS
from services.shadow.core.verdict import Window
from services.shadow.course import Course, Look
from services.shadow.home_models import Models
from services.shadow.moves import Moves


class Findings(Protocol):
    """What the engine has found."""

    def evidence(self, experiment: Experiment, lane: str = "") -> list[Window]:
        """The closed windows of an epoch."""

    def discordance(self, experiment: Experiment) -> float | None:
        """The mean square of the votes; None without votes."""

    def home_models(self, experiment: Experiment) -> Models:
        """Which models answered at home in an epoch, by the model asked for."""


class Courses:
    """One course for each workload, made when it is first asked for."""

    def __init__(
        self,
        store: Store,
        moves: Moves,
        engine: Findings,
        workloads: Mapping[str, Workload],
        clock: Callable[[], int],
    ) -> None:
        """`workloads` are the settings'; `clock` gives microseconds since 1970."""
        self._store = store
        self._moves = moves
        self._engine = engine
        self._settings = workloads
        self._clock = clock
        self._courses: dict[str, Course] = {}

    def of(self, workload: str) -> Course:
        """The course of a workload that the policy has.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND, or STORAGE_UNAVAILABLE if there is no policy yet.
        """
        self._moves.row(workload)
        if workload not in self._courses:
            self._courses[workload] = Course(workload, self._store, self._settings.get(workload))
        return self._courses[workload]

    def begun(self, workload: str) -> Course | None:
        """The course of a workload that was looked at before; what comes too early is not remembered."""
        return self._courses.get(workload)

    def all(self) -> list[Course]:
        """Every course that has begun."""
        return list(self._courses.values())

    def keep(self, workloads: Iterable[str]) -> list[str]:
        """Forgets all but these; gives the names of those that are gone."""
        gone = list(self._courses.keys() - set(workloads))
        for workload in gone:
            del self._courses[workload]
        return gone

    async def latest(self, course: Course) -> Look:
        """The last look, or a new one if the policy has changed the workload's row since."""
        _, row = self._moves.row(course.workload)
        if course.look is not None and course.look.row == row:
            return course.look
        async with course.lock:
            return await self.look(course)

    async def look(self, course: Course) -> Look:
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
                row,
                experiment,
                lanes,
                trip,
                now,
                last.epoch if newer and last is not None else 0,
                self._engine.home_models(experiment) if experiment is not None else {},
            )
            course.save()
            return look

        reading = asyncio.ensure_future(asyncio.to_thread(see))
        try:
            course.look = await asyncio.shield(reading)
        except asyncio.CancelledError:
            # The thread goes on. Were the lock free meanwhile, the next look would let the same rows vote
            # again.
            await asyncio.wait([reading])
            if reading.exception() is None:
                course.look = reading.result()
            raise
        return course.look

    def _experiment(self, row: Row) -> Experiment | None:
        if row.sampling is not None:
            return self._store.experiment(row.sampling.experiment_id, row.sampling.epoch)
        # To show what it had found; nothing is sampled any more.
        return self._store.current(row.proto.workload) if row.place == ROLLED_BACK else None
