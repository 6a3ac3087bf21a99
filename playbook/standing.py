"""Where a workload stands, in words, marks and JSON: what `status` and `shadow` show of a Migration. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from homeward.shadow.v1 import shadow_pb2

from services.common.ids import uuid_text
from services.common.sampling import PPM
from services.common.stages import Place
from services.common.words import Stage

US_PER_S = 1_000_000
BLOCKS = "▁▂▃▄▅▆▇█"
SPARKS = 20
"""Blocks of a sparkline at most."""
PACE_WINDOWS = 8
"""Last windows whose growth of ln K is taken for its pace: enough to smooth a bad one."""


def place(item: shadow_pb2.Migration) -> Place:
    """Where it stands; a workload that no decision has named is OBSERVED."""
    return _place(item.policy.stage, item.policy.sovereign_share_ppm) or Place(Stage.OBSERVED)


def next_place(item: shadow_pb2.Migration) -> Place | None:
    """Where its next move leads; None if there is no way."""
    return _place(item.next_stage, item.next_share_ppm)


def _place(stage: int, share_ppm: int) -> Place | None:
    return Place(Stage(stage), share_ppm) if stage else None


def waits_for_approval(item: shadow_pb2.Migration) -> bool:
    """True if nothing but people keeps it from its next move."""
    return len(item.blocks) == 1 and "approv" in item.blocks[0]


def verdict(evidence: shadow_pb2.Evidence) -> str:
    """COLLECTING, READY or REJECTED; COLLECTING if nothing is said."""
    if not evidence.verdict:
        return "COLLECTING"
    return shadow_pb2.Verdict.Name(evidence.verdict).removeprefix("VERDICT_")


def needed(experiment: shadow_pb2.Experiment) -> float:
    """ln(1/α_k): what ln K must reach in the experiment's epoch."""
    return math.log(2.0**experiment.epoch / experiment.alpha)


def votes(evidence: shadow_pb2.Evidence) -> int:
    """Votes of all closed windows."""
    return evidence.windows[-1].vote_count if evidence.windows else 0


def log_k(evidence: shadow_pb2.Evidence) -> float | None:
    """ln K at the last close; None if no window has closed."""
    return evidence.windows[-1].log_k if evidence.windows else None


def log_m(item: shadow_pb2.Migration) -> float | None:
    """ln M of the alarm after the cutover; None before its first vote."""
    return item.log_m if item.HasField("log_m") and math.isfinite(item.log_m) else None


def alarm_words(item: shadow_pb2.Migration) -> str:
    """How near the alarm is; empty before its first vote."""
    # numpy takes a quarter of a second, which a rollback should not wait for.
    from services.shadow.core.detector import ALARM

    found = log_m(item)
    if found is None:
        return ""
    return f"ln M {found:.2f}; it rolls back at ln {ALARM:,.0f} = {math.log(ALARM):.2f}"


def sparkline(values: Sequence[float], full: float, width: int = SPARKS) -> str:
    """Values as blocks: the lowest is 0 or less, a full one `full` or more.

    Args:
        values: oldest first.
        full: above 0.
        width: blocks at most; of more values evenly spaced ones are shown, the last always.
    """
    if len(values) > width:
        step = (len(values) - 1) / (width - 1)
        values = [values[round(place * step)] for place in range(width)]
    top = len(BLOCKS) - 1
    return "".join(
        BLOCKS[top if value >= full else int(max(0, min(top - 1, value / full * top)))] for value in values
    )


def windows_left(experiment: shadow_pb2.Experiment, evidence: shadow_pb2.Evidence) -> int | None:
    """Windows until READY at the pace at which ln K has grown of late; None is unknown.

    It is unknown before two windows have closed, while ln K does not grow, and once there is a verdict.
    """
    told = evidence.windows
    if verdict(evidence) != "COLLECTING" or len(told) < 2:
        return None
    recent = told[-(PACE_WINDOWS + 1) :]
    pace = (recent[-1].log_k - recent[0].log_k) / (len(recent) - 1)
    left = needed(experiment) - recent[-1].log_k
    if left > 0 and pace <= 0:
        return None
    by_evidence = math.ceil(left / pace) if left > 0 else 0
    return max(by_evidence, experiment.min_windows - len(told), 1)


def window_s(experiment: shadow_pb2.Experiment) -> float:
    """Length of its windows in seconds."""
    return seconds(experiment.window)


def seconds(value: Any) -> float:
    """A Duration in seconds."""
    return float(value.seconds + value.nanos / 1e9)


def moment(value: Timestamp) -> datetime | None:
    """A time in UTC; None if it is not set."""
    if not value.seconds and not value.nanos:
        return None
    return datetime.fromtimestamp(value.seconds + value.nanos / 1e9, UTC)


def iso(value: Timestamp) -> str | None:
    """RFC 3339; None if it is not set."""
    found = moment(value)
    return found.isoformat().replace("+00:00", "Z") if found else None


def length(value_s: float) -> str:
    """A length of time in the largest unit that fits, for people: `45 s`, `3 h`, `12 days`."""
    for unit_s, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if value_s >= 2 * unit_s or (value_s >= unit_s and value_s % unit_s == 0):
            count = round(value_s / unit_s)
            return f"{count} day" if name == "days" and count == 1 else f"{count} {name}"
    return f"{value_s:.0f} s"


def percent(ppm: int) -> str:
    """Parts per million as percent, without idle zeros: `10 %`, `0.5 %`."""
    return f"{ppm * 100 / PPM:g} %"


def document(item: shadow_pb2.Migration) -> dict[str, Any]:
    """The whole migration as JSON: times RFC 3339, ids and hashes hexadecimal, null unknown or absent."""
    after = next_place(item)
    return {
        "workload": item.policy.workload,
        "stage": place(item).stage.name,
        "sovereign_share_ppm": item.policy.sovereign_share_ppm,
        "stage_time": iso(item.stage_time),
        "next_stage": after.stage.name if after else None,
        "next_share_ppm": after.share_ppm if after else None,
        "approved": item.approved,
        "blocks": list(item.blocks),
        "alerts": list(item.alerts),
        "experiment": experiment_document(item.experiment) if item.HasField("experiment") else None,
        "needed_log_k": needed(item.experiment) if item.HasField("experiment") else None,
        "evidence": _evidence(item.evidence),
        "windows_left": windows_left(item.experiment, item.evidence) if item.HasField("experiment") else None,
        "discordance": item.discordance if item.HasField("discordance") else None,
        "controls": [{"lane": lane.lane, "evidence": _evidence(lane.evidence)} for lane in item.controls],
        "log_m": log_m(item),
        "funnel_today": _funnel(item.funnel_today),
        "funnel_epoch": _funnel(item.funnel_epoch),
        "capabilities": [
            {
                "name": found.name,
                "needed": found.needed,
                "passed": found.passed,
                "found": found.found,
                "probe_time": iso(found.probe_time),
            }
            for found in item.capabilities
        ],
    }


def experiment_document(item: shadow_pb2.Experiment) -> dict[str, Any]:
    """An experiment as JSON."""
    return {
        "experiment_id": uuid_text(item.experiment_id) if item.experiment_id else None,
        "workload": item.workload,
        "epoch": item.epoch,
        "scorer": item.scorer,
        "margin": item.margin,
        "alpha": item.alpha,
        "window_s": seconds(item.window),
        "watermark_s": seconds(item.watermark),
        "min_windows": item.min_windows,
        "strata": list(item.strata),
        "stratum_values": list(item.stratum_values),
        "rate_ppm": item.rate_ppm,
        "reverse_rate_ppm": item.reverse_rate_ppm,
        "daily_cost_cap_nanos": item.daily_cost_cap_nanos or None,
        "cluster_by": item.cluster_by,
        "register_time": iso(item.register_time),
        "start_time": iso(item.start_time),
    }


def _evidence(item: shadow_pb2.Evidence) -> dict[str, Any]:
    return {
        "verdict": verdict(item),
        "windows": [
            {
                "start": iso(window.start_time),
                "vote_count": window.vote_count,
                "log_k": window.log_k,
                "lower_bound": window.lower_bound,
                "upper_bound": window.upper_bound,
                "histogram_sha256": window.histogram_sha256.hex(),
                "verdict": shadow_pb2.Verdict.Name(window.verdict).removeprefix("VERDICT_"),
            }
            for window in item.windows
        ],
    }


def _funnel(item: shadow_pb2.Funnel) -> dict[str, Any]:
    return {
        "eligible": item.eligible_count,
        "sampled": item.sampled_count,
        "sent": item.sent_count,
        "answered": item.answered_count,
        "scored": item.scored_count,
        "losses": [{"step": loss.step, "reason": loss.reason, "count": loss.count} for loss in item.losses],
    }
