"""Homeward as a benchmark subject: the real stack with everything on, before a given upstream."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import SYSTEM_PROMPT
from bench.nginx import MODEL
from deploy.local.config import load_local
from deploy.local.parts import build
from deploy.local.state import Secrets
from deploy.local.supervisor import Supervisor
from tests.support.places import PLACES, free_places

_SECRETS = Secrets(api_key="hw-bench", clickhouse_password="bench-writer", analyst_password="bench-reader")

_SETTINGS = (
    PLACES
    + """
[telemetry]
sample_ratio = {sample_ratio}
[upstreams.cloud]
base_url = "{upstream}"
api_key = "sk-upstream"
models = ["{model}"]
[keys.demo]
requests_per_minute = 1000000000
tokens_per_minute = 1000000000000
[keys.shadow]
scopes = ["experiments"]
[workloads.bench]
owner = "bench"
task_type = "context_qa"
system_prompts = ["{system_prompt}"]
"""
)


@dataclass(frozen=True, slots=True)
class Running:
    """A running stack; `base_url` ends in `/v1`."""

    base_url: str
    key: str
    router_pid: int
    """The router's process: what the hot path costs."""
    pids: dict[str, int]
    """Every part's process by its name."""
    clickhouse_url: str
    analyst_password: str


@asynccontextmanager
async def serve(
    upstream_url: str,
    *,
    sample_ratio: float = 1.0,
    extra_settings: str = "",
    router_cpus: str | None = None,
    other_cpus: str | None = None,
) -> AsyncIterator[Running]:
    """Runs the stack until the block ends: keys with limits, naming by fingerprint, the policy, the book
    in ClickHouse, and `sample_ratio` of the requests traced. `extra_settings` is TOML; `…_cpus` are
    taskset lists."""
    ports = free_places()
    with tempfile.TemporaryDirectory(prefix="bench-homeward-") as folder:
        file = Path(folder, "homeward.toml")
        settings = {"upstream": upstream_url, "model": MODEL, "system_prompt": SYSTEM_PROMPT}
        text = _SETTINGS.format(folder=folder, sample_ratio=sample_ratio, **settings, **ports)
        file.write_text(text + extra_settings)
        environment = {**os.environ, "HOMEWARD_KEYS__DEMO__SHA256": _SECRETS.api_key_sha256}
        config = load_local(file, environment)
        parts = [
            part.pinned(router_cpus if part.name == "router" else other_cpus)
            for part in await asyncio.to_thread(build, config, _SECRETS, file, Path(folder), None)
            if part.name != "stand-in-cloud"
        ]
        supervisor = Supervisor(parts, lambda name: Path(folder, f"{name}.log"), lambda _: None)
        try:
            await supervisor.start()
            pids = supervisor.pids()
            yield Running(
                base_url=f"http://127.0.0.1:{ports['http']}/v1",
                key=_SECRETS.api_key,
                router_pid=pids["router"],
                pids=pids,
                clickhouse_url=f"http://127.0.0.1:{ports['clickhouse']}",
                analyst_password=_SECRETS.analyst_password,
            )
        finally:
            await supervisor.stop()
