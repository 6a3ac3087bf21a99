"""Naming: which workload a request belongs to, from the evidence that the router has itself.

What it can't name goes to the classifier. Whatever names a request, it names none that the key may not use.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from services.common.errors import DomainError, Reason
from services.common.fingerprint import Hit, ShapeTable
from services.common.words import Evidence, TaskType
from services.router.core.data_classes import DataClass, DataClasses
from services.router.core.keys import Key


@dataclass(frozen=True, slots=True)
class Name:
    """A workload's name, or the lack of one, and what it rests on."""

    workload: str
    evidence: Evidence
    task_type: TaskType = TaskType.UNSPECIFIED
    confidence: float = 0.0
    """Probability that it is right; of the task type if there is no name."""
    certain: bool = False
    """True if no text of a user's could have changed it: it was declared, or the fixed parts are registered
    to the letter."""


ABSTAINED = Name("", Evidence.ABSTAINED)


@dataclass(frozen=True, slots=True)
class Registered:
    """What the table says of a workload."""

    task_type: TaskType = TaskType.UNSPECIFIED
    data_class: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """The registered workloads as the classifier serves them."""

    version: int = 0
    """0 if none has come yet."""
    workloads: Mapping[str, Registered] = field(default_factory=dict)
    shapes: ShapeTable = field(default_factory=ShapeTable)
    """Names by fixed parts."""


EMPTY_TABLE = Table()


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may use which workload, and where a request may run for it."""

    table: Table
    classes: DataClasses

    def may_use(self, key: Key, workload: str) -> bool:
        """True if requests of that workload may come with this key: a restricted one must be listed."""
        return key.may_use(workload) and (key.lists(workload) or not self._closed(workload))

    def binding(self, key: Key, name: Name) -> list[DataClass]:
        """The data classes that bind a request, its workload's first.

        A name that a text could have changed opens nothing that the key's restricted workloads close.
        """
        classes = [self._class(name.workload)] if name.workload else []
        return classes if name.certain else [*classes, *self.restricted(key)]

    def restricted(self, key: Key) -> list[DataClass]:
        """The restricted data classes of the workloads that the key lists."""
        if any(name not in self.table.workloads for name in key.named):
            # No table has come yet, or it has lost the workload: nobody can tell whether it was restricted.
            return self.classes.restricted()
        classes = (self._class(name) for name in key.named)
        return [item for item in classes if item.restricted]

    def _class(self, workload: str) -> DataClass:
        return self.classes.get(self.table.workloads[workload].data_class)

    def _closed(self, workload: str) -> bool:
        # An unknown class is not kept from a key that may use all: it then says what is wrong.
        item = self._class(workload)
        return item.restricted and item.known


def declared(workload: str, key: Key, rules: Rules) -> Name | None:
    """The name that a header, a gRPC field or the key's default gives; None if none does.

    Raises:
        DomainError: WORKLOAD_NOT_FOUND or WORKLOAD_FORBIDDEN, for what the caller declared.
    """
    name = workload or key.default_workload
    if not name:
        return None
    workloads = rules.table.workloads
    if name not in workloads:
        # A key's default that nobody registered is the operator's slip: the caller can't mend it.
        if not workload:
            return None
        nearest = difflib.get_close_matches(workload, workloads, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise DomainError(
            Reason.WORKLOAD_NOT_FOUND,
            f"no workload {workload[:63]!r} is registered{hint}",
            workload=workload[:63],
            nearest=nearest[0] if nearest else "",
        )
    if workload and not rules.may_use(key, workload):
        hint = ""
        if key.may_use(workload):
            hint = f", whose data class keeps it from the cloud; list it in [keys.{key.name}] workloads"
        raise DomainError(
            Reason.WORKLOAD_FORBIDDEN,
            f"key {key.name!r} may not use the workload {workload!r}{hint}",
            key=key.name,
            workload=workload,
        )
    return Name(name, Evidence.DECLARED, workloads[name].task_type, 1.0, certain=True)


def by_fixed_parts(hit: Hit | None, key: Key, rules: Rules) -> Name | None:
    """The name that the request's fixed parts give, if the key may use it."""
    if hit is None or not rules.may_use(key, hit.workload):
        return None
    task_type = rules.table.workloads[hit.workload].task_type
    return Name(hit.workload, Evidence.FINGERPRINT, task_type, hit.confidence, certain=hit.exact)


def by_classifier(answer: Name, key: Key, rules: Rules) -> Name:
    """The classifier's answer, without the name if the key may not use it or the table does not have it yet.

    What a text looks like opens nothing.
    """
    if not answer.workload:
        return answer
    if answer.workload in rules.table.workloads and rules.may_use(key, answer.workload):
        return answer
    return replace(ABSTAINED, task_type=answer.task_type)
