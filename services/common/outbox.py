"""A bounded queue on disk: what is put in is durable, and leaves only when its receiver has it.

One SQLite file in WAL mode with one writer. Rows have a unique id, so putting one twice keeps one, and
ids are remembered for a while after their rows have left: that is what makes the ledger's `Record`
idempotent. The router keeps legs here until the ledger has them; the ledger until ClickHouse has them.

For how long is counted in the seconds that go by while the file is open, and kept in it: a clock that
somebody sets, forth or back, makes no id forgotten early.

Rows leave in batches. A batch is sealed under a number before it is first sent and stays the same until
it is acknowledged, through crashes too, so that a receiver can tell a repeated batch by its number.

Not thread-safe: one thread (or one event loop) owns an Outbox.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  id      BLOB    NOT NULL UNIQUE,
  batch   INTEGER,
  payload BLOB
);
CREATE INDEX IF NOT EXISTS item_unsealed ON item (seq) WHERE batch IS NULL;
CREATE INDEX IF NOT EXISTS item_sealed ON item (batch) WHERE batch IS NOT NULL;
CREATE TABLE IF NOT EXISTS known (
  id     BLOB    PRIMARY KEY,
  left_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS known_by_time ON known (left_s);
CREATE TABLE IF NOT EXISTS state (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  outbox_id BLOB NOT NULL,
  last_batch INTEGER NOT NULL,
  elapsed_s INTEGER NOT NULL
);
"""
"""`known` has the ids of rows that have left: in `item` each would hold on to half of a page's room."""

_FROM_1 = """
BEGIN IMMEDIATE;
ALTER TABLE state ADD COLUMN elapsed_s INTEGER NOT NULL DEFAULT 0;
UPDATE state SET elapsed_s = (SELECT coalesce(max(moved_s), 0) FROM item);
CREATE TABLE known (id BLOB PRIMARY KEY, left_s INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO known SELECT id, moved_s FROM item WHERE payload IS NULL ORDER BY id;
DELETE FROM item WHERE payload IS NULL;
DROP INDEX item_sealed;
ALTER TABLE item DROP COLUMN moved_s;
PRAGMA user_version = 2;
COMMIT;
"""
"""Version 1 had ids that had left in `item`, and the time of the clock; counting goes on from there."""

_VERSION = 2
"""Of the tables in the file; a change of them is another version."""

_FORGET_ROWS = 40_000
"""Ids that one acknowledgement may forget at most: twice a batch, so that their number stays bounded."""


class OutboxFullError(Exception):
    """The outbox holds as many rows as it may; nothing of the call was taken."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that leave together."""

    number: int
    """Grows by one with each batch of this outbox."""
    outbox_id: bytes
    """16 bytes that name the outbox: a new file is another outbox."""
    payloads: list[bytes]
    """What was put in, in that order. Never empty."""

    @property
    def token(self) -> str:
        """A name of the batch that no other batch has."""
        return f"{self.outbox_id.hex()}-{self.number}"


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a call of `put`."""

    new: int
    duplicate: int


class Outbox:
    """The queue. Opening an existing file goes on where it stopped."""

    def __init__(self, path: Path, *, max_rows: int, remember_s: int, outbox_id: bytes) -> None:
        """Opens or makes the file.

        Args:
            path: the SQLite file; its folder must exist.
            max_rows: rows that may wait; a `put` that would pass it raises OutboxFullError.
            remember_s: seconds (while the file is open) for which the id of a row that has left still
                counts as a duplicate; 0 forgets it at once.
            outbox_id: 16 random bytes, used only if the file is new.

        Raises:
            sqlite3.OperationalError: the file can't be opened or written, or has another version's tables.
        """
        self._max_rows = max_rows
        self._remember_s = remember_s
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit returns when it is on the disk. Acknowledged means durable.
        self._db.execute("PRAGMA synchronous=FULL")
        self._check_version(path)
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO state VALUES (1, ?, 0, 0)", (outbox_id,))
        row = self._db.execute("SELECT outbox_id, last_batch, elapsed_s FROM state").fetchone()
        self._outbox_id: bytes = row[0]
        self._last_batch: int = row[1]
        self._elapsed_s: int = row[2]
        self._seen_s: int | None = None
        self._waiting: int = self._db.execute("SELECT count(*) FROM item").fetchone()[0]

    @property
    def waiting(self) -> int:
        """Rows that have not left yet."""
        return self._waiting

    def put(self, items: Iterable[tuple[bytes, bytes]], now_s: int) -> Put:
        """Makes (id, payload) pairs durable in one commit.

        Args:
            items: the rows.
            now_s: seconds of a clock that does not jump, as `time.monotonic`, wherever it begins.

        Raises:
            OutboxFullError: they do not fit. None was taken.
            sqlite3.OperationalError: the disk is full or gone. None was taken.
        """
        done = self.put_groups([items], now_s)[0]
        if isinstance(done, OutboxFullError):
            raise done
        return done

    def put_groups(
        self, groups: Iterable[Iterable[tuple[bytes, bytes]]], now_s: int
    ) -> list[Put | OutboxFullError]:
        """Makes groups of (id, payload) pairs durable in one commit; a group is taken whole or not.

        Returns:
            For each group what became of it; OutboxFullError for one that does not fit.

        Raises:
            sqlite3.OperationalError: the disk is full or gone. None was taken.
        """
        done: list[Put | OutboxFullError] = []
        waiting = self._waiting
        self._elapsed(now_s)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for group in groups:
                rows = list(group)
                if waiting + len(rows) > self._max_rows:
                    done.append(OutboxFullError(f"{waiting} rows wait, the limit is {self._max_rows}"))
                    continue
                before = self._db.total_changes
                self._db.executemany(
                    "INSERT OR IGNORE INTO item (id, payload) SELECT ?1, ?2"
                    " WHERE NOT EXISTS (SELECT 1 FROM known WHERE id = ?1)",
                    rows,
                )
                new = self._db.total_changes - before
                waiting += new
                done.append(Put(new=new, duplicate=len(rows) - new))
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._waiting = waiting
        return done

    def next_batch(self, max_rows: int) -> Batch | None:
        """The oldest batch that has not been acknowledged; None if nothing waits.

        The same batch comes again until `acknowledge` is called with its number.
        """
        return self.batch_after(0, max_rows)

    def batch_after(self, number: int, max_rows: int) -> Batch | None:
        """The oldest batch behind one that has not been acknowledged either; None if nothing waits there.

        Args:
            number: of the batch before; 0 for the first.
            max_rows: of a batch that is sealed now, as there is none.
        """
        sealed = self._db.execute("SELECT min(batch) FROM item WHERE batch > ?", (number,)).fetchone()[0]
        if sealed is None:
            sealed = self._seal(max_rows)
            if sealed is None:
                return None
        payloads = [
            row[0]
            for row in self._db.execute(
                "SELECT payload FROM item WHERE batch = ? ORDER BY seq",
                (sealed,),
            )
        ]
        return Batch(number=sealed, outbox_id=self._outbox_id, payloads=payloads)

    def acknowledge(self, number: int, now_s: int) -> None:
        """Lets a batch go: its receiver has it for good. `now_s` is as in `put`."""
        elapsed_s = self._elapsed(now_s)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if self._remember_s:
                self._db.execute(
                    "INSERT INTO known SELECT id, ? FROM item WHERE batch = ? ORDER BY id",
                    (elapsed_s, number),
                )
                self._db.execute(
                    "DELETE FROM known WHERE id IN"
                    " (SELECT id FROM known WHERE left_s < ? ORDER BY left_s LIMIT ?)",
                    (elapsed_s - self._remember_s, _FORGET_ROWS),
                )
                self._db.execute("UPDATE state SET elapsed_s = ?", (elapsed_s,))
            left = self._db.execute("DELETE FROM item WHERE batch = ?", (number,)).rowcount
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._waiting -= left

    def close(self) -> None:
        """Closes the file. What waits is still there."""
        self._db.close()

    def _elapsed(self, now_s: int) -> int:
        """Seconds for which the file has been open, ever."""
        if self._seen_s is not None:
            self._elapsed_s += max(0, now_s - self._seen_s)
        self._seen_s = now_s
        return self._elapsed_s

    def _check_version(self, path: Path) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        used = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 1:
            self._db.executescript(_FROM_1)
            version = _VERSION
        if used and version != _VERSION:
            self._db.close()
            raise sqlite3.OperationalError(
                f"{path} was written by another version of Homeward ({version}, this one reads {_VERSION});"
                " let that version empty it, or move it away"
            )
        self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _seal(self, max_rows: int) -> int | None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            number = self._last_batch + 1
            changed = self._db.execute(
                "UPDATE item SET batch = ? WHERE seq IN (SELECT seq FROM item"
                " WHERE batch IS NULL ORDER BY seq LIMIT ?)",
                (number, max_rows),
            ).rowcount
            if not changed:
                self._db.execute("ROLLBACK")
                return None
            self._db.execute("UPDATE state SET last_batch = ?", (number,))
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._last_batch = number
        return number

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
