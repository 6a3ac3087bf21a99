"""A real PostgreSQL for tests, from Debian's binaries, and a place for a journal in it or in SQLite.

The server runs once for all tests that ask for it; each place is a schema of its own, which costs a
millisecond.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.ports import free_ports

PASSWORD = "s3cret/for@tests"
"""With signs that an address must escape."""
ESCAPED = "s3cret%2Ffor%40tests"
_START_S = 60.0


def binaries() -> Path | None:
    """Where Debian keeps the newest server's programs; None if none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda file: float(file.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A running server on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        """Makes and starts it; `close` stops it and takes it away."""
        found = binaries()
        assert found is not None
        self._programs = found
        self.port = free_ports(1)[0]
        self._folder = Path(tempfile.mkdtemp(prefix="homeward-postgres-"))
        self._places = count(1)
        # The server refuses to run as root.
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = next(entry for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody"))
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        made = ("-U", "homeward", "--auth=scram-sha-256", f"--pwfile={secret}")
        assert self._run("initdb", *made, "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8").wait() == 0, (
            self.log()
        )
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        # No test cuts the power: what a killed process or server leaves does not need the disk.
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        given = (part for setting in settings for part in ("-c", setting))
        self._process = self._run("postgres", "-p", str(self.port), *given)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, f"PostgreSQL ended:\n{self.log()}"
                assert time.monotonic() < deadline, f"PostgreSQL does not answer:\n{self.log()}"
                time.sleep(0.05)

    def stop(self) -> None:
        """Stops it without waiting for its clients."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_START_S)

    def log(self) -> str:
        """What it has said."""
        return (self._folder / "log").read_text()

    @property
    def url(self) -> str:
        """A journal's address in it."""
        return f"postgresql://homeward:{ESCAPED}@127.0.0.1:{self.port}/postgres"

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of the test's own, which commits each statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="homeward",
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
        )

    def place(self) -> str:
        """The address of a place for one journal, which nobody else has."""
        name = f"place_{next(self._places)}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}?options=-csearch_path%3D{name}"

    def close(self) -> None:
        """Stops it, and takes its files away."""
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, "-D", self._folder / "data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._as_user,
            )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server, shared."""
    if binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def new_journal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Gives the address of an empty place for a journal, each time another: in SQLite, in PostgreSQL."""
    if request.param == "sqlite":
        folder, number = tmp_path_factory.mktemp("journals"), count(1)
        return lambda: f"sqlite:///{folder}/journal_{next(number)}.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return server.place


@pytest.fixture
def database_url(new_journal: Callable[[], str]) -> str:
    """The address of an empty place for a journal."""
    return new_journal()
