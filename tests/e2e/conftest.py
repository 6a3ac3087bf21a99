"""`make run` as a user has it, on free ports and in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.places import environment_of, free_places
from tests.support.stack import ROOT
from tests.support.triton import needs_triton

START_S = 180.0
TOUR_S = 660.0
"""The tour gives itself ten minutes on a slow machine; it takes two to five."""


class Run:
    """A running `python -m deploy.local` with homeward.toml as it is, but for its ports."""

    def __init__(self, folder: Path, ports: Mapping[str, int]) -> None:
        address = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        self.folder = folder
        self.environment = {
            **os.environ,
            **environment_of(folder, ports),
            "HOMEWARD_TRITON__HOME__REPLICAS": f'["{address["triton"]}"]',
            # It goes on for minutes after the start; test_migration.py has it.
            "HOMEWARD_LOCAL__MIGRATION": "false",
            "HOMEWARD_UPSTREAMS__CLOUD__BASE_URL": f"http://{address['cloud']}/v1",
        }
        self._lines: list[str] = []
        self._said = threading.Condition()
        self._process: subprocess.Popen[str] | None = None

    @property
    def output(self) -> str:
        """What it has said so far."""
        return "\n".join(self._lines)

    def start(self, **environment: str) -> Run:
        """Starts it, and waits until it has told where everything is, or has ended."""
        self._lines.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local"],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.wait_for("Ctrl-C stops everything", ended=True)
        return self

    def wait_for(self, text: str, *, ended: bool = False, limit_s: float = START_S) -> None:
        """Waits until it says the text; with `ended`, its end will do too."""
        assert self._process is not None
        deadline = time.monotonic() + limit_s
        with self._said:
            while not any(text in line for line in self._lines):
                if self._process.poll() is not None and ended:
                    return
                assert time.monotonic() < deadline, f"never said {text!r}:\n{self.output}"
                self._said.wait(0.2)

    def children(self) -> dict[str, psutil.Process]:
        """The processes of the parts by the name of their module or, for Triton, of its program."""
        assert self._process is not None
        found = psutil.Process(self._process.pid).children(recursive=True)
        names = ("services.router", "services.ledger", "services.classifier", "services.shadow")
        deployed = ("deploy.local.cloud", "deploy.local.clickhouse.server", "deploy.local.collector")
        parts = {}
        for process in found:
            line = " ".join(process.cmdline())
            for name in (*names, *deployed):
                if f" {name} " in f"{line} ":
                    parts[name] = process
            if process.name() == "tritonserver":
                parts["tritonserver"] = process
        return parts

    def rss_bytes(self) -> int:
        """Resident memory of all its processes together."""
        assert self._process is not None
        own = psutil.Process(self._process.pid)
        return sum(process.memory_info().rss for process in (own, *own.children(recursive=True)))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and gives the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def exit_code(self) -> int:
        """Waits for its end."""
        assert self._process is not None
        return self._process.wait(60)

    def endpoints(self) -> dict[str, Any]:
        """The page of endpoints."""
        return dict(json.loads((self.folder / "endpoints.json").read_text()))

    def close(self) -> None:
        """Stops it if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._said:
                self._lines.append(line.rstrip("\n"))
                self._said.notify_all()


def query(run: Run, sql: str) -> str:
    """The answer of ClickHouse to the analysts' user."""
    here = run.endpoints()
    request = urllib.request.Request(
        here["clickhouse_url"],
        data=sql.encode(),
        headers={
            "X-ClickHouse-User": here["clickhouse_user"],
            "X-ClickHouse-Key": here["clickhouse_password"],
        },
    )
    with urllib.request.urlopen(request) as response:
        return str(response.read().decode().rstrip("\n"))


@pytest.fixture
def stopped_run(tmp_path: Path) -> Iterator[Run]:
    """A run that the test starts."""
    needs_triton()
    run = Run(tmp_path / "state", free_places())
    yield run
    run.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run that has started, shared by the tests of a file."""
    needs_triton()
    run = Run(tmp_path_factory.mktemp("run") / "state", free_places()).start()
    yield run
    run.close()


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run whose tour has come to its end."""
    needs_triton()
    run = Run(tmp_path_factory.mktemp("migration") / "state", free_places())
    run.start(HOMEWARD_LOCAL__MIGRATION="true")
    run.wait_for("Triton has loaded the good small-llama again", limit_s=TOUR_S)
    yield run
    run.close()
