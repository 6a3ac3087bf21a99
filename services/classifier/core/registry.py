"""The registered workloads, and the table of their fixed parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.common.fingerprint import Shape, ShapeTable
from services.common.seen import Seen
from services.common.words import QualitySensitivity, TaskType


@dataclass(frozen=True, slots=True)
class Workload:
    """A registered workload."""

    name: str
    owner: str
    task_type: TaskType
    data_class: str
    quality_sensitivity: QualitySensitivity
    description: str
    version: int
    """Counts the registrations of the name, from 1; always 1 for one from the settings."""
    shapes: tuple[Shape, ...]
    """The fixed parts that belong to it: those that were given, then those of its examples."""
    examples: tuple[Seen, ...]
    """None, or 5 to 50 different requests that belong to it."""
    from_settings: bool
    """True if the settings register it, so that only they can change it."""


class Registry:
    """All registered workloads. Never changed: with a registration it is replaced as a whole."""

    def __init__(self, workloads: Iterable[Workload], version: int) -> None:
        """Builds the table of fixed parts.

        Args:
            workloads: in any order, each name once.
            version: the table's; it grows with each change of what is in it, across restarts too.

        Raises:
            AmbiguousError: two workloads have a fixed part in common.
        """
        self.version = version
        self._by_name = {item.name: item for item in sorted(workloads, key=lambda item: item.name)}
        self.shapes = ShapeTable((item.name, shape) for item in self.workloads for shape in item.shapes)
        """Finds the workload that a request's fixed parts belong to."""

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """In the order of their names."""
        return tuple(self._by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Workload:
        """The workload of that name.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    def with_workload(self, workload: Workload) -> Registry:
        """The next version of the table, in which the workload is new or takes its former version's place.

        Raises:
            AmbiguousError: another workload has a fixed part in common with it.
        """
        return Registry({**self._by_name, workload.name: workload}.values(), self.version + 1)


def overlaid(from_settings: Iterable[Workload], registered: Iterable[Workload]) -> tuple[Workload, ...]:
    """The workloads of the settings, and those of the registered ones whose names the settings lack."""
    by_name = {item.name: item for item in registered}
    by_name.update({item.name: item for item in from_settings})
    return tuple(by_name.values())
