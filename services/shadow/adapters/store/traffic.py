"""What routers report, and the funnel that it makes with what became of the samples."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from services.shadow.adapters.store.rows import Count, Finished
from services.shadow.adapters.store.tables import Tables
from services.shadow.core.funnel import SCORED, Funnel, counted, outcome

MINUTE_US = 60 * 10**6
DAY_US = 86_400 * 10**6


class Traffic(Tables):
    """The tables of counts."""

    def add_traffic(
        self, router_id: bytes, sequence: int, samplings: Iterable[Count], now_unix_us: int
    ) -> bool:
        """Adds a router's report.

        Args:
            router_id: 16 bytes.
            sequence: a router sends its reports one after the other, and each until it is taken.
            samplings: what it counted since its last report.
            now_unix_us: microseconds since the epoch.

        Returns:
            False if it is known: nothing was added.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        with self._writing() as db:
            row = db.execute("SELECT sequence FROM router WHERE router_id = ?", (router_id,)).fetchone()
            if row is not None and sequence <= row[0]:
                return False
            # A router that has not reported for a day has another id when it comes back.
            db.execute("DELETE FROM router WHERE seen_unix_us < ?", (now_unix_us - DAY_US,))
            db.execute("INSERT OR REPLACE INTO router VALUES (?, ?, ?)", (router_id, sequence, now_unix_us))
            for item in samplings:
                tally(db, item)
        return True

    def counts(self, since_seq: int, limit: int) -> list[tuple[int, Count]]:
        """The counts that changed after a number, each as it is now and with the number of its last change.

        Args:
            since_seq: the last number that is known; 0 for all.
            limit: how many at most.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT seq, experiment_id, epoch, minute_unix_us, step, reason, count FROM tally"
                " WHERE seq > ? ORDER BY seq LIMIT ?",
                (since_seq, limit),
            ).fetchall()
        return [(row[0], Count(*row[1:])) for row in rows]

    def funnel(self, experiment_id: bytes, epoch: int, since_unix_us: int = 0) -> Funnel:
        """How far the requests of an epoch came that were asked since a time.

        What is counted has the time of its minute, so `since_unix_us` should begin one.
        """
        counts: list[tuple[str, str, int]] = []
        with self._reading() as db:
            for table in ("tally", "ended"):
                counts += db.execute(
                    f"SELECT step, reason, sum(count) FROM {table} WHERE experiment_id = ? AND epoch = ?"  # noqa: S608
                    " AND minute_unix_us >= ? GROUP BY step, reason",
                    (experiment_id, epoch, since_unix_us),
                ).fetchall()
        return counted(counts)


def tally(db: sqlite3.Connection, item: Count) -> None:
    """Adds a count, in the transaction that is open."""
    db.execute(
        "INSERT INTO tally SELECT ?, ?, ?, ?, ?, ?, coalesce(max(seq), 0) + 1 FROM tally WHERE true"
        " ON CONFLICT (experiment_id, epoch, minute_unix_us, step, reason)"
        " DO UPDATE SET count = count + excluded.count, seq = excluded.seq",
        (item.experiment_id, item.epoch, item.minute_unix_us, item.step, item.reason, item.count),
    )


def ended(db: sqlite3.Connection, row: Finished) -> None:
    """Counts a finished sample, in the transaction that is open."""
    step = outcome(row.arrival_unix_us, row.sovereign_millionths, row.noise_millionths)
    reason = "" if step == SCORED else row.reason
    minute = row.request_unix_us // MINUTE_US * MINUTE_US
    db.execute(
        "INSERT INTO ended VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
        (row.experiment_id, row.epoch, minute, step, reason),
    )
