"""Naming: which workload a request belongs to, from the evidence that the router has itself.

What it can't name goes to the classifier, unless the fixed parts are known there to belong to nobody.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from services.common.errors import DomainError, Reason
from services.common.words import Evidence, TaskType
from services.router.core.keys import Key


@dataclass(frozen=True, slots=True)
class Name:
    """A workload's name, or the lack of one, and what it rests on."""

    workload: str
    evidence: Evidence
    task_type: TaskType = TaskType.UNSPECIFIED
    confidence: float = 0.0


ABSTAINED = Name("", Evidence.ABSTAINED)


@dataclass(frozen=True, slots=True)
class Table:
    """The registered workloads as the classifier serves them."""

    version: int
    task_types: Mapping[str, TaskType]
    """By name; its keys are all registered names."""
    fingerprints: Mapping[bytes, str]
    """Names by exact fingerprint."""


EMPTY_TABLE = Table(0, {}, {})


def declared(workload: str, key: Key, table: Table) -> Name | None:
    """The name that a header, a gRPC field or the key's default gives; None if none does.

    Raises:
        DomainError: WORKLOAD_NOT_FOUND or WORKLOAD_FORBIDDEN, for what the caller declared.
    """
    name = workload or key.default_workload
    if not name:
        return None
    if name not in table.task_types:
        # A key's default that nobody registered is the operator's slip: the caller can't mend it.
        if not workload:
            return None
        nearest = difflib.get_close_matches(workload, table.task_types, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise DomainError(
            Reason.WORKLOAD_NOT_FOUND,
            f"no workload {workload[:63]!r} is registered{hint}",
            workload=workload[:63],
            nearest=nearest[0] if nearest else "",
        )
    if workload and not key.may_use(workload):
        raise DomainError(
            Reason.WORKLOAD_FORBIDDEN,
            f"key {key.name!r} may not use the workload {workload!r}",
            key=key.name,
            workload=workload,
        )
    return Name(name, Evidence.DECLARED, table.task_types[name], 1.0)


def by_fingerprint(digest: bytes, key: Key, table: Table) -> Name | None:
    """The name that the request's fixed parts give, if the key may use it."""
    name = table.fingerprints.get(digest)
    if name is None or not key.may_use(name):
        return None
    return Name(name, Evidence.FINGERPRINT, table.task_types[name], 1.0)
