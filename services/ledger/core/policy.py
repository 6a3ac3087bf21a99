"""The policy that follows from decisions, and the decisions that follow from settings.

Each decision replaces one workload's row; the policy is the last row of each. A change of the settings
(a workload that is new or gone, a data class that allows other targets) is a decision too, made by
`settings`, so that the journal explains every version.

Who decides moves a workload by the table of `services.common.stages`, and home only on evidence. A rollback
needs neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from services.common.errors import DomainError, Reason, invalid_request
from services.common.sampling import Sampling
from services.common.stages import PLACES, Move, Place, move
from services.common.words import Stage, Target
from services.ledger.core.evidence import check_ready


class _Nature(NamedTuple):
    """What a row in a stage has."""

    needs: frozenset[Target] = frozenset()
    """Targets that the data class must allow. None are needed where requests run wherever they may."""
    sampled: bool = False
    reversed: bool = False


_NATURES: Mapping[Stage, _Nature] = {
    Stage.OBSERVED: _Nature(),
    Stage.SHADOWED: _Nature(frozenset(Target), sampled=True),
    Stage.CANARY: _Nature(frozenset({Target.SOVEREIGN}), sampled=True, reversed=True),
    Stage.HOME: _Nature(frozenset({Target.SOVEREIGN}), sampled=True, reversed=True),
    Stage.ROLLED_BACK: _Nature(),
}


@dataclass(frozen=True, slots=True)
class Row:
    """The policy's row for one workload."""

    workload: str
    stage: Stage = Stage.OBSERVED
    sovereign_share_ppm: int = 0
    allowed_targets: tuple[Target, ...] = (Target.CLOUD, Target.SOVEREIGN)
    allowed_regions: tuple[str, ...] = ()
    fallback_allowed: bool = True
    sampling: Sampling | None = None

    @property
    def place(self) -> Place:
        """Where the workload stands."""
        return Place(self.stage, self.sovereign_share_ppm)


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole table."""

    version: int = 0
    rows: Mapping[str, Row] = field(default_factory=dict)
    compared: Mapping[str, Sampling] = field(default_factory=dict)
    """By workload, the last epoch that was ever sampled: its error is spent, whatever became of the row."""


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
    compared = policy.compared
    sampling = change.after.sampling if change.after is not None else None
    last = compared.get(change.workload)
    if sampling is not None and (last is None or sampling.epoch >= last.epoch):
        compared = {**compared, change.workload: sampling}
    return Policy(policy.version + 1, rows, compared)


def replace_row(policy: Policy, after: Row, reason: str, evidence: Mapping[str, Any]) -> Change:
    """The change to a workload's row that somebody decided.

    Raises:
        DomainError: WORKLOAD_NOT_FOUND; STAGE_MOVE_FORBIDDEN, if the table or the data class does not allow
            the move; INVALID_REQUEST, if the row does not fit its stage, if it would allow what the data
            class does not (targets and regions are the settings' alone), or if the evidence of a move home
            is no READY.
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
    if (unfit := _unfit(after)) is not None:
        field, expected, got = unfit
        raise invalid_request(f"after.{field}", f"{expected} in {after.stage.name}", got)
    kind = move(after.workload, before.place, after.place)
    if lacking := _lacking(after):
        raise DomainError(
            Reason.STAGE_MOVE_FORBIDDEN,
            f"{after.workload!r} can't go to {after.place}: its data class does not allow"
            f" {' and '.join(target.name for target in sorted(lacking))}",
            **{"workload": after.workload, "from": str(before.place), "to": str(after.place)},
        )
    if kind is Move.SHADOW:
        _check_epoch(policy.compared.get(after.workload), after.sampling)
    else:
        _check_experiment(before.sampling, after.sampling)
    if kind is Move.ADVANCE and after.sampling is not None:
        check_ready(evidence, after.sampling)
    return Change(after.workload, before, after, reason)


def _unfit(row: Row) -> tuple[str, str, str] | None:
    """What of a row does not fit its stage: the field, what it must be, and what it is."""
    nature = _NATURES[row.stage]
    shares = [place.share_ppm for place in PLACES if place.stage is row.stage]
    if row.sovereign_share_ppm not in shares:
        return "sovereign_share_ppm", " or ".join(map(str, shares)), str(row.sovereign_share_ppm)
    if row.sampling is None:
        return ("sampling", "there", "missing") if nature.sampled else None
    if not nature.sampled:
        return "sampling", "absent", "there"
    if row.sampling.reversed != nature.reversed:
        return "sampling.reversed", str(nature.reversed).lower(), str(row.sampling.reversed).lower()
    return None


def _lacking(row: Row) -> frozenset[Target]:
    """The targets that a row's stage needs and its data class does not allow."""
    return _NATURES[row.stage].needs - set(row.allowed_targets)


def _check_epoch(last: Sampling | None, after: Sampling | None) -> None:
    """Makes sure that a comparison begins with error that is not spent: an epoch has half of the one before,
    whichever experiment that was of.

    Raises:
        DomainError: INVALID_REQUEST.
    """
    if last is None or after is None:
        return
    same = after.experiment_id == last.experiment_id
    least = last.epoch if same else last.epoch + 1
    if after.epoch < least:
        what = "" if same else f" after the last one, of experiment {last.experiment_id.hex()}"
        raise invalid_request("after.sampling.epoch", f"{least} or more{what}", str(after.epoch))


def _check_experiment(before: Sampling | None, after: Sampling | None) -> None:
    """Makes sure that one epoch of one experiment carries a workload all the way home.

    Raises:
        DomainError: INVALID_REQUEST.
    """
    if before is None or after is None:
        return
    for name in ("experiment_id", "epoch", "salt"):
        was, becomes = getattr(before, name), getattr(after, name)
        if becomes != was:
            raise invalid_request(f"after.sampling.{name}", _shown(was), _shown(becomes))


def _shown(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def settle(policy: Policy, registered: Iterable[Registered]) -> list[Change]:
    """The changes that bring the policy in line with the settings, in the order of the names.

    A workload whose stage is not possible any more (its data class has lost a target, or the row is of a
    version that did not know what a stage needs) is observed from then on.
    """
    wanted = {item.workload: item for item in registered}
    changes: list[Change] = []
    for name in sorted(wanted.keys() | policy.rows.keys()):
        item, before = wanted.get(name), policy.rows.get(name)
        if item is None:
            changes.append(Change(name, before, None, "the workload is no longer registered"))
        elif before is None:
            changes.append(Change(name, None, _row(item, Row(name)), "the workload was registered"))
        else:
            bound = _row(item, before)
            after, why = bound, "its data class changed"
            if _lacking(bound):
                after, why = _observed(bound), f"its data class changed, and does not allow {bound.place}"
            elif _unfit(bound):
                after, why = _observed(bound), f"its row did not fit {bound.stage.name}"
            if after != before:
                changes.append(Change(name, before, after, why))
    return changes


def _observed(row: Row) -> Row:
    return replace(row, stage=Stage.OBSERVED, sovereign_share_ppm=0, sampling=None)


def _row(item: Registered, row: Row) -> Row:
    return replace(
        row,
        allowed_targets=item.allowed_targets,
        allowed_regions=item.allowed_regions,
        fallback_allowed=Target.CLOUD in item.allowed_targets,
    )
