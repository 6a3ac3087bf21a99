"""What the store keeps, as plain rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from services.shadow.core.examples import Standing
from services.shadow.core.triplets import Triplet

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that was taken, and is not yet finished."""

    sample_id: bytes
    """16 bytes."""
    experiment_id: bytes
    epoch: int
    workload: str
    request_unix_us: int
    cluster: str
    """Hexadecimal; empty for a request that stands for itself."""
    stratum: str
    payload: bytes
    """The SubmitSampleRequest, serialised. It has the texts, and goes when the sample is finished."""
    reversed: bool = False
    """Sampled after the cutover: of the lane `after`."""
    started: bool = False
    """A model may have been asked."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One triplet: a row of homeward.triplets."""

    sample_id: bytes
    lane: str
    """One of core.lanes.LANES."""
    experiment_id: bytes
    epoch: int
    workload: str
    request_unix_us: int
    arrival_unix_us: int | None
    """When the last leg was scored; None if that never was: the window had closed."""
    cluster: str
    stratum: str
    sovereign_millionths: int | None
    """agree(sovereign, cloud), rounded down; None if there was no answer to score."""
    noise_millionths: int | None
    """agree(cloud again, cloud), rounded up; None if there was none."""
    scorer: str
    reason: str = ""
    """Why the sovereign answer, else the noise, was not scored: `timeout`, `late`, `invalid`; or empty."""
    language: str = ""
    """ISO 639-1; empty if unknown."""
    features: tuple[str, ...] = ()
    """What the request uses: of core.features.FEATURES."""
    input_tokens: int | None = None
    """Of the prompt, as the application's server counted them."""
    sovereign_leg_id: bytes = b""
    """16 bytes each, empty if unknown."""
    cloud_leg_id: bytes = b""
    noise_leg_id: bytes = b""
    trace_id: str = ""
    """Of the application's request: 32 hexadecimal digits, or empty."""

    @property
    def triplet(self) -> Triplet:
        """As the verdict's core has it."""
        return Triplet(
            request_unix_us=self.request_unix_us,
            arrival_unix_us=self.arrival_unix_us,
            cluster=self.cluster,
            stratum=self.stratum,
            epoch=self.epoch,
            agreement_sovereign=fraction(self.sovereign_millionths),
            agreement_noise=fraction(self.noise_millionths),
        )


COLUMNS = tuple(item.name for item in fields(Finished))
"""Of a triplet, as the store has them."""
_FEATURES = COLUMNS.index("features")


@dataclass(frozen=True, slots=True)
class Example:
    """A disagreement whose texts shall be kept."""

    standing: Standing
    """Which sample it is."""
    experiment_id: bytes
    epoch: int
    workload: str
    lane: str
    """Of the triplet: `COMPARISON` or `AFTER`."""
    keep_unix_us: int
    """Since when it is kept."""
    expire_unix_us: int
    """Until when."""
    texts: bytes
    """core.examples.Texts as JSON."""
    texts_sha256: bytes


@dataclass(frozen=True, slots=True)
class KeptExample:
    """An example that was kept, and its texts while they are there."""

    triplet: Finished
    keep_unix_us: int
    expire_unix_us: int
    texts_sha256: bytes
    texts: bytes | None
    """As JSON; None once they are deleted."""
    delete_unix_us: int | None
    delete_reason: str
    """`expired`, `replaced` or `settings`; empty while they are there."""


@dataclass(frozen=True, slots=True)
class Count:
    """Requests that a router counted: a SamplingCount."""

    experiment_id: bytes
    epoch: int
    minute_unix_us: int
    """The minute in which they came."""
    step: str
    reason: str
    count: int


def fraction(millionths: int | None) -> Fraction | None:
    """An agreement as the core has it."""
    return None if millionths is None else Fraction(millionths, MILLION)


def values(item: Finished) -> list[Any]:
    """A triplet as the store has it, in the order of COLUMNS."""
    made = [getattr(item, name) for name in COLUMNS]
    made[_FEATURES] = ",".join(item.features)
    return made


def finished(row: Sequence[Any]) -> Finished:
    """Of `values`."""
    made = list(row)
    made[_FEATURES] = tuple(filter(None, made[_FEATURES].split(",")))
    return Finished(*made)
