"""Which requests of a workload are compared: the words of the policy, and the draw.

Pure. The draw is by a salted hash of the request's id: unbiased, repeatable, and independent of every other
experiment's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

PPM = 1_000_000
ID_BYTES = 16
_HASH_BITS = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """How requests of a workload are sampled."""

    experiment_id: bytes
    """16 bytes."""
    epoch: int
    """From 1."""
    rate_ppm: int
    """Share of requests, in parts per million: 0 to 1,000,000."""
    salt: bytes
    """16 bytes."""
    reversed: bool = False
    """True after the cutover: what is sampled feeds the alarm, whichever target answered."""

    def __post_init__(self) -> None:
        for name, valid, expected in (
            ("experiment_id", len(self.experiment_id) == ID_BYTES, f"{ID_BYTES} bytes"),
            ("salt", len(self.salt) == ID_BYTES, f"{ID_BYTES} bytes"),
            ("epoch", self.epoch >= 1, "1 or more"),
            ("rate_ppm", 0 <= self.rate_ppm <= PPM, f"0 to {PPM}"),
        ):
            if not valid:
                raise ValueError(f"{name} must be {expected}, got {getattr(self, name)!r}")


def is_sampled(sampling: Sampling, request_id: bytes) -> bool:
    """Whether a request is compared. A higher rate keeps the requests of a lower one."""
    drawn = int.from_bytes(hashlib.sha256(sampling.salt + request_id).digest()[: _HASH_BITS // 8], "big")
    return drawn * PPM < sampling.rate_ppm << _HASH_BITS
