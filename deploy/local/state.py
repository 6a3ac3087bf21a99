"""What outlives a run: `.homeward/` with its lock, its secrets, and the page of endpoints."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

API_KEY_PREFIX = "hw-"
"""What API keys begin with, so that a leaked one is recognised."""


class InUseError(Exception):
    """Another run has the folder; the message says which."""


def _made() -> str:
    return API_KEY_PREFIX + secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made at the first run, kept in a file that only its owner can read."""

    api_key: str
    clickhouse_password: str
    """Of the user that writes."""
    analyst_password: str
    """Of the user that reads."""
    shadow_key: str = field(default_factory=_made)
    """The API key with which shadow asks for its legs. Files of earlier versions lack it."""

    @property
    def api_key_sha256(self) -> str:
        """What the settings have of the API key."""
        return hashlib.sha256(self.api_key.encode()).hexdigest()

    @property
    def shadow_key_sha256(self) -> str:
        """What the settings have of shadow's key."""
        return hashlib.sha256(self.shadow_key.encode()).hexdigest()


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
        """The secrets, made now if this is the first run; what an earlier version's file lacks is added."""
        file = self.folder / "secrets.json"
        if file.exists():
            known = json.loads(file.read_text())
            kept = Secrets(**known)
        else:
            known = {}
            kept = Secrets(
                api_key=_made(),
                clickhouse_password=secrets.token_urlsafe(24),
                analyst_password=secrets.token_urlsafe(24),
            )
        if asdict(kept) != known:
            write_private(file, json.dumps(asdict(kept), indent=2) + "\n")
        return kept

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
