"""An experiment: what a workload's comparison fixes before its first sample. Pure.

What is promised (margin, error) holds over all epochs and never changes. What is measured with (scorer,
windows, strata, rates) may change, and each change is a new epoch, which may spend half as much of α.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from services.common.errors import DomainError, Reason, invalid_request
from services.common.sampling import PPM, Sampling
from services.shadow.core.scorers.judge import check_judge, judge_model
from services.shadow.core.scorers.registry import KNOWN_SCORERS, is_scorer
from services.shadow.core.triplets import MAX_EPOCH
from services.shadow.core.verdict import Rules

SECOND_US = 10**6
MIN_WINDOW_US = SECOND_US
MAX_WINDOW_US = 366 * 86_400 * SECOND_US
"""A year: a longer one is a mistake in the unit."""
MAX_WATERMARK_US = 30 * 86_400 * SECOND_US
"""Started samples are kept, texts and all, until the watermark has passed."""
ATTRIBUTES = ("language", "key", "tools", "streamed")
"""Of a request, by which it may be stratified."""
CONVERSATION, TENANT = "conversation", "tenant"
CLUSTERS = (CONVERSATION, TENANT)
MAX_STRATUM_VALUES = 100
"""Each must pass by itself: more would never all have the votes for it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks to register."""

    workload: str
    scorer: str
    """As `is_scorer` has it."""
    margin: float
    """δ, above 0 and below 1."""
    alpha: float
    """The error over all epochs, above 0 and below 0.5."""
    window_us: int
    """Microseconds, a second or more."""
    watermark_us: int
    """Microseconds after a window's end for which late answers are waited for."""
    min_windows: int
    """Closed windows that a verdict needs, 1 or more."""
    strata: tuple[str, ...]
    """Of ATTRIBUTES."""
    stratum_values: tuple[str, ...]
    """Values that must each pass; empty: whatever occurs must."""
    rate_ppm: int
    """Share of requests that are sampled before the cutover, in parts per million."""
    reverse_rate_ppm: int
    """Once the workload is at home."""
    daily_cost_cap_nanos: int
    """What its legs may cost a day (UTC), in nano-dollars; 0: no cap."""
    cluster_by: str
    """One of CLUSTERS."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One epoch of a registered comparison. Its fields are as in `Wanted`."""

    experiment_id: bytes
    """16 bytes; the same for all epochs."""
    workload: str
    scorer: str
    margin: float
    alpha: float
    window_us: int
    watermark_us: int
    min_windows: int
    strata: tuple[str, ...]
    stratum_values: tuple[str, ...]
    rate_ppm: int
    reverse_rate_ppm: int
    daily_cost_cap_nanos: int
    cluster_by: str
    epoch: int
    """From 1."""
    register_unix_us: int
    start_unix_us: int
    """When its first window begins; samples of requests before it have no vote."""
    salt: bytes
    """16 bytes, of the draw."""

    @property
    def rules(self) -> Rules:
        """Those of the verdict."""
        return Rules(
            margin=self.margin,
            alpha=self.alpha,
            window_us=self.window_us,
            watermark_us=self.watermark_us,
            min_windows=self.min_windows,
            strata=self.stratum_values,
        )

    @property
    def wanted(self) -> Wanted:
        """What was asked for."""
        return Wanted(**{item.name: getattr(self, item.name) for item in fields(Wanted)})

    def window_start(self, request_unix_us: int) -> int:
        """When the window of a request begins."""
        return request_unix_us // self.window_us * self.window_us

    def closes(self, start_unix_us: int) -> int:
        """When the window that begins then closes: nothing that comes later changes it."""
        return start_unix_us + self.window_us + self.watermark_us

    def closed_before(self, now_unix_us: int) -> int:
        """The end of the last window that has closed: requests before it belong to closed windows."""
        return (now_unix_us - self.watermark_us) // self.window_us * self.window_us

    def sampling(self, *, reversed: bool = False, rate_ppm: int | None = None) -> Sampling:
        """The policy's words for the draw.

        Args:
            reversed: after the cutover.
            rate_ppm: None: the experiment's `rate_ppm`.
        """
        rate = self.rate_ppm if rate_ppm is None else rate_ppm
        return Sampling(self.experiment_id, self.epoch, rate, self.salt, reversed)


@dataclass(frozen=True, slots=True)
class Begun:
    """An epoch that began, as the ledger's journal has it: it is known where shadow's own file is lost."""

    workload: str
    experiment_id: bytes
    epoch: int
    margin: float | None = None
    """None where the journal does not say; so has `alpha`."""
    alpha: float | None = None


def registered(
    wanted: Wanted,
    last: Experiment | Begun | None,
    *,
    experiment_id: bytes,
    salt: bytes,
    now_unix_us: int,
    arm_models: Iterable[str] = (),
) -> Experiment:
    """The experiment that is registered: the first epoch of a workload's, or the next one of its last.

    Args:
        wanted: what is asked for.
        last: the workload's current epoch, if there is one.
        experiment_id: 16 bytes, used if there is none.
        salt: 16 random bytes; each epoch draws anew.
        now_unix_us: microseconds since the epoch.
        arm_models: that are known to be compared; none of them may judge.

    Raises:
        DomainError: INVALID_REQUEST, or EXPERIMENT_FIXED for another margin or alpha, and when there is no
            error left for one more epoch.
    """
    _check(wanted)
    judge = judge_model(wanted.scorer)
    if judge is not None:
        check_judge(judge, arm_models)
    epoch = 1
    if last is not None:
        for name in ("workload", "margin", "alpha"):
            before, asked = getattr(last, name), getattr(wanted, name)
            if before is not None and before != asked:
                raise _fixed(last, f"{name} is {before} in all its epochs, not {asked}")
        if last.epoch >= MAX_EPOCH:
            raise _fixed(last, f"epoch {MAX_EPOCH} was its last")
        experiment_id, epoch = last.experiment_id, last.epoch + 1
    return Experiment(
        experiment_id=experiment_id,
        epoch=epoch,
        register_unix_us=now_unix_us,
        # A window that had begun before would have fewer requests than its cycle.
        start_unix_us=-(-now_unix_us // wanted.window_us) * wanted.window_us,
        salt=salt,
        **{item.name: getattr(wanted, item.name) for item in fields(Wanted)},
    )


def _check(wanted: Wanted) -> None:
    values = wanted.stratum_values
    for name, valid, expected in (
        ("workload", bool(wanted.workload), "the name of a workload"),
        ("scorer", is_scorer(wanted.scorer), f"one of {KNOWN_SCORERS}"),
        ("margin", 0 < wanted.margin < 1, "above 0 and below 1"),
        ("alpha", 0 < wanted.alpha < 0.5, "above 0 and below 0.5"),
        ("window", MIN_WINDOW_US <= wanted.window_us <= MAX_WINDOW_US, "a second to a year"),
        ("watermark", 0 <= wanted.watermark_us <= MAX_WATERMARK_US, "0 to 30 days"),
        ("min_windows", wanted.min_windows >= 1, "1 or more"),
        ("rate_ppm", 1 <= wanted.rate_ppm <= PPM, f"1 to {PPM}"),
        ("reverse_rate_ppm", 0 <= wanted.reverse_rate_ppm <= PPM, f"0 to {PPM}"),
        ("daily_cost_cap_nanos", wanted.daily_cost_cap_nanos >= 0, "0 or more"),
        ("cluster_by", wanted.cluster_by in CLUSTERS, f"one of {', '.join(CLUSTERS)}"),
        ("strata", set(wanted.strata) <= set(ATTRIBUTES), f"some of {', '.join(ATTRIBUTES)}"),
        ("strata", len(set(wanted.strata)) == len(wanted.strata), "each attribute once"),
        ("stratum_values", len(set(values)) == len(values), "each value once"),
        ("stratum_values", len(values) <= MAX_STRATUM_VALUES, f"at most {MAX_STRATUM_VALUES} values"),
        ("stratum_values", bool(wanted.strata) or not values, "empty where there are no strata"),
    ):
        if not valid:
            got = getattr(wanted, f"{name}_us" if name in ("window", "watermark") else name)
            raise invalid_request(f"experiment.{name}", expected, got)


def _fixed(last: Experiment | Begun, what: str) -> DomainError:
    return DomainError(
        Reason.EXPERIMENT_FIXED,
        f"the experiment of {last.workload!r} is fixed: {what}",
        experiment_id=last.experiment_id.hex(),
    )
