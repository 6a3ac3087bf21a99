"""The policy as the router reads it, and the choice of a target that follows from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.errors import DomainError, Reason
from services.common.sampling import Sampling
from services.common.words import Stage, Target

PPM = 1_000_000
BOTH = frozenset({Target.CLOUD, Target.SOVEREIGN})


@dataclass(frozen=True, slots=True)
class WorkloadPolicy:
    """The policy's row for one workload."""

    stage: Stage = Stage.OBSERVED
    sovereign_share_ppm: int = 0
    allowed_targets: frozenset[Target] = BOTH
    allowed_regions: frozenset[str] = frozenset()
    """Empty means any."""
    fallback_allowed: bool = True
    sampling: Sampling | None = None
    """How its requests are sampled for comparison; None if they are not."""


UNNAMED = WorkloadPolicy()
"""What holds for requests that nobody named, and for workloads without a row: the cloud."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole table."""

    version: int = 0
    workloads: Mapping[str, WorkloadPolicy] = field(default_factory=dict)

    def row(self, workload: str) -> WorkloadPolicy:
        """The row of a workload, or the default."""
        return self.workloads.get(workload, UNNAMED)


def bucket_ppm(conversation: bytes) -> int:
    """Where a conversation falls, 0 to 999,999: always the same, and uniform over conversations."""
    return int.from_bytes(hashlib.sha256(conversation).digest()[:8], "big") % PPM


def choose_target(row: WorkloadPolicy, conversation: bytes, workload: str) -> Target:
    """Where a production request runs.

    Raises:
        DomainError: TARGET_NOT_ALLOWED if the stage's target is not one that the data class allows and
            the other would not be either.
    """
    share = {Stage.HOME: PPM, Stage.CANARY: row.sovereign_share_ppm}.get(row.stage, 0)
    wanted = Target.SOVEREIGN if bucket_ppm(conversation) < share else Target.CLOUD
    if wanted in row.allowed_targets:
        return wanted
    other = Target.CLOUD if wanted is Target.SOVEREIGN else Target.SOVEREIGN
    if other in row.allowed_targets:
        return other
    raise DomainError(
        Reason.TARGET_NOT_ALLOWED,
        f"the data class of {workload!r} allows no target",
        workload=workload,
        allowed="",
    )
