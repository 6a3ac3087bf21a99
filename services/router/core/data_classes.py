"""What the law says of a workload's data, and whom it binds.

A class that does not allow the cloud is restricted. No text moves a request of such a class to the cloud:
only keys that list one of its workloads by name may send its requests, and what such a key sends without a
name that is beyond doubt runs only where all the restricted classes of the key allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.common.errors import DomainError, Reason
from services.common.words import Target
from services.router.core.policy import BOTH, WorkloadPolicy

UNRESTRICTED = "unrestricted"
"""The name of the class that is there without being declared."""


@dataclass(frozen=True, slots=True)
class DataClass:
    """A data class as the settings have it."""

    name: str
    targets: frozenset[Target] = BOTH
    regions: frozenset[str] = frozenset()
    """Empty means any."""
    known: bool = True
    """False if the settings do not have it: then it allows nothing."""

    @property
    def restricted(self) -> bool:
        """True if it does not allow the cloud."""
        return Target.CLOUD not in self.targets


class DataClasses:
    """The data classes of the settings."""

    def __init__(self, classes: Iterable[DataClass] = ()) -> None:
        self._classes = {UNRESTRICTED: DataClass(UNRESTRICTED)} | {item.name: item for item in classes}

    def get(self, name: str) -> DataClass:
        """The class of that name. One that is not in the settings allows nothing."""
        found = self._classes.get(name or UNRESTRICTED)
        return found if found is not None else DataClass(name, frozenset(), known=False)

    def restricted(self) -> list[DataClass]:
        """All restricted classes."""
        return [item for item in self._classes.values() if item.restricted]


def bound(row: WorkloadPolicy, classes: Iterable[DataClass], workload: str) -> WorkloadPolicy:
    """The policy's row within what all the classes allow.

    Raises:
        DomainError: TARGET_NOT_ALLOWED if nothing is left.
    """
    targets, regions = row.allowed_targets, row.allowed_regions
    whose = f"{workload!r}" if workload else "an unnamed request of this key"
    for item in classes:
        if not item.known:
            raise DomainError(
                Reason.TARGET_NOT_ALLOWED,
                f"this router does not know the data class {item.name!r} of {whose}, so it runs nowhere;"
                f" an operator must add [data_classes.{item.name}] to its settings",
                workload=workload,
                allowed="",
            )
        if regions and item.regions and not regions & item.regions:
            targets = frozenset()
        regions = regions & item.regions if regions and item.regions else regions | item.regions
        targets &= item.targets
    if not targets:
        raise DomainError(
            Reason.TARGET_NOT_ALLOWED,
            f"the data classes of {whose} and the policy together allow no target",
            workload=workload,
            allowed="",
        )
    if targets == row.allowed_targets and regions == row.allowed_regions:
        return row
    return replace(row, allowed_targets=targets, allowed_regions=regions)
