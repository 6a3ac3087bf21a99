"""The real stack for tests: real processes on free ports, in a folder of the test's own.

Parts are those of `make run` (`deploy.local.parts`). A test may kill, stop and start each by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import get_pool_manager

from deploy.local.config import load_local
from deploy.local.parts import Part, build
from deploy.local.state import Secrets
from services.ledger.adapters.clickhouse import MIGRATIONS
from tests.support.places import PLACES, free_places
from tests.support.triton import needs_triton

ROOT = Path(__file__).parents[2]
SECRETS = Secrets(
    api_key="hw-test-demo",
    clickhouse_password="writer-test",
    analyst_password="analyst-test",
    shadow_key="hw-test-shadow",
)
WAIT_S = 60.0
"""How long a condition may take to come true; none of ours takes a tenth of it on a machine of its own."""

SETTINGS = (
    PLACES
    + """
[timeouts]
connect_s = 2
first_token_s = 3
silence_s = 2
answer_s = 5
retry_base_s = 0.02
breaker_cooldown_s = 1

[upstreams.cloud]
base_url = "http://127.0.0.1:{cloud}/v1"
api_key = "sk-upstream-secret"
provider = "homeward-stand-in"
region = "eu"
models = ["stand-in-*"]

[keys.shadow]
scopes = ["experiments"]

[models."gpt-4o-mini"]
routes = [{{ upstream = "cloud", model = "stand-in-mini" }}]

[[prices]]
provider = "homeward-stand-in"
model = "stand-in-mini"
input_usd_per_mtok = 0.15
cached_input_usd_per_mtok = 0.075
output_usd_per_mtok = 0.60

[workloads.ticket-triage]
owner = "care"
task_type = "classification"
system_prompts = ["You triage tickets."]

[workloads.summaries]
owner = "editors"
task_type = "summarization"
"""
)

DEMO_KEY = """
[keys.demo]
scopes = ["approvals"]
"""
"""Settings of the demo key, unless `extra_settings` has others."""

HOME = """
[upstreams.home]
target = "sovereign"
protocol = "triton"
provider = "homeward-home"
region = "eu"
models = ["small-llama", "small-llama-degraded"]

[triton.home]
replicas = ["127.0.0.1:{triton}"]
model_dir = "models/small-llama"
versions = {{ small-llama = "1", small-llama-degraded = "2" }}
"""
"""Settings of a model at home, for `extra_settings`: with them, Triton and the collector are parts too."""


class Stack:
    """One stack. Use as an async context manager."""

    def __init__(self, folder: Path, extra_settings: str = "", **environment: str) -> None:
        """`extra_settings` is TOML that is added to the settings; `environment` is added to the parts'."""
        self.folder = folder
        self.ports = free_places()
        self.settings_file = folder / "homeward.toml"
        settings = SETTINGS.format(folder=folder, **self.ports)
        if extra_settings.startswith(HOME):
            needs_triton()
            extra_settings = HOME.format(**self.ports) + extra_settings.removeprefix(HOME)
        if "[keys.demo]" not in extra_settings:
            extra_settings += DEMO_KEY
        self.settings_file.write_text(settings + extra_settings)
        self._environment = environment
        self.parts: dict[str, Part] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    @property
    def base_url(self) -> str:
        """Of the OpenAI-compatible door, with /v1."""
        return f"http://127.0.0.1:{self.ports['http']}/v1"

    @property
    def grpc(self) -> str:
        """Of the router's gRPC door."""
        return f"127.0.0.1:{self.ports['grpc']}"

    @property
    def cloud(self) -> str:
        """Of the stand-in cloud, without /v1."""
        return f"http://127.0.0.1:{self.ports['cloud']}"

    async def start(self, *names: str) -> None:
        """Starts the named parts, or all, and waits until each is well."""
        if not self.parts:
            config = load_local(self.settings_file, {**os.environ, **self._environment})
            built = await asyncio.to_thread(build, config, SECRETS, self.settings_file, self.folder, None)
            self.parts = {part.name: part for part in built}
        for name in names or self.parts:
            await self._start(self.parts[name])

    async def has_tables(self) -> None:
        """Waits until the ledger, which must have been started, has made all tables."""
        last = max(file.stem for file in MIGRATIONS.glob("[0-9]*.sql"))

        async def migrated() -> bool:
            return f"migrated: {last}" in self.log("ledger")

        await until(migrated, "the tables are there")

    async def _start(self, part: Part) -> None:
        command = list(part.command)
        if part.name == "stand-in-cloud":
            command += ["--latency-scale", "0"]
        with (self.folder / f"{part.name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=ROOT,
                env={**part.environment, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes[part.name] = process

        async def well() -> bool:
            assert process.returncode is None, f"{part.name} ended: {self.log(part.name)[-2000:]}"
            return await part.probe()

        await until(well, f"{part.name} is well")

    def pid(self, name: str) -> int:
        """The process id of a running part."""
        return self._processes[name].pid

    async def kill(self, name: str) -> None:
        """kill -9, and waits until it is gone."""
        process = self._processes.pop(name)
        process.kill()
        await process.wait()

    async def stop(self, *names: str) -> dict[str, int | None]:
        """SIGTERM to the named parts, or to all in the order of `make run`; gives their exit codes."""
        codes: dict[str, int | None] = {}
        for name in names or tuple(reversed(self.parts)):
            process = self._processes.pop(name, None)
            if process is None or process.returncode is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), WAIT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
            codes[name] = process.returncode
        return codes

    def log(self, name: str) -> str:
        """What a part has logged."""
        return (self.folder / f"{name}.log").read_text()

    @contextmanager
    def clickhouse(self) -> Iterator[Client]:
        """A client of the analysts' user, and of its own connections: ClickHouse's stop waits for those that
        a shared pool keeps."""
        pool = get_pool_manager()
        client = clickhouse_connect.get_client(
            pool_mgr=pool,
            host="127.0.0.1",
            port=self.ports["clickhouse"],
            username="analyst",
            password=SECRETS.analyst_password,
        )
        try:
            yield client
        finally:
            client.close()
            pool.clear()

    async def query(self, sql: str) -> list[Sequence[Any]]:
        """The rows of a query."""

        def run() -> list[Sequence[Any]]:
            with self.clickhouse() as client:
                return list(client.query(sql).result_rows)

        return await asyncio.to_thread(run)

    async def legs(self, count: int, columns: str = "*", where: str = "1") -> list[dict[str, Any]]:
        """The legs that fulfil a condition, oldest first, as soon as there are `count`."""
        rows: list[dict[str, Any]] = []

        def fetch() -> list[dict[str, Any]]:
            query = f"SELECT {columns} FROM homeward.legs WHERE {where} ORDER BY start_time, leg_id"
            with self.clickhouse() as client:
                return list(client.query(query).named_results())

        async def enough() -> bool:
            rows[:] = await asyncio.to_thread(fetch)
            return len(rows) >= count

        await until(enough, f"{count} legs where {where}")
        return rows

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Returns when the condition is true; fails the test if it does not come true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while not await condition():
        assert loop.time() < deadline, f"not within {WAIT_S:g} s: {what}"
        await asyncio.sleep(0.02)
