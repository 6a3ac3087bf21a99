"""What needs somebody's eyes: which alerts there are, and when each begins and ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.words import Stage
from services.shadow.core import funnel as funnels
from services.shadow.core.funnel import LOST, SHED, Funnel, Span
from services.shadow.core.migration import wrong_controls
from services.shadow.core.scorers.judge import NOT_ALLOWED, SERVES_AN_ARM
from services.shadow.core.verdict import Verdict

_JUDGES = {
    SERVES_AN_ARM: "the judge serves an arm of the comparison",
    NOT_ALLOWED: "the judge's model is nowhere that the workload's data class allows",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the alerts of a workload follow from."""

    stage: Stage
    rate_ppm: int = 0
    """Of sampling; 0 where nothing is sampled."""
    experiment_known: bool = True
    """False: the policy names an experiment that this shadow does not have."""
    hour: Funnel = field(default_factory=Funnel)
    """Of the hour that ended a few minutes ago."""
    span: Span = field(default_factory=Span)
    """As `funnel.alerts` has it."""
    epoch: Funnel = field(default_factory=Funnel)
    recent: Funnel = field(default_factory=Funnel)
    """Of the last minutes."""
    controls: Mapping[str, Verdict] = field(default_factory=dict)
    mixed: str = ""
    """That more than one model answered at home in the epoch."""
    sleeping_breaker: str = ""
    """Why a breaker does not act."""


def alerts(facts: Facts) -> dict[str, str]:
    """A sentence by the alert's name."""
    told: dict[str, str] = {}
    if not facts.experiment_known:
        told["experiment"] = (
            "the policy names an experiment that this shadow does not know; is its state_dir gone?"
        )
    told.update(funnels.alerts(facts.hour, facts.span, facts.epoch, facts.rate_ppm))
    if shed := facts.recent.lost(SHED):
        told["shedding"] = f"{shed:,} samples were shed within the last minutes"
    for reason, sentence in _JUDGES.items():
        if lost := facts.epoch.losses.get((LOST, reason), 0):
            told[reason] = (
                f"{sentence}, so {lost:,} of the epoch's samples have no vote; begin an epoch with another"
            )
    for lane, sentence in wrong_controls(facts.controls).items():
        told[f"control {lane}"] = f"the control lane {lane!r} is wrong: {sentence}"
    if facts.mixed:
        told["models"] = facts.mixed
    if facts.stage in (Stage.CANARY, Stage.HOME) and facts.sleeping_breaker:
        told["breaker"] = facts.sleeping_breaker
    return told


class Told:
    """Which alerts have been told, so that each is told once when it begins and once when it ends."""

    def __init__(self) -> None:
        self._on: dict[tuple[str, str], str] = {}

    def changes(self, workload: str, now: Mapping[str, str]) -> list[str]:
        """What to tell of a workload's alerts (of none: "") as they are now, each a sentence."""
        about = f"{workload}: " if workload else ""
        told = []
        for name, sentence in now.items():
            if (workload, name) not in self._on:
                told.append(f"{about}{sentence}")
            self._on[workload, name] = sentence
        for key in [key for key in self._on if key[0] == workload and key[1] not in now]:
            told.append(f"{about}no longer: {self._on.pop(key)}")
        return told
