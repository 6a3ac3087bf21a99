"""Prepares the embedded ClickHouse server: its configuration, its users, the trace page."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from string import Template

from deploy.local.clickhouse import clickstack
from deploy.local.state import Secrets

HERE = Path(__file__).parent
PACKAGE = HERE / "node_modules" / "@chdb" / "lib-linux-x64-gnu"
LIBRARY = PACKAGE / "libchdb.so"
START_TIMEOUT_S = 30.0


class MissingError(Exception):
    """There is no server to start; the message says how to get one."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A server that is ready to be started."""

    data_dir: Path
    http_port: int
    config_file: Path

    def command(self) -> list[str]:
        """The command line that runs it in the foreground."""
        return [
            *(sys.executable, "-m", "deploy.local.clickhouse.server"),
            *_engine(),
            *("--path", str(self.data_dir), "--http-port", str(self.http_port)),
            *("--config-file", str(self.config_file)),
        ]


def prepare(data_dir: Path, http_port: int, secrets: Secrets) -> Embedded:
    """Writes the configuration below `data_dir`, and copies the pages of ClickStack at the first run.

    Raises:
        MissingError: neither the library nor a `clickhouse` binary is there.
    """
    _engine()
    data_dir = data_dir.resolve()
    pages = data_dir / "user_files"
    pages.mkdir(parents=True, exist_ok=True)
    (data_dir / "log").mkdir(exist_ok=True)
    credentials = json.dumps({"username": "analyst", "password": secrets.analyst_password})
    page = (HERE / "traces.html").read_text().replace('"@credentials@"', credentials)
    (pages / "traces.html").write_text(page)
    edition = pages / clickstack.FOLDER / "edition"
    if not edition.exists() or edition.read_text() != _edition():
        _copy_clickstack(data_dir, secrets, pages)
        edition.write_text(_edition())
    config = _write_config(data_dir, secrets, clickstack.handlers(pages))
    return Embedded(data_dir, http_port, config)


def _engine() -> list[str]:
    binary = shutil.which("clickhouse")
    if binary is not None:
        return ["--binary", binary]
    if LIBRARY.exists():
        return ["--lib", str(LIBRARY)]
    raise MissingError(
        "no ClickHouse: run `make setup`, which installs it from npm,"
        " or set HOMEWARD_CLICKHOUSE_URL to a server of yours"
    )


def _edition() -> str:
    manifest = PACKAGE / "package.json"
    return str(json.loads(manifest.read_text())["version"]) if manifest.exists() else "binary"


def _write_config(data_dir: Path, secrets: Secrets, web_handlers: str) -> Path:
    file = data_dir / "config.xml"
    template = Template((HERE / "config.xml.tmpl").read_text())
    text = template.substitute(
        config_file=file,
        data_dir=data_dir,
        web_handlers=web_handlers,
        # The library's own session is the user `default`; a real server needs no such session.
        default_network="127.0.0.1" if _engine()[0] == "--lib" else "255.255.255.255",
        writer_password_sha256=_sha256(secrets.clickhouse_password),
        analyst_password_sha256=_sha256(secrets.analyst_password),
    )
    file.write_text(text)
    file.chmod(0o600)
    return file


def _copy_clickstack(data_dir: Path, secrets: Secrets, pages: Path) -> None:
    scratch = data_dir / "scratch"
    scratch.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        http_port: int = free.getsockname()[1]
    throwaway = Embedded(scratch, http_port, _write_config(scratch, secrets, ""))
    # The supervisor may have ended this process's copy of standard input; the server needs none.
    process = subprocess.Popen(
        throwaway.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        origin = f"http://127.0.0.1:{http_port}"
        _wait_for_ping(origin, process)
        clickstack.snapshot(origin, pages)
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(scratch, ignore_errors=True)


def _wait_for_ping(origin: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            _, errors = process.communicate()
            raise MissingError(f"ClickHouse does not start: {errors.decode(errors='replace')[-500:]}")
        try:
            with urllib.request.urlopen(f"{origin}/ping", timeout=1) as response:
                if response.read() == b"Ok.\n":
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise MissingError(f"ClickHouse did not start within {START_TIMEOUT_S:g} s")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
