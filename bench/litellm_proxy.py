"""LiteLLM's proxy as a benchmark subject: installed in a venv of its own, run with one worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.nginx import MODEL
from deploy.local.ports import free_ports

REQUIREMENTS = Path(__file__).with_name("litellm-requirements.txt")
VERSION = re.findall(r"^litellm==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)[0]
"""The newest whose companions are all on PyPI: 1.110.2 asks for a `litellm-proxy` that is not there."""

_MASTER_KEY = "sk-bench-master"
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0

_OFFLINE = {
    # Each of these is otherwise fetched from the internet, some of them at import.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy; `base_url` ends in `/v1`, `start_seconds` is from exec to ready."""

    pid: int
    base_url: str
    key: str
    start_seconds: float


def install(venv: Path) -> Path:
    """Installs the pinned proxy into `venv` unless it is there, and returns its command."""
    command = venv / "bin" / "litellm"
    stamp = venv / "installed-requirements.txt"
    wanted = REQUIREMENTS.read_bytes()
    if command.exists() and stamp.exists() and stamp.read_bytes() == wanted:
        return command
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-qq", "--only-binary=:all:"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)], check=True)
    stamp.write_bytes(wanted)
    return command


@contextmanager
def serve(command: Path, upstream_url: str, cpus: str | None = None) -> Iterator[Proxy]:
    """Runs the proxy before `upstream_url` until the block ends; `cpus` is a taskset list."""
    pin = [] if cpus is None else ["taskset", "-c", cpus]
    with tempfile.TemporaryDirectory(prefix="bench-litellm-") as folder:
        (port,) = free_ports(1)
        config = Path(folder, "config.yaml")
        config.write_text(_config(upstream_url))
        log = Path(folder, "proxy.log")
        began = time.monotonic()
        with log.open("wb") as sink:
            child = subprocess.Popen(
                [
                    *pin,
                    str(command),
                    f"--config={config}",
                    "--host=127.0.0.1",
                    f"--port={port}",
                    "--num_workers=1",
                ],
                # The proxy puts its working directory on sys.path, where this very file would
                # stand in for its modules.
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        try:
            _wait_until_ready(child, port, log)
            took = time.monotonic() - began
            yield Proxy(child.pid, f"http://127.0.0.1:{port}/v1", _MASTER_KEY, took)
        finally:
            child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _environment(folder: str) -> dict[str, str]:
    # Built anew, not inherited: a DATABASE_URL, a REDIS_HOST or a provider's key in the caller's
    # environment would switch features on.
    return {
        "PATH": os.defpath,
        "HOME": folder,
        "LANG": "C.UTF-8",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        **_OFFLINE,
    }


def _config(upstream_url: str) -> str:
    return f"""\
model_list:
  - model_name: {MODEL}
    litellm_params:
      model: openai/{MODEL}
      api_base: {upstream_url}
      api_key: sk-upstream
general_settings:
  master_key: {_MASTER_KEY}
router_settings:
  num_retries: 0
litellm_settings:
  telemetry: false
"""


def _wait_until_ready(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/readiness", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"LiteLLM did not start: {log.read_text(errors='replace')[-4000:]}")
