"""Which legs a shared journal has: a leg is claimed in the transaction of the entry that books it.

A ledger knows by its spool what has come to itself before. What a router has sent to another ledger, which
fell silent before it answered, only the journal can know. A journal in SQLite has one ledger and no claims.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from services.ledger.adapters.journal.database import Database, metadata

CLEAN_AFTER = 20_000
"""Legs that a ledger claims until it lets old claims go: then at most twice as many, so that a clock which
jumps makes few forgotten early."""

_claims = sql.Table(
    "leg_claim",
    metadata,
    sql.Column("leg_id", sql.LargeBinary(16), primary_key=True),
    sql.Column("claim_unix_s", sql.BigInteger, nullable=False, index=True),
)
_NOW_S = sql.cast(sql.func.floor(sql.func.extract("epoch", sql.func.now())), sql.BigInteger)
"""PostgreSQL's clock: one for all ledgers."""


class BookedElsewhereError(Exception):
    """Another ledger has booked a leg since one looked."""


class Claims:
    """The legs that the ledgers on one PostgreSQL have booked. One thread uses it."""

    def __init__(self, database: Database, keep_s: int) -> None:
        """
        Args:
            database: a shared one.
            keep_s: seconds for which a leg is known.
        """
        self._database = database
        self._keep_s = keep_s
        self._claimed = 0

    def taken(self, leg_ids: Collection[bytes]) -> set[bytes]:
        """Those of the legs that are booked.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        query = sql.select(_claims.c.leg_id).where(_claims.c.leg_id == sql.any_(_array(leg_ids)))
        with self._database.reading() as db:
            return {bytes(leg_id) for leg_id in db.execute(query).scalars()}

    def claim(self, db: Connection, leg_ids: Collection[bytes]) -> None:
        """Claims legs in the transaction that books them, which holds the chain's head: so no two do at once.

        Raises:
            BookedElsewhereError: one of them is booked; the transaction must end with it.
        """
        rows = sql.select(sql.func.unnest(_array(leg_ids)), _NOW_S)
        insert = postgresql.insert(_claims).from_select(["leg_id", "claim_unix_s"], rows)
        done = db.execute(insert.on_conflict_do_nothing(), execution_options={"preserve_rowcount": True})
        if done.rowcount != len(leg_ids):
            raise BookedElsewhereError
        self._claimed += len(leg_ids)

    def clean(self) -> None:
        """Lets old claims go, now and then.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        if self._claimed < CLEAN_AFTER:
            return
        old = sql.select(_claims.c.leg_id).where(_claims.c.claim_unix_s < _NOW_S - self._keep_s)
        old = old.order_by(_claims.c.claim_unix_s).limit(2 * self._claimed)
        with self._database.writing() as db:
            # Two ledgers that clean at once take different ones, and never wait for each other in a circle.
            found = old.with_for_update(skip_locked=True)
            db.execute(sql.delete(_claims).where(_claims.c.leg_id.in_(found)))
        self._claimed = 0


def _array(leg_ids: Collection[bytes]) -> sql.BindParameter[Sequence[bytes]]:
    """One parameter, however many there are."""
    given: Sequence[bytes] = list(leg_ids)
    return sql.literal(given, postgresql.ARRAY(sql.LargeBinary))
