"""The samples and what becomes of each: a triplet, or a loss that is counted. Never both, never twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from services.common.errors import DomainError, Reason
from services.shadow.adapters.store.examples import keep_example
from services.shadow.adapters.store.rows import (
    COLUMNS,
    Count,
    Example,
    Finished,
    Sample,
    finished,
    fraction,
    values,
)
from services.shadow.adapters.store.tables import Tables
from services.shadow.adapters.store.texts import get_text, put_text, wipe_text
from services.shadow.adapters.store.traffic import DAY_US, MINUTE_US, ended, tally
from services.shadow.core.funnel import LOST
from services.shadow.core.lanes import CONTROLS
from services.shadow.core.triplets import Triplet

_SAMPLE = """SELECT sample_id, experiment_id, epoch, workload, request_unix_us, cluster, stratum, text_place,
  reversed, started FROM sample"""
_TRIPLET = """request_unix_us, arrival_unix_us, cluster, stratum, epoch, sovereign_millionths,
  noise_millionths"""
_FINISHED = ", ".join(COLUMNS)
_INSERT = f"INSERT INTO triplet ({_FINISHED}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
SHIPPED_AT_ONCE = 1_000
"""Rows of one read at most."""
RETRY_AFTER_S = 5
"""What a caller without room is told: a few legs' time."""


Outcome: TypeAlias = Sequence[Finished] | str
"""Triplets, or why a sample is lost."""


class Samples(Tables):
    """The tables of samples and triplets."""

    max_samples = 100_000
    refused = 0
    """Samples that found no room, since the start. Routers count them too, as shed."""

    def take(self, sample: Sample, now_unix_us: int = 0) -> bool:
        """Makes a sample durable. One of a window that has closed is lost at once, and counted.

        Args:
            sample: not started.
            now_unix_us: for how long the id of a lost sample is remembered.

        Returns:
            False if it was taken before, finished or not.

        Raises:
            DomainError: QUEUE_FULL, STORAGE_UNAVAILABLE, or EXPERIMENT_NOT_FOUND.
        """
        with self._writing() as db:
            if _known(db, sample.sample_id):
                return False
            row = db.execute(
                "SELECT closed_unix_us FROM experiment WHERE experiment_id = ? AND epoch = ?",
                (sample.experiment_id, sample.epoch),
            ).fetchone()
            if row is None:
                name = sample.experiment_id.hex()
                raise DomainError(
                    Reason.EXPERIMENT_NOT_FOUND,
                    f"epoch {sample.epoch} of experiment {name!r} is not registered",
                    experiment_id=name,
                )
            if sample.request_unix_us < row[0]:
                _gone(db, sample, LOST, "late", now_unix_us)
                return True
            if _waiting(db) >= self.max_samples:
                self.refused += 1
                raise DomainError(
                    Reason.QUEUE_FULL,
                    f"{self.max_samples:,} samples wait; see [shadow] samples",
                    queue="samples",
                    limit=self.max_samples,
                    retry_after_s=RETRY_AFTER_S,
                )
            db.execute(
                "INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    sample.sample_id,
                    sample.experiment_id,
                    sample.epoch,
                    sample.workload,
                    sample.request_unix_us,
                    sample.cluster,
                    sample.stratum,
                    sample.reversed,
                    sample.started,
                    put_text(db, sample.payload),
                ),
            )
        return True

    def pass_over(self, sample: Sample, step: str, reason: str, now_unix_us: int) -> bool:
        """Counts a sample that has no vote and is not taken, as one from before the experiment's start.

        Returns:
            False if it is known: it was counted before.
        """
        with self._writing() as db:
            if _known(db, sample.sample_id):
                return False
            _gone(db, sample, step, reason, now_unix_us)
        return True

    def pending(self, limit: int, without: Iterable[bytes] = (), held: Iterable[str] = ()) -> list[Sample]:
        """The samples that are not finished, oldest first.

        Args:
            limit: how many at most.
            without: ids that are left out: those in hand.
            held: workloads that are left out.
        """
        ids, workloads = list(without), list(held)
        with self._reading() as db:
            rows = db.execute(
                f"{_SAMPLE} WHERE sample_id NOT IN ({_marks(ids)}) AND workload NOT IN ({_marks(workloads)})"
                " ORDER BY request_unix_us, sample_id LIMIT ?",
                (*ids, *workloads, limit),
            ).fetchall()
            return [_sample(db, row) for row in rows]

    def waiting(self) -> int:
        """How many samples are not finished."""
        with self._reading() as db:
            return _waiting(db)

    def start(self, sample_ids: Iterable[bytes]) -> None:
        """Notes that models are asked from now on: what is not finished when its window closes failed."""
        self._set_started(sample_ids, started=True)

    def unstart(self, sample_ids: Iterable[bytes]) -> None:
        """Takes it back: no model was reached."""
        self._set_started(sample_ids, started=False)

    def finish(
        self,
        sample_id: bytes,
        rows: Sequence[Finished],
        example: Example | None = None,
        examples: int = 0,
    ) -> bool:
        """Puts the triplets of a sample in the place of its text, in one transaction.

        Args:
            sample_id: of one that waits.
            rows: its triplets.
            example: what of its texts shall be kept, if it is among the worst of its epoch and lane.
            examples: how many of these are kept.

        Returns:
            False if the sample is not waiting (any more): nothing was done.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        with self._writing() as db:
            if not _leave(db, sample_id):
                return False
            _insert(db, rows)
            if example is not None:
                keep_example(db, example, examples)
        return True

    def lose(self, sample_id: bytes, reason: str, now_unix_us: int) -> bool:
        """Gives a sample up that no model was judged on: it is counted, and is no vote.

        Returns:
            False if the sample is not waiting (any more): nothing was done.
        """
        with self._writing() as db:
            row = db.execute(f"{_SAMPLE} WHERE sample_id = ?", (sample_id,)).fetchone()
            if row is None:
                return False
            sample = _sample(db, row)
            _leave(db, sample_id)
            _gone(db, sample, LOST, reason, now_unix_us)
        return True

    def close_windows(
        self,
        experiment_id: bytes,
        epoch: int,
        before_unix_us: int,
        outcome: Callable[[Sample], Outcome],
        now_unix_us: int,
    ) -> list[bytes]:
        """Closes the windows of all requests before a time, for good, in one transaction.

        Args:
            experiment_id: whose.
            epoch: whose.
            before_unix_us: the end of the last window that closes.
            outcome: what becomes of a sample of theirs that is not finished.
            now_unix_us: microseconds since the epoch.

        Returns:
            The ids of those samples.
        """
        with self._writing() as db:
            updated = db.execute(
                "UPDATE experiment SET closed_unix_us = ?1 WHERE experiment_id = ?2 AND epoch = ?3"
                " AND closed_unix_us < ?1",
                (before_unix_us, experiment_id, epoch),
            ).rowcount
            if not updated:
                return []
            found = db.execute(
                f"{_SAMPLE} WHERE experiment_id = ? AND epoch = ? AND request_unix_us < ?",
                (experiment_id, epoch, before_unix_us),
            ).fetchall()
            for row in found:
                sample = _sample(db, row)
                _leave(db, sample.sample_id)
                became = outcome(sample)
                if isinstance(became, str):
                    _gone(db, sample, LOST, became, now_unix_us)
                else:
                    _insert(db, became)
            db.execute("DELETE FROM gone WHERE gone_unix_us < ?", (now_unix_us - DAY_US,))
        return [row[0] for row in found]

    def triplets(
        self,
        experiment_id: bytes,
        epoch: int,
        lane: str = "",
        since_unix_us: int = 0,
        before_unix_us: int | None = None,
    ) -> list[Triplet]:
        """The triplets of a lane, by the time of their requests; of a stretch of time, if one is given."""
        before = before_unix_us if before_unix_us is not None else 2**63 - 1
        with self._reading() as db:
            rows = db.execute(
                f"SELECT {_TRIPLET} FROM triplet WHERE experiment_id = ? AND epoch = ? AND lane = ?"  # noqa: S608
                " AND request_unix_us >= ? AND request_unix_us < ? ORDER BY request_unix_us, seq",
                (experiment_id, epoch, lane, since_unix_us, before),
            ).fetchall()
        return [Triplet(*row[:5], *map(fraction, row[5:])) for row in rows]

    def finished(
        self, experiment_id: bytes, epoch: int, lane: str, since_rowid: int, limit: int = SHIPPED_AT_ONCE
    ) -> list[tuple[int, Finished]]:
        """The triplets of a lane in the order in which they were finished, each with its number.

        Args:
            experiment_id, epoch, lane: whose.
            since_rowid: the last number that is known; 0 for all.
            limit: how many at most.
        """
        return self._numbered(
            "experiment_id = ? AND epoch = ? AND lane = ? AND seq > ?",
            (experiment_id, epoch, lane, since_rowid, limit),
        )

    def all_finished(self, since_rowid: int, limit: int = SHIPPED_AT_ONCE) -> list[tuple[int, Finished]]:
        """As `finished`, of all lanes of all experiments."""
        return self._numbered("seq > ?", (since_rowid, limit))

    def _numbered(self, where: str, values: tuple[object, ...]) -> list[tuple[int, Finished]]:
        with self._reading() as db:
            rows = db.execute(
                f"SELECT seq, {_FINISHED} FROM triplet WHERE {where} ORDER BY seq LIMIT ?",  # noqa: S608
                values,
            ).fetchall()
        return [(row[0], finished(row[1:])) for row in rows]

    def _set_started(self, sample_ids: Iterable[bytes], *, started: bool) -> None:
        with self._writing() as db:
            db.executemany(
                "UPDATE sample SET started = ? WHERE sample_id = ?", [(started, item) for item in sample_ids]
            )


def _known(db: sqlite3.Connection, sample_id: bytes) -> bool:
    return any(
        db.execute(f"SELECT 1 FROM {table} WHERE sample_id = ? LIMIT 1", (sample_id,)).fetchone()  # noqa: S608
        for table in ("sample", "gone", "triplet")
    )


def _waiting(db: sqlite3.Connection) -> int:
    # Over an index of 30 bytes a row: 2 ms for 100,000.
    count: int = db.execute("SELECT count(*) FROM sample").fetchone()[0]
    return count


def _leave(db: sqlite3.Connection, sample_id: bytes) -> bool:
    row = db.execute("SELECT text_place FROM sample WHERE sample_id = ?", (sample_id,)).fetchone()
    if row is None:
        return False
    wipe_text(db, row[0])
    db.execute("DELETE FROM sample WHERE sample_id = ?", (sample_id,))
    return True


def _gone(db: sqlite3.Connection, sample: Sample, step: str, reason: str, now_unix_us: int) -> None:
    db.execute("INSERT INTO gone VALUES (?, ?)", (sample.sample_id, now_unix_us))
    minute = sample.request_unix_us // MINUTE_US * MINUTE_US
    tally(db, Count(sample.experiment_id, sample.epoch, minute, step, reason, 1))


def _insert(db: sqlite3.Connection, rows: Sequence[Finished]) -> None:
    for item in rows:
        db.execute(_INSERT, values(item))
        if item.lane not in CONTROLS:
            ended(db, item)


def _sample(db: sqlite3.Connection, row: Sequence[Any]) -> Sample:
    made = list(row)
    made[7] = get_text(db, row[7])
    made[8:] = map(bool, row[8:])
    return Sample(*made)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
