"""The SQLite file: its tables, its one lock, and its transactions.

In WAL mode with `synchronous=NORMAL`: a commit survives the death of the process by any signal, since the
operating system has what was written. A power cut may take the last seconds. Those samples are then lost to
shadow, and no model was judged on them.

Texts are overwritten when their sample is finished, or kept as an example no longer (texts.py), and `forget`
cuts the log that still has them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.common.errors import DomainError, Reason
from services.common.settings import SettingsError

CHUNK_BYTES = 4_000
"""Of a text, as in the schema; a row with it fills a page."""
BUSY_MS = 5_000
"""How long a transaction waits for another process on the file, such as a backup."""
FIRST_CHUNKS = 4
"""Chunks of a new file: a table moves its rows while it has less than two pages."""
VERSION = 2
"""Of the tables in the file; a change of them is another version."""
SCHEMA = """
CREATE TABLE experiment (
  experiment_id    BLOB    NOT NULL,
  epoch            INTEGER NOT NULL,
  workload         TEXT    NOT NULL,
  request_id       BLOB    NOT NULL UNIQUE,
  register_unix_us INTEGER NOT NULL,
  content          TEXT    NOT NULL,
  closed_unix_us   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (experiment_id, epoch)
);
CREATE INDEX experiment_workload ON experiment (workload, epoch);
CREATE TABLE sample (
  sample_id       BLOB    PRIMARY KEY,
  experiment_id   BLOB    NOT NULL,
  epoch           INTEGER NOT NULL,
  workload        TEXT    NOT NULL,
  request_unix_us INTEGER NOT NULL,
  cluster         TEXT    NOT NULL,
  stratum         TEXT    NOT NULL,
  reversed        INTEGER NOT NULL,
  started         INTEGER NOT NULL,
  text_place      TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX sample_time ON sample (request_unix_us);
CREATE INDEX sample_window ON sample (experiment_id, epoch, request_unix_us);
CREATE TABLE chunk (
  chunk_id INTEGER PRIMARY KEY,
  data     BLOB NOT NULL
);
CREATE TABLE free_chunk (chunk_id INTEGER PRIMARY KEY);
INSERT INTO chunk VALUES (1, zeroblob(4000));
CREATE TABLE triplet (
  seq                  INTEGER PRIMARY KEY AUTOINCREMENT,
  sample_id            BLOB    NOT NULL,
  lane                 TEXT    NOT NULL,
  experiment_id        BLOB    NOT NULL,
  epoch                INTEGER NOT NULL,
  workload             TEXT    NOT NULL,
  request_unix_us      INTEGER NOT NULL,
  arrival_unix_us      INTEGER,
  cluster              TEXT    NOT NULL,
  stratum              TEXT    NOT NULL,
  sovereign_millionths INTEGER,
  noise_millionths     INTEGER,
  scorer               TEXT    NOT NULL,
  reason               TEXT    NOT NULL,
  language             TEXT    NOT NULL,
  features             TEXT    NOT NULL,
  input_tokens         INTEGER,
  sovereign_leg_id     BLOB    NOT NULL,
  cloud_leg_id         BLOB    NOT NULL,
  noise_leg_id         BLOB    NOT NULL,
  trace_id             TEXT    NOT NULL,
  UNIQUE (sample_id, lane)
);
CREATE INDEX triplet_window ON triplet (experiment_id, epoch, lane, request_unix_us);
CREATE TABLE gone (
  sample_id    BLOB    PRIMARY KEY,
  gone_unix_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE tally (
  experiment_id  BLOB    NOT NULL,
  epoch          INTEGER NOT NULL,
  minute_unix_us INTEGER NOT NULL,
  step           TEXT    NOT NULL,
  reason         TEXT    NOT NULL,
  count          INTEGER NOT NULL,
  seq            INTEGER NOT NULL UNIQUE,
  PRIMARY KEY (experiment_id, epoch, minute_unix_us, step, reason)
) WITHOUT ROWID;
CREATE TABLE ended (
  experiment_id  BLOB    NOT NULL,
  epoch          INTEGER NOT NULL,
  minute_unix_us INTEGER NOT NULL,
  step           TEXT    NOT NULL,
  reason         TEXT    NOT NULL,
  count          INTEGER NOT NULL,
  PRIMARY KEY (experiment_id, epoch, minute_unix_us, step, reason)
) WITHOUT ROWID;
CREATE TABLE router (
  router_id    BLOB    PRIMARY KEY,
  sequence     INTEGER NOT NULL,
  seen_unix_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE state (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;
"""
"""`gone` has the ids of samples that left without a triplet; `tally` counts requests by minute, with
the number of each count's last change; `ended` counts finished samples, so that nobody counts triplets."""
EXAMPLES = """
CREATE TABLE example (
  sample_id             BLOB    PRIMARY KEY,
  experiment_id         BLOB    NOT NULL,
  epoch                 INTEGER NOT NULL,
  workload              TEXT    NOT NULL,
  lane                  TEXT    NOT NULL,
  cluster               TEXT    NOT NULL,
  difference_millionths INTEGER NOT NULL,
  keep_unix_us          INTEGER NOT NULL,
  expire_unix_us        INTEGER NOT NULL,
  texts_sha256          BLOB    NOT NULL,
  text_place            TEXT    NOT NULL,
  delete_unix_us        INTEGER,
  delete_reason         TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX example_epoch ON example (experiment_id, epoch, lane);
CREATE INDEX example_workload ON example (workload, difference_millionths);
"""
"""What version 2 has and version 1 had not. An example whose texts are deleted has no `text_place`."""
_PRIVATE = 0o600


class Tables:
    """The open file."""

    def __init__(self, file: Path) -> None:
        """Opens or makes it.

        Raises:
            SettingsError: it can't be opened, is damaged, or is another version's.
        """
        self._file = file
        self._lock = threading.RLock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Made here, so that nobody else can read it for a moment; SQLite gives its mode to -wal and -shm.
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, _PRIVATE))
            file.chmod(_PRIVATE)
            self._db = sqlite3.connect(
                file, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
            )
        except (OSError, sqlite3.Error) as error:
            raise self._wrong(f"can't be opened ({error})") from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._wrong(f"is no store of Homeward, or is damaged ({error})") from None
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        for pragma in ("page_size=4096", "journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, 1, VERSION):
            raise self._wrong(f"was written by another version of Homeward ({version}, this one: {VERSION})")
        if version == 0:
            nothing = "INSERT INTO chunk SELECT NULL, data FROM chunk LIMIT 1;" * (FIRST_CHUNKS - 1)
            free = "INSERT INTO free_chunk SELECT chunk_id FROM chunk;"
            self._change(f"{SCHEMA} {nothing} {free} {EXAMPLES}")
        elif version == 1:
            self._change(EXAMPLES)

    def _change(self, script: str) -> None:
        done = f"PRAGMA user_version = {VERSION};"
        self._db.executescript(f"BEGIN IMMEDIATE; {script} {done} COMMIT;")

    def _wrong(self, what: str) -> SettingsError:
        return SettingsError(f"{self._file} {what}; see [shadow] state_dir")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise DomainError(
                    Reason.STORAGE_UNAVAILABLE,
                    f"shadow's store fails: {error}",
                    store="shadow",
                    detail=error,
                ) from None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, which is durable when the block ends.

        Raises:
            DomainError: STORAGE_UNAVAILABLE. Nothing was written.
        """
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def get_state(self, name: str) -> bytes | None:
        """A small state that was set by this name; None if there is none."""
        with self._reading() as db:
            row = db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_state(self, name: str, value: bytes) -> None:
        """Sets it for good."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def forget(self) -> bool:
        """Cuts the log, so that what was deleted is in no file any more. Waits for nobody.

        Returns:
            False if somebody reads the file, as a backup does: try again.
        """
        with self._reading() as db:
            db.execute("PRAGMA busy_timeout=0").fetchall()
            try:
                return not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                db.execute(f"PRAGMA busy_timeout={BUSY_MS}").fetchall()

    def close(self) -> None:
        """Closes the file; the log goes with it."""
        with self._lock:
            self._db.close()
