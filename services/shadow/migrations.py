"""Where workloads stand, as the contract says it: looks → protos."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from homeward.common.v1 import policy_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.stages import next_place
from services.common.words import Stage
from services.shadow.adapters.store import Store
from services.shadow.alarms import Alarms
from services.shadow.core.funnel import Funnel
from services.shadow.core.migration import Move, Terms, Wait, step
from services.shadow.course import Course, Look
from services.shadow.courses import Courses, Findings
from services.shadow.translate import (
    capability_to_proto,
    evidence_to_proto,
    experiment_to_proto,
    funnel_to_proto,
    timestamp,
)

DAY_US = 86_400 * 1_000_000
_NO_WAY = {
    Stage.OBSERVED: "nothing compares it; register an experiment",
    Stage.ROLLED_BACK: "it was rolled back; register a new epoch of its experiment to start again",
}
"""What keeps a workload where no move home begins."""


class Migrations:
    """Tells where each workload stands now."""

    def __init__(
        self,
        store: Store,
        engine: Findings,
        courses: Courses,
        alarms: Alarms,
        clock: Callable[[], int],
    ) -> None:
        """`clock` gives microseconds since 1970."""
        self._store = store
        self._engine = engine
        self._courses = courses
        self._alarms = alarms
        self._clock = clock

    async def of(self, workload: str) -> shadow_pb2.Migration:
        """Where a workload stands: as of its last look, if the policy has not moved it since.

        Raises:
            DomainError: WORKLOAD_NOT_FOUND, or STORAGE_UNAVAILABLE if there is no policy yet.
        """
        course = self._courses.of(workload)
        look = await self._courses.latest(course)
        now = self._clock()
        known = look.experiment

        def read() -> tuple[Funnel, Funnel, float | None]:
            if known is None:
                return Funnel(), Funnel(), None
            epoch = (known.experiment_id, known.epoch)
            today = self._store.funnel(*epoch, now // DAY_US * DAY_US)
            return today, self._store.funnel(*epoch), self._engine.discordance(known)

        today, whole, discordance = await asyncio.to_thread(read)
        alerts = (*course.alerts.values(), *self._alarms.own().values())
        return _migration(course, look, today=today, epoch=whole, alerts=alerts, discordance=discordance)


def _migration(
    course: Course,
    look: Look,
    *,
    today: Funnel,
    epoch: Funnel,
    alerts: Sequence[str],
    discordance: float | None,
) -> shadow_pb2.Migration:
    place = look.row.place
    to = next_place(place)
    message = shadow_pb2.Migration(
        policy=look.row.proto,
        evidence=evidence_to_proto(look.windows),
        controls=[
            shadow_pb2.Control(lane=lane, evidence=evidence_to_proto(windows))
            for lane, windows in sorted(look.controls.items())
        ],
        funnel_today=funnel_to_proto(today),
        funnel_epoch=funnel_to_proto(epoch),
        capabilities=map(capability_to_proto, look.capabilities),
        blocks=_blocks(look, course.terms),
        alerts=alerts,
        next_stage=policy_pb2.Stage.ValueType(to.stage if to is not None else 0),
        next_share_ppm=to.share_ppm if to is not None else 0,
        log_m=look.log_m,
        approved=bool(course.approved_by(look.row)),
        discordance=discordance,
    )
    if look.experiment is not None:
        message.experiment.CopyFrom(experiment_to_proto(look.experiment))
    if course.stay.since_unix_us:
        message.stage_time.CopyFrom(timestamp(course.stay.since_unix_us))
    return message


def _blocks(look: Look, terms: Terms) -> Sequence[str]:
    if look.row.place.stage in _NO_WAY:
        return (_NO_WAY[look.row.place.stage],)
    match step(look.situation, terms):
        case Wait(blocks):
            return blocks
        case Move():
            return ()
