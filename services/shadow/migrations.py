"""Where workloads stand, as the contract says it: looks → protos."""

from __future__ import annotations

from collections.abc import Sequence

from homeward.common.v1 import policy_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.stages import next_place
from services.common.words import Stage
from services.shadow.core.funnel import Funnel
from services.shadow.core.gate import Capability
from services.shadow.core.migration import Move, Terms, Wait, step
from services.shadow.course import Course, Look
from services.shadow.translate import evidence_to_proto, experiment_to_proto, funnel_to_proto, timestamp

_NO_WAY = {
    Stage.OBSERVED: "nothing compares it; register an experiment",
    Stage.ROLLED_BACK: "it was rolled back; register a new epoch of its experiment to start again",
}
"""What keeps a workload where no move home begins."""


def migration_to_proto(
    course: Course,
    look: Look,
    *,
    today: Funnel,
    epoch: Funnel,
    alerts: Sequence[str],
    discordance: float | None,
) -> shadow_pb2.Migration:
    """Where a workload stands."""
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
        capabilities=map(_capability, look.capabilities),
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


def _capability(item: Capability) -> shadow_pb2.Capability:
    return shadow_pb2.Capability(
        name=item.need.name,
        needed=item.need.sentence,
        passed=item.passed,
        found=item.found,
        probe_time=timestamp(item.probe_unix_us),
    )
