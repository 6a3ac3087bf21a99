"""The registrations on disk: append-only, so that the table of workloads is the same after a restart.

A registration has the examples' texts. The workload's owner has handed them in to be its examples, so they
may be kept. The file is for its user alone all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.classifier.core.registration import Submission, workload
from services.classifier.core.registry import Registry, Workload, overlaid
from services.common.errors import DomainError, Reason, invalid_request
from services.common.fingerprint import Shape
from services.common.seen import Seen
from services.common.settings import SettingsError
from services.common.words import QualitySensitivity, TaskType

FILE = "workloads.sqlite"

_VERSION = 1
"""Of the tables in the file; a change of them is another version."""
_SCHEMA = """
CREATE TABLE registration (
  table_version      INTEGER PRIMARY KEY,
  name               TEXT    NOT NULL,
  version            INTEGER NOT NULL,
  request_id         BLOB    NOT NULL UNIQUE,
  registered_unix_us INTEGER NOT NULL,
  held_out_count     INTEGER NOT NULL,
  right_before       INTEGER NOT NULL,
  right_after        INTEGER NOT NULL,
  content            TEXT    NOT NULL,
  content_sha256     BLOB    NOT NULL,
  UNIQUE (name, version)
);
CREATE TABLE settings (
  only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
  table_version INTEGER NOT NULL,
  sha256        BLOB    NOT NULL
);
"""
_COLUMNS = """table_version, name, version, request_id, registered_unix_us, held_out_count, right_before,
  right_after, content, content_sha256"""
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Registration:
    """A workload's registration, and what its caller was told."""

    request_id: bytes
    """16 bytes."""
    submission: Submission
    version: int
    """The workload's."""
    table_version: int
    """The first version of the table that has it."""
    registered_unix_us: int
    """Microseconds since the epoch."""
    held_out_count: int
    right_before: int
    right_after: int

    @property
    def workload(self) -> Workload:
        """The workload as registered."""
        return workload(self.submission, self.version)


class Store:
    """The file. One process has it at a time; its methods may be called from any thread."""

    def __init__(self, state_dir: Path) -> None:
        """Opens or makes the file, and reads it.

        Raises:
            SettingsError: it can't be opened, is damaged, is a newer version's, or another process has it.
        """
        self._file = state_dir / FILE
        self._lock = threading.Lock()
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            # Made here, so that nobody else can read it for a moment; SQLite gives its mode to -wal and -shm.
            os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, _PRIVATE))
            self._file.chmod(_PRIVATE)
            self._db = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, timeout=1)
        except (OSError, sqlite3.Error) as error:
            raise self._wrong(f"can't be opened ({error}); see [classifier] state_dir") from None
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def registry(self, from_settings: Sequence[Workload]) -> Registry:
        """The table of all workloads: the settings', and those registered whose names the settings lack.

        Its version is that of the last registration, and one more after each change of the settings.

        Raises:
            AmbiguousError: two workloads have a fixed part in common.
            DomainError: STORAGE_UNAVAILABLE.
        """
        settings = sorted((asdict(item) for item in from_settings), key=lambda item: str(item["name"]))
        version = self._version_with(hashlib.sha256(_json(settings).encode()).digest())
        rows = self._run(f"SELECT {_COLUMNS} FROM registration ORDER BY version")  # noqa: S608
        latest = {row[1]: row for row in rows}
        registered = (self._registration(row).workload for row in latest.values())
        return Registry(overlaid(from_settings, registered), version)

    def same(self, request_id: bytes, submission: Submission) -> Registration | None:
        """The registration that was made by the same call; None if the call is a new one.

        Raises:
            DomainError: INVALID_REQUEST, if the id came with another submission before; STORAGE_UNAVAILABLE.
        """
        query = f"SELECT {_COLUMNS} FROM registration WHERE request_id = ?"  # noqa: S608
        rows = self._run(query, (request_id,))
        if not rows:
            return None
        known = self._registration(rows[0])
        if known.submission != submission:
            raise invalid_request(
                "request_id",
                "a new one for each registration",
                f"the one of {known.submission.name!r}, version {known.version}",
            )
        return known

    def next_version(self, name: str) -> int:
        """The version that the next registration of the name gets.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        (row,) = self._run("SELECT COALESCE(MAX(version), 0) + 1 FROM registration WHERE name = ?", (name,))
        return int(row[0])

    def append(self, registration: Registration) -> None:
        """Returns when the registration is on the disk.

        Raises:
            DomainError: STORAGE_UNAVAILABLE; nothing was registered.
        """
        content = _content(registration.submission)
        row = (
            registration.table_version,
            registration.submission.name,
            registration.version,
            registration.request_id,
            registration.registered_unix_us,
            registration.held_out_count,
            registration.right_before,
            registration.right_after,
            content,
            hashlib.sha256(content.encode()).digest(),
        )
        self._run(
            f"INSERT INTO registration ({_COLUMNS}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
            row,
        )

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def _open(self) -> None:
        try:
            # Two processes would give out the same versions of different tables.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            # FULL: a commit returns when it is on the disk. Acknowledged means durable.
            self._db.execute("PRAGMA synchronous=FULL")
            (found,) = self._db.execute("PRAGMA user_version").fetchone()
            if found > _VERSION:
                raise self._wrong(
                    f"is of a newer Homeward (version {found}, this one knows {_VERSION}); install that one,"
                    " or set [classifier] state_dir to another folder"
                )
            (sound,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if sound != "ok":
                raise self._damaged(sound)
            if not found:
                self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
            for row in self._db.execute(f"SELECT {_COLUMNS} FROM registration"):  # noqa: S608
                self._registration(row)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise self._wrong("is in use: another classifier has it; stop that one first") from None
            raise self._wrong(f"can't be read ({error})") from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None

    def _registration(self, row: Sequence[Any]) -> Registration:
        content, sha256 = row[8:]
        if hashlib.sha256(str(content).encode()).digest() != sha256:
            raise self._damaged(f"the registration of {row[1]!r}, version {row[2]}, is not what was written")
        return Registration(
            request_id=row[3],
            submission=_submission(content),
            version=row[2],
            table_version=row[0],
            registered_unix_us=row[4],
            held_out_count=row[5],
            right_before=row[6],
            right_after=row[7],
        )

    def _version_with(self, settings_sha256: bytes) -> int:
        """The table's version, which has grown if the settings are not those of the last start."""
        ((last,),) = self._run(
            "SELECT MAX(COALESCE((SELECT MAX(table_version) FROM registration), 0),"
            " COALESCE((SELECT table_version FROM settings), 0))"
        )
        if not self._run("SELECT 1 FROM settings WHERE sha256 = ?", (settings_sha256,)):
            last += 1
            self._run("INSERT OR REPLACE INTO settings VALUES (1, ?, ?)", (last, settings_sha256))
        return int(last)

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise DomainError(
                    Reason.STORAGE_UNAVAILABLE,
                    f"{self._file} can't be read or written ({error}); nothing was registered",
                    store="workloads",
                    detail=error,
                ) from None

    def _damaged(self, detail: object) -> SettingsError:
        return self._wrong(
            f"is damaged ({detail}); put a backup in its place, or move it away and register its workloads"
            " anew"
        )

    def _wrong(self, message: str) -> SettingsError:
        return SettingsError(f"{self._file}: {message}")


def _content(submission: Submission) -> str:
    return _json(asdict(submission))


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=bytes.hex)


def _submission(content: str) -> Submission:
    fields = json.loads(content)
    return Submission(
        name=fields["name"],
        owner=fields["owner"],
        task_type=TaskType(fields["task_type"]),
        data_class=fields["data_class"],
        quality_sensitivity=QualitySensitivity(fields["quality_sensitivity"]),
        description=fields["description"],
        shapes=tuple(map(_shape, fields["shapes"])),
        examples=tuple(map(_seen, fields["examples"])),
    )


def _shape(fields: dict[str, Any]) -> Shape:
    return Shape(
        digest=bytes.fromhex(fields["digest"]),
        masked_digest=bytes.fromhex(fields["masked_digest"]),
        sketch=tuple(fields["sketch"]),
        tool_names=tuple(fields["tool_names"]),
        schema_digest=bytes.fromhex(fields["schema_digest"]),
        template_head=fields["template_head"],
        template_tail=fields["template_tail"],
    )


def _seen(fields: dict[str, Any]) -> Seen:
    return Seen(
        system_prompt=fields["system_prompt"],
        turns=tuple(fields["turns"]),
        tool_names=tuple(fields["tool_names"]),
        response_schema=fields["response_schema"],
        input_chars=fields["input_chars"],
    )
