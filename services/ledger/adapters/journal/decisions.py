"""The decisions: an append-only, hash-chained table, and the policy that follows from it.

The policy is not stored: it is what the decisions add up to. An entry's hash covers the entry before it,
so that nothing in the middle can be changed, added or taken away unseen. Several ledgers may decide; each
takes over what the others have decided before it decides itself.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from services.common.errors import DomainError, Reason, invalid_request
from services.common.sampling import Sampling
from services.common.words import Stage, Target
from services.ledger.adapters.journal.database import (
    BrokenChainError,
    Database,
    head,
    metadata,
    move_head,
    seen_head,
)
from services.ledger.core.policy import Change, Policy, Row, apply

_CHAIN = "decision"
_decisions = sql.Table(
    "decision",
    metadata,
    sql.Column("decision_id", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("request_id", sql.LargeBinary(16), nullable=False, unique=True),
    sql.Column("decide_unix_us", sql.BigInteger, nullable=False),
    sql.Column("actor", sql.Text, nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("workload", sql.Text, nullable=False, index=True),
    sql.Column("before", sql.Text, nullable=False),
    sql.Column("after", sql.Text, nullable=False),
    sql.Column("evidence", sql.Text, nullable=False),
    sql.Column("policy_version", sql.BigInteger, nullable=False, unique=True),
    sql.Column("entry_sha256", sql.LargeBinary(32), nullable=False),
)
_HASHED = (
    "decision_id",
    "request_id",
    "decide_unix_us",
    "actor",
    "reason",
    "workload",
    "before",
    "after",
    "evidence",
    "policy_version",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """An entry of the journal."""

    decision_id: int
    decide_unix_us: int
    actor: str
    change: Change
    evidence: Mapping[str, Any]
    policy_version: int
    entry_sha256: bytes


@dataclass(frozen=True, slots=True)
class _Replayed:
    """Where a ledger stands in the chain."""

    last_id: int = 0
    sha256: bytes = b""
    policy: Policy = field(default_factory=Policy)
    unix_us: int = 0


class Decisions:
    """The decisions of all ledgers, and the policy as far as this one has replayed them."""

    def __init__(self, database: Database) -> None:
        """Replays the chain.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
            BrokenChainError: somebody changed it.
        """
        self._database = database
        self._deciding = threading.Lock()
        with database.writing() as db:
            last_id, sha256 = head(db, _CHAIN)
            self._at = _replay(db, _Replayed(), last_id, sha256)
            # Files of the versions before heads have none.
            if self._at.last_id != last_id:
                move_head(db, _CHAIN, self._at.last_id, self._at.sha256)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._at.policy

    @property
    def policy_unix_us(self) -> int:
        """When it was made, microseconds since the epoch; 0 for none."""
        return self._at.unix_us

    def refresh(self) -> bool:
        """Takes over what other ledgers have decided.

        Returns:
            Whether the policy is another now.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
            BrokenChainError: the chain does not go on from where this ledger stood.
        """
        with self._deciding, self._database.reading() as db:
            before = self._at
            last_id, sha256 = seen_head(db, _CHAIN)
            if (last_id, sha256) == (before.last_id, before.sha256):
                return False
            self._at = _replay(db, before, last_id, sha256)
            return self._at.policy.version != before.policy.version

    def decide(
        self,
        change: Callable[[Policy], Change],
        *,
        request_id: bytes,
        expected_version: int,
        actor: str,
        evidence: Mapping[str, Any],
        now_unix_us: int,
    ) -> Decision:
        """Appends a decision and moves the policy on.

        Args:
            change: makes the change from the policy that it rests on.
            request_id: 16 bytes; a decision that comes again under the same id is the one of before.
            expected_version: the policy version that the decision rests on.
            actor: who decides.
            evidence: what it rests on; JSON.
            now_unix_us: microseconds since the epoch.

        Raises:
            DomainError: POLICY_CHANGED, also if another ledger was faster; INVALID_REQUEST, if a text has a
                NUL, which PostgreSQL can't keep; STORAGE_UNAVAILABLE.
            BrokenChainError: the chain does not go on from where this ledger stood.
        """
        # One at a time: each rests on the policy that the one before has made. The head keeps out other
        # ledgers.
        with self._deciding:
            with self._database.writing() as db:
                at = _replay(db, self._at, *head(db, _CHAIN))
                row = db.execute(sql.select(_decisions).where(_decisions.c.request_id == request_id)).first()
                if row is None:
                    _check_version(at.policy, expected_version)
                    row, at = _append(
                        db,
                        at,
                        change(at.policy),
                        request_id=request_id,
                        decide_unix_us=now_unix_us,
                        actor=actor,
                        evidence=json.dumps(evidence, sort_keys=True),
                    )
            # Only now: nothing of a transaction that failed is in force.
            self._at = at
            return _decision(row)

    def decisions(self, workload: str, before_id: int | None, limit: int) -> list[Decision]:
        """Entries, the newest first; those of one workload if it is not empty."""
        query = sql.select(_decisions).order_by(_decisions.c.decision_id.desc()).limit(limit)
        if workload:
            query = query.where(_decisions.c.workload == workload)
        if before_id is not None:
            query = query.where(_decisions.c.decision_id < before_id)
        with self._database.reading() as db:
            return [_decision(row) for row in db.execute(query)]


def _check_version(policy: Policy, expected_version: int) -> None:
    if policy.version != expected_version:
        raise DomainError(
            Reason.POLICY_CHANGED,
            f"the decision rests on policy {expected_version}, the current one is {policy.version};"
            " look at it again",
            expected_version=expected_version,
            current_version=policy.version,
        )


def _append(db: Connection, at: _Replayed, made: Change, **values: Any) -> tuple[Any, _Replayed]:
    policy = apply(at.policy, made)
    entry: dict[str, Any] = {
        **values,
        "decision_id": at.last_id + 1,
        "reason": made.reason,
        "workload": made.workload,
        "before": _row_text(made.before),
        "after": _row_text(made.after),
        "policy_version": policy.version,
    }
    for name in ("actor", "reason", "workload"):
        if "\0" in entry[name]:
            raise invalid_request(name, "text without NUL", "one with it")
    entry["entry_sha256"] = _hash(at.sha256, entry)
    row = db.execute(sql.insert(_decisions).values(entry).returning(_decisions)).one()
    move_head(db, _CHAIN, row.decision_id, row.entry_sha256)
    return row, _Replayed(row.decision_id, row.entry_sha256, policy, row.decide_unix_us)


def _replay(db: Connection, at: _Replayed, head_id: int, head_sha256: bytes) -> _Replayed:
    """What the decisions after `at` make of it, each checked.

    A ledger of a version without heads may have appended past the head: that is the chain too, if the head is
    on it.
    """
    met_head = head_id == at.last_id and head_sha256 == at.sha256
    if not met_head or at.last_id == 0:
        query = sql.select(_decisions).where(_decisions.c.decision_id > at.last_id)
        for row in db.execute(query.order_by(_decisions.c.decision_id)):
            chain = _hash(at.sha256, row._mapping)
            if chain != row.entry_sha256:
                raise BrokenChainError(f"journal entry {row.decision_id} is not what was written")
            at = _Replayed(
                row.decision_id, chain, apply(at.policy, _decision(row).change), row.decide_unix_us
            )
            met_head = met_head or (head_id == at.last_id and head_sha256 == chain)
    if not met_head:
        raise BrokenChainError(
            f"the journal's last entry should be {head_id}, but the chain goes to {at.last_id} without it:"
            " entries were taken away or changed"
        )
    return at


def _hash(before: bytes, entry: Mapping[Any, Any]) -> bytes:
    digest = hashlib.sha256(before)
    for name in _HASHED:
        value = entry[name]
        data = value if isinstance(value, bytes) else str(value).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def _decision(row: Any) -> Decision:
    return Decision(
        decision_id=row.decision_id,
        decide_unix_us=row.decide_unix_us,
        actor=row.actor,
        change=Change(row.workload, _row(row.before), _row(row.after), row.reason),
        evidence=json.loads(row.evidence),
        policy_version=row.policy_version,
        entry_sha256=row.entry_sha256,
    )


def _row_text(row: Row | None) -> str:
    if row is None:
        return ""
    fields = asdict(row)
    # Left out where there is none: such a row reads as it did before there was sampling.
    if fields["sampling"] is None:
        del fields["sampling"]
    return json.dumps(fields, sort_keys=True, default=bytes.hex)


def _row(text: str) -> Row | None:
    if not text:
        return None
    fields = json.loads(text)
    return Row(
        workload=fields["workload"],
        stage=Stage(fields["stage"]),
        sovereign_share_ppm=fields["sovereign_share_ppm"],
        allowed_targets=tuple(Target(item) for item in fields["allowed_targets"]),
        allowed_regions=tuple(fields["allowed_regions"]),
        fallback_allowed=fields["fallback_allowed"],
        sampling=_sampling(fields.get("sampling")),
    )


def _sampling(fields: Mapping[str, Any] | None) -> Sampling | None:
    if fields is None:
        return None
    return Sampling(
        experiment_id=bytes.fromhex(fields["experiment_id"]),
        epoch=fields["epoch"],
        rate_ppm=fields["rate_ppm"],
        salt=bytes.fromhex(fields["salt"]),
        reversed=fields["reversed"],
    )
