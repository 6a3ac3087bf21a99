"""The journal: an append-only, hash-chained table of decisions, in SQL through SQLAlchemy Core.

The policy is not stored: it is what the decisions add up to. An entry's hash covers the entry before it,
so that nothing in the middle can be changed, added or taken away unseen.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from services.common.errors import DomainError, Reason
from services.common.words import Stage, Target
from services.ledger.core.policy import Change, Policy, Row, apply

_metadata = sql.MetaData()
_decisions = sql.Table(
    "decision",
    _metadata,
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


class BrokenChainError(Exception):
    """An entry's hash is not what its contents give; the message names the entry."""


class Journal:
    """The journal in SQLite. One process writes it."""

    def __init__(self, file: Path) -> None:
        """Opens or makes the file, and checks the chain.

        Raises:
            sqlalchemy.exc.OperationalError: the file can't be opened.
            BrokenChainError: somebody changed it.
        """
        self._engine = sql.create_engine(f"sqlite:///{file}")
        sql.event.listen(self._engine, "connect", _durable)
        _metadata.create_all(self._engine)
        self._deciding = threading.Lock()
        self.policy_unix_us = 0
        """When the policy in force was made, microseconds since the epoch; 0 for none."""
        self.policy = self._replay()

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

        Raises:
            DomainError: POLICY_CHANGED.
        """
        # One at a time: each rests on the policy that the one before has made.
        with self._deciding:
            decision, policy = self._append(
                change, request_id, expected_version, actor, evidence, now_unix_us
            )
            if policy is not None:
                self.policy, self.policy_unix_us = policy, decision.decide_unix_us
            return decision

    def _append(
        self,
        change: Callable[[Policy], Change],
        request_id: bytes,
        expected_version: int,
        actor: str,
        evidence: Mapping[str, Any],
        now_unix_us: int,
    ) -> tuple[Decision, Policy | None]:
        """The decision, and the policy that it made; None if it had been made before."""
        with self._engine.begin() as db:
            known = db.execute(sql.select(_decisions).where(_decisions.c.request_id == request_id)).first()
            if known is not None:
                return _decision(known), None
            if self.policy.version != expected_version:
                raise DomainError(
                    Reason.POLICY_CHANGED,
                    f"the decision rests on policy {expected_version}, the current one is"
                    f" {self.policy.version}; look at it again",
                    expected_version=expected_version,
                    current_version=self.policy.version,
                )
            made = change(self.policy)
            policy = apply(self.policy, made)
            last = db.execute(
                sql.select(_decisions.c.decision_id, _decisions.c.entry_sha256)
                .order_by(_decisions.c.decision_id.desc())
                .limit(1)
            ).first()
            entry: dict[str, Any] = {
                "decision_id": last.decision_id + 1 if last else 1,
                "request_id": request_id,
                "decide_unix_us": now_unix_us,
                "actor": actor,
                "reason": made.reason,
                "workload": made.workload,
                "before": _row_text(made.before),
                "after": _row_text(made.after),
                "evidence": json.dumps(evidence, sort_keys=True),
                "policy_version": policy.version,
            }
            entry["entry_sha256"] = _hash(last.entry_sha256 if last else b"", entry)
            try:
                row = db.execute(sql.insert(_decisions).values(entry).returning(_decisions)).one()
            except IntegrityError as error:
                raise DomainError(
                    Reason.POLICY_CHANGED,
                    "another process has written to the journal; only one ledger may",
                    expected_version=expected_version,
                    current_version="",
                ) from error
            return _decision(row), policy

    def decisions(self, workload: str, before_id: int | None, limit: int) -> list[Decision]:
        """Entries, the newest first; those of one workload if it is not empty."""
        query = sql.select(_decisions).order_by(_decisions.c.decision_id.desc()).limit(limit)
        if workload:
            query = query.where(_decisions.c.workload == workload)
        if before_id is not None:
            query = query.where(_decisions.c.decision_id < before_id)
        with self._engine.connect() as db:
            return [_decision(row) for row in db.execute(query)]

    def close(self) -> None:
        """Closes the file."""
        self._engine.dispose()

    def _replay(self) -> Policy:
        policy, chain = Policy(), b""
        with self._engine.connect() as db:
            for row in db.execute(sql.select(_decisions).order_by(_decisions.c.decision_id)):
                entry = row._mapping
                chain = _hash(chain, dict(entry))
                if chain != row.entry_sha256:
                    raise BrokenChainError(f"journal entry {row.decision_id} is not what was written")
                policy = apply(policy, _decision(row).change)
                self.policy_unix_us = row.decide_unix_us
        return policy


def _durable(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _hash(before: bytes, entry: Mapping[str, Any]) -> bytes:
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
    return "" if row is None else json.dumps(asdict(row), sort_keys=True)


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
    )
