"""The examples of disagreement: their texts as long as they may be kept, and their hashes for good.

How many hashes there are is bounded as well: a sample enters the list only if it is worse than one of it,
which of n samples some limit · ln(n) do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from services.shadow.adapters.store.rows import COLUMNS, Example, KeptExample, finished
from services.shadow.adapters.store.tables import Tables
from services.shadow.adapters.store.texts import get_text, put_text, wipe_text
from services.shadow.core.examples import EXPIRED, REPLACED, SETTINGS, Keeping, Standing, admitted

_STANDING = "difference_millionths, sample_id, cluster"
_OWN = 6
"""Columns of an example, before those of its triplet."""


class Examples(Tables):
    """The table of examples."""

    def examples(
        self,
        workload: str,
        epoch: int,
        now_unix_us: int,
        *,
        offset: int,
        limit: int,
        with_deleted: bool,
    ) -> list[KeptExample]:
        """A workload's examples, the lowest D first. Of one whose time is over there is no text.

        Args:
            workload: whose.
            epoch: one of its epochs; 0: all.
            now_unix_us: microseconds since the epoch.
            offset, limit: which of them.
            with_deleted: those without texts too.
        """
        columns = ", ".join(f"triplet.{name}" for name in COLUMNS)
        with self._reading() as db:
            rows = db.execute(
                "SELECT example.keep_unix_us, example.expire_unix_us, example.texts_sha256,"  # noqa: S608
                f" example.delete_unix_us, example.delete_reason, example.text_place, {columns} FROM example"
                " JOIN triplet USING (sample_id, lane) WHERE example.workload = ?1"
                " AND (?2 = 0 OR example.epoch = ?2)"
                " AND (?3 OR (example.text_place != '' AND example.expire_unix_us > ?4))"
                " ORDER BY example.difference_millionths, example.sample_id LIMIT ?5 OFFSET ?6",
                (workload, epoch, with_deleted, now_unix_us, limit, offset),
            ).fetchall()
            return [_kept(db, row, now_unix_us) for row in rows]

    def sweep_examples(self, keeping: Keeping, now_unix_us: int) -> bool:
        """Deletes the texts of those whose time is over, and what the settings keep no more.

        Returns:
            Whether there were any.
        """
        deleted = False
        with self._writing() as db:
            live = db.execute(
                f"SELECT {_STANDING}, workload, experiment_id, epoch, lane, keep_unix_us, expire_unix_us"  # noqa: S608
                " FROM example WHERE text_place != ''"
            ).fetchall()
            staying: dict[tuple[bytes, int, str], list[Standing]] = {}
            for *standing, workload, experiment_id, epoch, lane, kept, expires in live:
                one = Standing(*standing)
                allowed = min(expires, keeping.expires(workload, kept))
                # Of a workload that keeps none nothing stays, whatever the clock says.
                if keeping.days_of(workload) and now_unix_us < allowed:
                    staying.setdefault((experiment_id, epoch, lane), []).append(one)
                    if allowed < expires:
                        db.execute(
                            "UPDATE example SET expire_unix_us = ? WHERE sample_id = ?",
                            (allowed, one.sample_id),
                        )
                    continue
                _delete(db, [one], EXPIRED if now_unix_us >= expires else SETTINGS, now_unix_us)
                deleted = True
            for standings in staying.values():
                over = sorted(standings)[keeping.per_epoch :]
                _delete(db, over, SETTINGS, now_unix_us)
                deleted = deleted or bool(over)
        return deleted


def keep_example(db: sqlite3.Connection, new: Example, limit: int) -> bool:
    """Keeps an example if it is among the worst, in the transaction that is open; one of them then goes.

    Returns:
        Whether texts were deleted.
    """
    rows = db.execute(
        f"SELECT {_STANDING} FROM example WHERE experiment_id = ? AND epoch = ? AND lane = ?"  # noqa: S608
        " AND text_place != ''",
        (new.experiment_id, new.epoch, new.lane),
    ).fetchall()
    keep, out = admitted(new.standing, [Standing(*row) for row in rows], limit)
    if not keep:
        return False
    _delete(db, out, REPLACED, new.keep_unix_us)
    db.execute(
        "INSERT INTO example VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, '')",
        (
            new.standing.sample_id,
            new.experiment_id,
            new.epoch,
            new.workload,
            new.lane,
            new.standing.cluster,
            new.standing.difference_millionths,
            new.keep_unix_us,
            new.expire_unix_us,
            new.texts_sha256,
            put_text(db, new.texts),
        ),
    )
    return bool(out)


def _delete(db: sqlite3.Connection, which: Sequence[Standing], reason: str, now_unix_us: int) -> None:
    for one in which:
        row = db.execute("SELECT text_place FROM example WHERE sample_id = ?", (one.sample_id,)).fetchone()
        wipe_text(db, row[0])
        db.execute(
            "UPDATE example SET text_place = '', delete_unix_us = ?, delete_reason = ? WHERE sample_id = ?",
            (now_unix_us, reason, one.sample_id),
        )


def _kept(db: sqlite3.Connection, row: Sequence[Any], now_unix_us: int) -> KeptExample:
    keep, expire, digest, deleted, reason, place = row[:_OWN]
    texts = get_text(db, place) if place and now_unix_us < expire else None
    if texts is None and not deleted:
        # The sweep comes within seconds.
        deleted, reason = expire, EXPIRED
    return KeptExample(finished(row[_OWN:]), keep, expire, digest, texts, deleted, reason)
