"""The words of the tour's migrations: what happened, on which evidence, and where it stands. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format
from homeward.common.v1 import policy_pb2
from homeward.ledger.v1 import ledger_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.stages import OBSERVED, Place
from services.common.words import Stage
from services.shadow.core.detector import ALARM
from services.shadow.core.funnel import BEFORE_START, LATE, LOST

_FIGURE = re.compile(r"[\d.,]+")
HASH_DIGITS = 12
"""Of an entry's hash that are shown: enough to find it with `homeward ledger verify`."""


@dataclass(slots=True)
class Told:
    """What has been told of a workload."""

    windows: int = 0
    decision_id: int = 0
    log_m: float = -math.inf
    ready: bool = False
    rejected: bool = False
    blocks: set[str] = field(default_factory=set)


def place(row: policy_pb2.WorkloadPolicy) -> Place:
    """Where a row puts its workload; OBSERVED without one."""
    return Place(Stage(row.stage), row.sovereign_share_ppm) if row.stage else OBSERVED


def needed(experiment: shadow_pb2.Experiment) -> float:
    """ln(1/α) of the experiment's epoch, which may spend α/2^epoch."""
    return math.log(2.0**experiment.epoch / experiment.alpha)


def waiting(funnel: shadow_pb2.Funnel) -> int:
    """Samples that were sent, and of which it is still open what becomes of them."""
    gone = sum(
        item.count for item in funnel.losses if item.step in (LOST, LATE) or item.reason == BEFORE_START
    )
    return funnel.sent_count - funnel.answered_count - gone


def is_verdict(migration: shadow_pb2.Migration, name: str) -> bool:
    """Whether the evidence says so: COLLECTING, READY or REJECTED."""
    return verdict(migration.evidence.verdict) == name


def registration(experiment: shadow_pb2.Experiment) -> str:
    """How the workload is compared."""
    return (
        f"{experiment.workload}: registered, epoch {experiment.epoch}: {experiment.scorer}, margin"
        f" {experiment.margin:g}, α {experiment.alpha:g}, windows of {experiment.window.seconds} s,"
        f" {experiment.rate_ppm / 10_000:g} % of its requests; READY at ln K ="
        f" ln(1/α) = {needed(experiment):.2f}"
    )


def windows(migration: shadow_pb2.Migration, told: Told) -> list[str]:
    """A line for each window that has closed since it was last asked."""
    experiment, closed = migration.experiment, migration.evidence.windows
    lines = []
    for number, window in enumerate(closed[told.windows :], told.windows + 1):
        lines.append(
            f"{experiment.workload}: window {number} closed: {window.vote_count} votes,"
            f" ln K {window.log_k:.2f} of {needed(experiment):.2f},"
            f" {window.lower_bound:+.3f} ≤ E[D] ≤ {window.upper_bound:+.3f},"
            f" margin {-experiment.margin:+g}: {verdict(window.verdict)}"
        )
    told.windows = len(closed)
    return lines


def rejection(migration: shadow_pb2.Migration) -> str:
    """That the model at home is not good enough."""
    last = migration.evidence.windows[-1]
    return (
        f"{migration.policy.workload}: REJECTED. E[D] is at most {last.upper_bound:+.3f}, and the margin is"
        f" {-migration.experiment.margin:+g}: the model at home is not good enough. It stays in the cloud"
    )


def decision(item: ledger_pb2.Decision) -> list[str]:
    """A move, its evidence, and its entry in the journal."""
    before, after = place(item.before), place(item.after)
    same = f"{after}, sampled {'anew' if item.after.sampling.rate_ppm else 'no longer'}"
    what = f"{before} → {after}" if before != after else same
    lines = [f"{item.workload}: {what}. {item.reason} (decided by {item.actor})"]
    evidence = _evidence(json_format.MessageToDict(item.evidence))
    if evidence:
        lines.append(f"evidence: {evidence}")
    lines.append(
        f"journal entry {item.decision_id}, policy version {item.policy_version},"
        f" hash {item.entry_sha256.hex()[:HASH_DIGITS]}…"
    )
    return lines


def new_blocks(migration: shadow_pb2.Migration, told: Told) -> list[str]:
    """What keeps the workload, as far as it has not been told; the figures in it may change."""
    lines = []
    for block in migration.blocks:
        kind = _FIGURE.sub("", block)
        if kind not in told.blocks:
            told.blocks.add(kind)
            lines.append(block)
    return lines


def alarm(migration: shadow_pb2.Migration, told: Told) -> str:
    """How near the alarm is; empty if it has come no nearer by a notable step."""
    full = math.log(ALARM)
    if place(migration.policy).stage not in (Stage.CANARY, Stage.HOME):
        return ""
    if not migration.HasField("log_m") or migration.log_m < max(told.log_m + full / 6, full / 6):
        return ""
    told.log_m = migration.log_m
    return f"{migration.policy.workload}: the alarm's ln M is {migration.log_m:.1f} of {full:.1f}"


def verdict(value: shadow_pb2.Verdict.ValueType) -> str:
    """COLLECTING, READY or REJECTED."""
    return shadow_pb2.Verdict.Name(value).removeprefix("VERDICT_") if value else "COLLECTING"


def _evidence(found: Mapping[str, Any]) -> str:
    if "log_m" in found or "breaker" in found:
        return _way_back(found)
    parts = []
    if "votes" in found:
        parts.append(f"{found['votes']:.0f} votes")
    if "log_k" in found:
        parts.append(f"ln K {found['log_k']:.2f}{_limit(found)}")
    if "lower_bound" in found and "margin" in found:
        parts.append(f"E[D] ≥ {found['lower_bound']:+.3f}, margin {-found['margin']:+g}")
    if "approved_by" in found:
        parts.append(f"approved by {found['approved_by']}")
    if "histogram_sha256" in found:
        parts.append(f"histogram {found['histogram_sha256'][:HASH_DIGITS]}…")
    return ", ".join(parts)


def _way_back(found: Mapping[str, Any]) -> str:
    if "breaker" in found:
        return f"breaker {found['breaker'].get('breaker', '')}: {found['breaker'].get('sentence', '')}"
    return (
        f"ln M {found['log_m']:.1f} ≥ ln {ALARM:,.0f} = {math.log(ALARM):.1f}, margin {-found['margin']:+g}"
    )


def _limit(found: Mapping[str, Any]) -> str:
    if not {"alpha", "epoch"} <= set(found):
        return ""
    limit = math.log(2.0 ** found["epoch"] / found["alpha"])
    if found["log_k"] >= limit:
        return f" ≥ ln(1/α) = {limit:.2f}"
    # A verdict stands for its epoch.
    return f", which was {limit:.2f} before" if found.get("verdict") == "READY" else f" of {limit:.2f}"
