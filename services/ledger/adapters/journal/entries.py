"""The entries: the book as an append-only, hash-chained table, and its postings.

Entries become visible in the order of their ids, without gaps, whichever ledger appends them: so what is
up to an id never changes, but for `confirmed`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from services.ledger.adapters.journal.checking import Checked, check, problem_of
from services.ledger.adapters.journal.database import BrokenChainError, Database, head, move_head
from services.ledger.adapters.journal.rows import (
    CHAIN,
    ENTRIES,
    POSTINGS,
    UNCONFIRMED,
    Entry,
    entry_hash,
    entry_values,
    load,
    posting_values,
)
from services.ledger.core.book import Draft, Kind, UnbalancedError

__all__ = ["Checked", "Entries", "Entry"]


class Entries:
    """The book in the journal. Threads may share it. All methods raise STORAGE_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self, draft: Draft, *, now_unix_us: int, also: Callable[[Connection], None] | None = None
    ) -> Entry:
        """Books a draft, durably.

        Args:
            draft: what to book, as `book.draft` makes it; its `detail` is JSON.
            now_unix_us: microseconds since the epoch.
            also: what else belongs to the transaction of a new entry. If it raises, there is no entry.

        Returns:
            The entry: the one that is there, and nothing else done, if the batch was booked before.

        Raises:
            UnbalancedError: the postings are not those of the lines, or don't add up to zero.
            DomainError: STORAGE_UNAVAILABLE; the entry may be there or not, append it again.
        """
        if (problem := problem_of(draft)) is not None:
            raise UnbalancedError(f"batch {draft.batch}: {problem}")
        with self._database.writing() as db:
            last_id, before = head(db, CHAIN)
            if known := load(db, ENTRIES.c.batch == draft.batch):
                return known[0]
            entry_id = last_id + 1
            values = entry_values(draft, entry_id, now_unix_us)
            sha256 = entry_hash(before, values, draft.postings)
            db.execute(sql.insert(ENTRIES).values(**values, confirmed=False, entry_sha256=sha256))
            if draft.postings:
                db.execute(sql.insert(POSTINGS), posting_values(draft, entry_id))
            move_head(db, CHAIN, entry_id, sha256)
            if also is not None:
                also(db)
        # As it will be read: JSON has lists where a detail may have had tuples.
        kept = replace(draft, detail=json.loads(values["detail"]))
        return Entry(entry_id, now_unix_us, kept, False, sha256)

    def find(self, batch: str) -> Entry | None:
        """The entry of a batch."""
        with self._database.reading() as db:
            found = load(db, ENTRIES.c.batch == batch)
        return found[0] if found else None

    def confirm(self, entry_id: int) -> None:
        """Notes that an entry's rows are in ClickHouse.

        Raises:
            BrokenChainError: there is no such entry.
        """
        with self._database.writing() as db:
            change = sql.update(ENTRIES).where(ENTRIES.c.entry_id == entry_id).values(confirmed=True)
            if not db.execute(change).rowcount:
                raise BrokenChainError(f"entry {entry_id} is not there to be confirmed")

    def unconfirmed(self, kind: Kind) -> list[Entry]:
        """Entries whose rows may not be in ClickHouse yet, the oldest first."""
        with self._database.reading() as db:
            return load(db, sql.and_(UNCONFIRMED, ENTRIES.c.kind == kind.value))

    def whole_up_to(self) -> int:
        """The largest id such that all entries up to it are confirmed; 0 if the first is not."""
        first = sql.select(sql.func.min(ENTRIES.c.entry_id)).where(UNCONFIRMED).scalar_subquery()
        last = sql.select(sql.func.max(ENTRIES.c.entry_id)).scalar_subquery()
        with self._database.reading() as db:
            return int(db.execute(sql.select(sql.func.coalesce(first - 1, last, 0))).scalar_one())

    def read(self, after_id: int, limit: int) -> list[Entry]:
        """At most `limit` entries after an id, ascending."""
        with self._database.reading() as db:
            return load(db, ENTRIES.c.entry_id > after_id, limit)

    def check(self) -> Iterator[Checked]:
        """Goes through the chain: hashes, balance, postings as the lines give them, counts.

        One change to the tables is one problem, and named at the entry that it was made to.
        """
        return check(self._database)
