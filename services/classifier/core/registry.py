"""The registered workloads, and the name that a request's fixed parts give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.common.fingerprint import fingerprint
from services.common.words import Evidence, QualitySensitivity, TaskType


@dataclass(frozen=True, slots=True)
class Workload:
    """A registered workload."""

    name: str
    owner: str
    task_type: TaskType
    data_class: str
    quality_sensitivity: QualitySensitivity
    description: str
    system_prompts: tuple[str, ...]

    @property
    def fingerprints(self) -> tuple[bytes, ...]:
        """The exact fingerprints of its system prompts."""
        return tuple(fingerprint(prompt) for prompt in self.system_prompts)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the classifier says of a request."""

    workload: str
    evidence: Evidence
    confidence: float
    task_type: TaskType


ABSTAIN = Answer("", Evidence.ABSTAINED, 0.0, TaskType.UNSPECIFIED)


class AmbiguousError(Exception):
    """Two workloads have the same system prompt; the message names both."""


class Registry:
    """All registered workloads. Replaced as a whole when one changes."""

    def __init__(self, workloads: Iterable[Workload], version: int) -> None:
        """Builds the table of fingerprints.

        Raises:
            AmbiguousError: two workloads share a system prompt.
        """
        self.version = version
        self.workloads = tuple(sorted(workloads, key=lambda item: item.name))
        self._by_digest: dict[bytes, Workload] = {}
        for workload in self.workloads:
            for digest in workload.fingerprints:
                other = self._by_digest.setdefault(digest, workload)
                if other is not workload:
                    raise AmbiguousError(
                        f"workloads {other.name!r} and {workload.name!r} have the same system prompt"
                    )

    def classify(self, digest: bytes) -> Answer:
        """The workload whose fingerprint it is, else an abstention."""
        workload = self._by_digest.get(digest)
        if workload is None:
            return ABSTAIN
        return Answer(workload.name, Evidence.FINGERPRINT, 1.0, workload.task_type)
