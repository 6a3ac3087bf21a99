"""The newest unnamed requests on disk: discovery reads them, and they outlive a restart.

The newest, not a sample of all time: a proposal is worth something for what applications send now. A thread
of its own writes every second; a kill loses what came since. The file is for its user alone. It can be
deleted at any time: what is lost is a few days' proposals.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.classifier.core.traffic import Sighting, Unnamed, remembered
from services.common.errors import DomainError, Reason
from services.common.fingerprint import Shape
from services.common.settings import SettingsError
from services.common.words import TaskType, word

log = logging.getLogger(__name__)

FILE = "unnamed.sqlite"
WRITE_EVERY_S = 1.0
"""Longest time that a request waits to be written."""
QUEUE_REQUESTS = 1_000
"""Requests that may wait to be written: what the classifier can read in three seconds. More are shed."""
READ_BYTES = 48_000_000
"""Compressed openings that `recent` gives at most, the newest; older requests come without."""

_VERSION = 1
"""Of the tables in the file; a change of them is another version."""
_SCHEMA = """
CREATE TABLE unnamed (
  seq                  INTEGER PRIMARY KEY AUTOINCREMENT,
  request_id           BLOB    NOT NULL,
  time_unix_us         INTEGER NOT NULL,
  key_name             TEXT    NOT NULL,
  digest               BLOB    NOT NULL,
  masked_digest        BLOB    NOT NULL,
  sketch               BLOB    NOT NULL,
  tool_names           TEXT    NOT NULL,
  schema_digest        BLOB    NOT NULL,
  heads                BLOB    NOT NULL,
  tails                BLOB    NOT NULL,
  embedding            BLOB    NOT NULL,
  task_type            INTEGER NOT NULL,
  task_type_confidence REAL    NOT NULL,
  input_chars          INTEGER NOT NULL,
  packed               BLOB    NOT NULL
)
"""
_COLUMNS = """request_id, time_unix_us, key_name, digest, masked_digest, sketch, tool_names, schema_digest,
  heads, tails, embedding, task_type, task_type_confidence, input_chars, packed"""
_COLUMN_COUNT = 15
_PRIVATE = 0o600
_UINT32 = "<u4"


class TrafficStore:
    """The file and the thread that writes it. One process has it at a time."""

    def __init__(self, state_dir: Path, *, max_requests: int, keep_prompts: bool) -> None:
        """Opens or makes the file; a damaged one is begun anew.

        Args:
            state_dir: the folder.
            max_requests: requests that are remembered, the newest.
            keep_prompts: whether their openings are; if not, those kept before are wiped out now.

        Raises:
            SettingsError: the file can't be opened.
        """
        self._file = state_dir / FILE
        self._max_requests = max_requests
        self._keep_prompts = keep_prompts
        self._queue: deque[Sighting] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self.shed = 0
        """Requests that were not remembered because the disk did not keep up, or did not take them."""
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            self._db = self._opened()
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"{self._file}: can't be opened ({error}); see [classifier] state_dir"
            ) from None
        self._thread = threading.Thread(target=self._run, name="unnamed", daemon=True)
        self._thread.start()

    def add(self, sighting: Sighting) -> None:
        """Remembers a request. Never waits."""
        if len(self._queue) >= QUEUE_REQUESTS:
            self._shed(1, "more come than can be written")
            return
        self._queue.append(sighting)
        if len(self._queue) == QUEUE_REQUESTS // 2:
            self._wake.set()

    def recent(self) -> list[Unnamed]:
        """All that is remembered, the newest first. Takes a second; call it in a thread.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        self._write()
        room = READ_BYTES
        shapes: dict[tuple[Any, ...], Shape] = {}
        found = []
        try:
            with self._lock:
                for row in self._db.execute(
                    f"SELECT {_COLUMNS} FROM unnamed ORDER BY seq DESC LIMIT ?",  # noqa: S608
                    (self._max_requests,),
                ):
                    room -= len(row[-1])
                    found.append(_unnamed(row, shapes, with_opening=room >= 0))
        except sqlite3.Error as error:
            raise DomainError(
                Reason.STORAGE_UNAVAILABLE,
                f"{self._file} can't be read ({error}); a classifier that starts begins a damaged one anew",
                store="unnamed requests",
                detail=error,
            ) from None
        return found

    def close(self) -> None:
        """Writes what waits, and closes the file."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._db.close()
        if self.shed:
            log.warning("%d unnamed requests were not remembered", self.shed)

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            log.warning("%s is damaged (%s); unnamed requests are remembered anew", self._file, error)
            for file in self._file.parent.glob(f"{FILE}*"):
                file.unlink()
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        # Made here, so that nobody else can read it for a moment; SQLite gives its mode to -wal and -shm.
        os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, _PRIVATE))
        self._file.chmod(_PRIVATE)
        db = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, timeout=1)
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            # What is deleted is overwritten, so that no prompt stays in the file's free pages.
            db.execute("PRAGMA secure_delete=ON")
            (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found != _VERSION:
                # Another version's requests are not worth a conversion.
                db.executescript(
                    f"BEGIN; DROP TABLE IF EXISTS unnamed; {_SCHEMA}; PRAGMA user_version={_VERSION}; COMMIT;"
                )
            if not self._keep_prompts:
                db.execute("UPDATE unnamed SET packed = x'' WHERE packed != x''")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except BaseException:
            db.close()
            raise
        return db

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(WRITE_EVERY_S)
            self._wake.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            waiting = [self._queue.popleft() for _ in range(len(self._queue))]
            if not waiting:
                return
            try:
                rows = [_row(remembered(item, keep_prompts=self._keep_prompts)) for item in waiting]
                self._db.execute("BEGIN")
                self._db.executemany(
                    f"INSERT INTO unnamed ({_COLUMNS}) VALUES ({', '.join('?' * _COLUMN_COUNT)})",  # noqa: S608
                    rows,
                )
                self._db.execute(
                    "DELETE FROM unnamed WHERE seq <= (SELECT max(seq) FROM unnamed) - ?",
                    (self._max_requests,),
                )
                self._db.execute("COMMIT")
            # Whatever it is, the requests that come after must be written.
            except Exception as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._shed(len(waiting), repr(error))

    def _shed(self, count: int, why: str) -> None:
        if not self.shed:
            log.warning("unnamed requests are not remembered for `homeward inventory discover`: %s", why)
        self.shed += count


def _row(item: Unnamed) -> Sequence[Any]:
    shape = item.shape
    return (
        item.request_id,
        item.time_unix_us,
        item.key_name,
        shape.digest,
        shape.masked_digest,
        np.array(shape.sketch, _UINT32).tobytes(),
        json.dumps(shape.tool_names),
        shape.schema_digest,
        np.array(item.heads, _UINT32).tobytes(),
        np.array(item.tails, _UINT32).tobytes(),
        item.embedding.tobytes(),
        int(item.task_type),
        item.task_type_confidence,
        item.input_chars,
        item.packed,
    )


def _unnamed(row: Sequence[Any], shapes: dict[tuple[Any, ...], Shape], *, with_opening: bool) -> Unnamed:
    parts = tuple(row[3:8])
    if parts not in shapes:
        digest, masked_digest, sketch, tool_names, schema_digest = parts
        shapes[parts] = Shape(
            digest=digest,
            masked_digest=masked_digest,
            sketch=tuple(np.frombuffer(sketch, _UINT32).tolist()),
            tool_names=tuple(json.loads(tool_names)),
            schema_digest=schema_digest,
        )
    return Unnamed(
        request_id=row[0],
        time_unix_us=row[1],
        key_name=row[2],
        shape=shapes[parts],
        heads=tuple(np.frombuffer(row[8], _UINT32).tolist()),
        tails=tuple(np.frombuffer(row[9], _UINT32).tolist()),
        embedding=np.frombuffer(row[10], np.int8),
        task_type=word(TaskType, row[11], TaskType.UNSPECIFIED),
        task_type_confidence=row[12],
        input_chars=row[13],
        packed=row[14] if with_opening else b"",
    )
