"""Which workloads hold most of the spend, and which of them are candidates to move home.

Each rule looks at one thing. What is known and speaks against a move makes the answer no; what is not known
makes it maybe, and the reason says what is missing. Without either it is yes: a candidate, nothing more.
Only an experiment proves a workload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType

STABLE_TASK_TYPES = (
    "summarization",
    "extraction",
    "classification",
    "generation",
    "translation",
    "context_qa",
)
"""Kinds of work that a model of one's own can be shown to do as well: the answer follows from the request."""
MOST_SPEND = Fraction(70, 100)
"""The share that the few hold who are looked at first."""
MIN_DAYS = 14
"""Days that must be known before volume is called stable or not: two weekends."""
MAX_VARIATION = 1.0
"""Largest coefficient of variation of daily requests. Office work, with nothing at weekends, has 0.63; a job
that runs once a week has 2.4."""
MIN_ACTIVE_SHARE = 0.5
"""Least share of days with requests: five days of seven have 0.71."""
MIN_MONTH_USD = 100
"""Dollars a month below which a proof costs more attention than the move can save."""
MIN_TASK_TYPE_SHARE = 0.8
"""Least share of the requests that are of one kind of work: else it is several workloads."""


class Candidate(StrEnum):
    """Whether to move a workload home."""

    YES = "yes"
    MAYBE = "maybe"
    NO = "no"


class Sensitivity(IntEnum):
    """How much a worse answer would cost; ordered."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


SENSITIVITY_BY_TASK_TYPE = MappingProxyType(
    {
        "classification": (Sensitivity.LOW, "an answer is one of a few, and a sample is soon checked"),
        "extraction": (Sensitivity.LOW, "the answer stands in the text, and a program can check its form"),
        "summarization": (Sensitivity.MEDIUM, "the reader does not see what a summary leaves out"),
        "translation": (Sensitivity.MEDIUM, "a wrong word is read by somebody who can't read the original"),
        "generation": (Sensitivity.MEDIUM, "people read what it writes, mostly before it goes out"),
        "context_qa": (
            Sensitivity.MEDIUM,
            "the source is at hand, but who asks trusts the answer",
        ),
        "open_ended": (Sensitivity.HIGH, "nobody can say beforehand what a good answer is"),
        "reasoning": (Sensitivity.HIGH, "one wrong step makes the whole answer wrong"),
        "code": (Sensitivity.HIGH, "what it writes is run"),
        "tool_use": (Sensitivity.HIGH, "what it decides is done"),
    }
)
"""How sensitive a kind of work is where nobody has said it of the workload, and why."""

_OTHER_MODALITIES = (
    ("embeddings", ("embed",)),
    ("audio", ("audio", "realtime", "whisper", "tts", "transcribe", "speech", "voice")),
    ("images", ("image", "dall-e", "imagen", "flux", "stable-diffusion")),
    ("video", ("sora", "veo-", "video")),
    ("moderation", ("moderation", "guard")),
)
"""What a model's name says that it works on, if not on text alone."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a workload. None, or empty, is unknown."""

    task_type: str
    task_type_share: float | None
    """Of requests of known kind; None if the kind was registered."""
    month_nanos: int | None
    wholly_priced: bool
    """False if some of its tokens have no price, so that a month costs more."""
    days: int
    active_days: int | None
    variation: float | None
    sensitivity: Sensitivity | None
    models: tuple[str, ...]
    data_class: str = ""
    """Empty if it is not registered."""
    may_run_at_home: bool | None = None
    """Whether the data class allows sovereign targets; None if it is not registered."""
    saves_at_most: int | None = None
    """Nano-dollars a month; None if that can't be estimated."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says against, or does not know."""

    candidate: Candidate
    """MAYBE or NO."""
    reason: str
    """A short sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a workload is a candidate, and why it is not."""

    candidate: Candidate
    findings: tuple[Finding, ...]
    """Those that decide come first; none if it is a candidate."""


Rule = Callable[[Facts, int], Finding | None]
"""Looks at the facts; the number is the least month in nano-dollars that is worth a proof."""


def judge(facts: Facts, min_month_usd: int = MIN_MONTH_USD) -> Verdict:
    """What the rules say of a workload."""
    least = min_month_usd * 1_000_000_000
    found = [finding for rule in RULES if (finding := rule(facts, least)) is not None]
    found.sort(key=lambda finding: finding.candidate is not Candidate.NO)
    return Verdict(found[0].candidate if found else Candidate.YES, tuple(found))


def sensitivity_of(registered: str, task_type: str) -> Sensitivity | None:
    """How sensitive a workload is: as registered, else by its kind of work; None if neither is known."""
    if registered:
        return Sensitivity[registered.upper()]
    known = SENSITIVITY_BY_TASK_TYPE.get(task_type)
    return known[0] if known else None


def modality_of(models: Iterable[str]) -> str:
    """What the models work on as far as their names tell: `text`, another, or several joined by `and`."""
    found = set()
    for model in models:
        name = model.lower()
        hints = (kind for kind, words in _OTHER_MODALITIES if any(word in name for word in words))
        found.add(next(hints, "text"))
    return " and ".join(sorted(found)) or "text"


def shares(amounts: Sequence[int]) -> list[Fraction]:
    """The cumulative share of each amount in their sum, in the order given; credits count as nothing."""
    whole = sum(amount for amount in amounts if amount > 0)
    running, found = 0, []
    for amount in amounts:
        running += max(0, amount)
        found.append(Fraction(running, whole) if whole else Fraction(0))
    return found


def few(amounts: Sequence[int], most: Fraction = MOST_SPEND) -> int:
    """How many of the amounts, the largest first, hold that share of the sum."""
    return next((place for place, share in enumerate(shares(amounts), 1) if share >= most), 0)


def _kind_of_work(facts: Facts, _: int) -> Finding | None:
    if not facts.task_type:
        return Finding(
            Candidate.MAYBE,
            "its kind of work is unknown: import a log with messages, or register it",
        )
    if facts.task_type not in STABLE_TASK_TYPES:
        return Finding(Candidate.NO, f"its kind of work, {facts.task_type}, still needs a frontier model")
    if facts.task_type_share is not None and facts.task_type_share < MIN_TASK_TYPE_SHARE:
        return Finding(
            Candidate.MAYBE,
            f"only {facts.task_type_share:.0%} of it is {facts.task_type}: name its parts, they are several",
        )
    return None


def _modality(facts: Facts, _: int) -> Finding | None:
    modality = modality_of(facts.models)
    return None if modality == "text" else Finding(Candidate.NO, f"its model works on {modality}, not text")


def _data_class(facts: Facts, _: int) -> Finding | None:
    # Of a workload that is not registered nothing is missing: a move home narrows who sees its data.
    if facts.may_run_at_home is False:
        return Finding(Candidate.NO, f"its data class, {facts.data_class}, allows no target at home")
    return None


def _spend(facts: Facts, least_nanos: int) -> Finding | None:
    if facts.month_nanos is None:
        return Finding(Candidate.MAYBE, "its price is unknown: add it to [[prices]], or import the bill")
    if facts.month_nanos >= least_nanos:
        return None
    if not facts.wholly_priced:
        return Finding(
            Candidate.MAYBE, "what of it has a price is too little; the rest has none: add it to [[prices]]"
        )
    return Finding(Candidate.NO, f"it costs less than ${least_nanos // 1_000_000_000:,} a month")


def _volume(facts: Facts, _: int) -> Finding | None:
    if facts.active_days is None:
        return Finding(Candidate.MAYBE, "its volume by day is unknown: the export's buckets are longer")
    if facts.days < MIN_DAYS:
        known = "1 day is" if facts.days == 1 else f"{facts.days} days are"
        return Finding(Candidate.MAYBE, f"only {known} known: {MIN_DAYS} tell whether volume is stable")
    if facts.active_days < MIN_ACTIVE_SHARE * facts.days:
        return Finding(
            Candidate.NO, f"its volume is not stable: used on {facts.active_days} of {facts.days} days"
        )
    if facts.variation is not None and facts.variation > MAX_VARIATION:
        return Finding(
            Candidate.NO,
            f"its volume is not stable: days vary by {facts.variation:.1f} times their mean",
        )
    return None


def _saving(facts: Facts, _: int) -> Finding | None:
    if facts.saves_at_most is not None and facts.saves_at_most <= 0:
        return Finding(Candidate.NO, "at home it would cost as much or more")
    return None


def _sensitivity(facts: Facts, _: int) -> Finding | None:
    if facts.sensitivity is None:
        # An unknown kind of work has said it already.
        return Finding(Candidate.MAYBE, "its quality sensitivity is unknown") if facts.task_type else None
    if facts.sensitivity is Sensitivity.HIGH:
        return Finding(
            Candidate.MAYBE, "its quality sensitivity is high: after others, and with a smaller margin"
        )
    return None


RULES: tuple[Rule, ...] = (_modality, _kind_of_work, _data_class, _spend, _saving, _volume, _sensitivity)
"""In the order in which their reasons are told."""
