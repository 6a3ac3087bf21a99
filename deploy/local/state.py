"""What outlives a run: `.homeward/` with its lock, its secrets, and the page of endpoints."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

API_KEY_PREFIX = "hw-"
"""What API keys begin with, so that a leaked one is recognised."""


class InUseError(Exception):
    """Another run has the folder; the message says which."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made at the first run, kept in a file that only its owner can read."""

    api_key: str
    clickhouse_password: str
    """Of the user that writes."""
    analyst_password: str
    """Of the user that reads."""

    @property
    def api_key_sha256(self) -> str:
        """What the settings have of the API key."""
        return hashlib.sha256(self.api_key.encode()).hexdigest()


class State:
    """The folder. Open it once a run."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder if need be, and takes its lock.

        Raises:
            InUseError: another run has it.
        """
        self.folder = folder
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (folder / "run.lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            pid = self._lock.read().strip()
            raise InUseError(f"another `make run` (process {pid}) uses {folder}; stop it first") from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.folder / "logs" / f"{part}.log"

    def secrets(self) -> Secrets:
        """The secrets, made now if this is the first run."""
        file = self.folder / "secrets.json"
        if not file.exists():
            made = Secrets(
                api_key=API_KEY_PREFIX + secrets.token_urlsafe(24),
                clickhouse_password=secrets.token_urlsafe(24),
                analyst_password=secrets.token_urlsafe(24),
            )
            write_private(file, json.dumps(asdict(made), indent=2) + "\n")
        return Secrets(**json.loads(file.read_text()))

    def write_endpoints(self, endpoints: Mapping[str, str]) -> Path:
        """Writes `endpoints.json`: where everything is, for programs."""
        file = self.folder / "endpoints.json"
        write_private(file, json.dumps(endpoints, indent=2) + "\n")
        return file

    def close(self) -> None:
        """Takes the page of endpoints away, which no longer holds, and gives the lock back."""
        (self.folder / "endpoints.json").unlink(missing_ok=True)
        self._lock.close()


def write_private(file: Path, text: str) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    os.replace(fresh, file)
