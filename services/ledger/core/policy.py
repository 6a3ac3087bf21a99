"""The policy that follows from decisions, and the decisions that follow from settings.

Each decision replaces one workload's row; the policy is the last row of each. A change of the settings
(a workload that is new or gone, a data class that allows other targets) is a decision too, made by
`settings`, so that the journal explains every version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from services.common.errors import DomainError, Reason
from services.common.words import Stage, Target


@dataclass(frozen=True, slots=True)
class Row:
    """The policy's row for one workload."""

    workload: str
    stage: Stage = Stage.OBSERVED
    sovereign_share_ppm: int = 0
    allowed_targets: tuple[Target, ...] = (Target.CLOUD, Target.SOVEREIGN)
    allowed_regions: tuple[str, ...] = ()
    fallback_allowed: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole table."""

    version: int = 0
    rows: Mapping[str, Row] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What a decision does to one workload; None is a row that is not there."""

    workload: str
    before: Row | None
    after: Row | None
    reason: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What the settings say of a workload."""

    workload: str
    allowed_targets: tuple[Target, ...]
    allowed_regions: tuple[str, ...]


def apply(policy: Policy, change: Change) -> Policy:
    """The next version of the policy."""
    rows = {name: row for name, row in policy.rows.items() if name != change.workload}
    if change.after is not None:
        rows[change.workload] = change.after
    return Policy(policy.version + 1, rows)


def replace_row(policy: Policy, after: Row, reason: str) -> Change:
    """The change to a workload's row that somebody decided.

    Raises:
        DomainError: WORKLOAD_NOT_FOUND, or INVALID_REQUEST if it would allow what the data class does not:
            targets and regions are the settings' alone.
    """
    before = policy.rows.get(after.workload)
    if before is None:
        raise DomainError(
            Reason.WORKLOAD_NOT_FOUND,
            f"no workload {after.workload!r} is registered",
            workload=after.workload,
            nearest="",
        )
    for name in ("allowed_targets", "allowed_regions", "fallback_allowed"):
        if getattr(after, name) != getattr(before, name):
            raise DomainError(
                Reason.INVALID_REQUEST,
                f"`after.{name}` follows from the workload's data class; change that in the settings",
                field=f"after.{name}",
                expected=getattr(before, name),
                got=getattr(after, name),
            )
    return Change(after.workload, before, after, reason)


def settle(policy: Policy, registered: Iterable[Registered]) -> list[Change]:
    """The changes that bring the policy in line with the settings, in the order of the names."""
    wanted = {item.workload: item for item in registered}
    changes: list[Change] = []
    for name in sorted(wanted.keys() | policy.rows.keys()):
        item, before = wanted.get(name), policy.rows.get(name)
        if item is None:
            changes.append(Change(name, before, None, "the workload is no longer registered"))
        elif before is None:
            changes.append(Change(name, None, _row(item, Row(name)), "the workload was registered"))
        else:
            after = _row(item, before)
            if after != before:
                changes.append(Change(name, before, after, "its data class changed"))
    return changes


def _row(item: Registered, row: Row) -> Row:
    return replace(
        row,
        allowed_targets=item.allowed_targets,
        allowed_regions=item.allowed_regions,
        fallback_allowed=Target.CLOUD in item.allowed_targets,
    )
