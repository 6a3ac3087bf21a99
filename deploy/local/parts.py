"""The parts of the stack: how each is started, and when it is well."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.clickhouse import embedded
from deploy.local.config import LocalConfig, cloud_is_real
from deploy.local.state import Secrets
from deploy.triton.cpu import server as triton
from deploy.triton.cpu.process import answers
from services.ledger.adapters.clickhouse import MIGRATIONS
from services.ledger.config import JOURNAL_URL

PROBE_TIMEOUT_S = 2.0
SHADOW_KEY = "HOMEWARD_SHADOW__API_KEY"

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the stack."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    probe: Probe
    """True if it is well."""
    where: str
    """What a person is told of it."""
    listens: tuple[tuple[str, str], ...]
    """(HOST:PORT, the setting that changes it) pairs."""
    stop_timeout_s: float = 30.0
    """How long it may take to stop before it is killed."""

    def pinned(self, cpus: str | None) -> Part:
        """The same part on the CPUs of a taskset list, or on all for None."""
        return self if cpus is None else replace(self, command=["taskset", "-c", cpus, *self.command])


def build(
    config: LocalConfig,
    secrets: Secrets,
    settings_file: Path,
    state_dir: Path,
    clickhouse_url: str | None,
) -> list[Part]:
    """All parts in the order of their start; they stop in the opposite order.

    Args:
        clickhouse_url: a server that is there already; None starts the embedded one.

    Raises:
        MissingError: there is no ClickHouse to start.
    """
    url = clickhouse_url or config.clickhouse.url
    everywhere = {name: value for name, value in os.environ.items() if name not in (JOURNAL_URL, SHADOW_KEY)}
    environment = {**everywhere, **service_environment(secrets, url, own=clickhouse_url is None)}
    alone: dict[str, dict[str, str]] = {
        # The journal is the ledger's alone, and its address has a password.
        "ledger": {JOURNAL_URL: os.environ[JOURNAL_URL]} if JOURNAL_URL in os.environ else {},
        # Whoever has this key may ask for legs that no application asked for.
        "shadow": {SHADOW_KEY: secrets.shadow_key},
    }
    parts: list[Part] = []
    if clickhouse_url is None:
        address = urllib.parse.urlsplit(url).netloc
        server = embedded.prepare(state_dir / "clickhouse", int(address.rpartition(":")[2]), secrets)
        parts.append(
            Part(
                name="clickhouse",
                command=server.command(),
                environment=everywhere,
                probe=_clickhouse_probe(url, "homeward", secrets.clickhouse_password, "SELECT 1"),
                where=url,
                listens=((address, "HOMEWARD_CLICKHOUSE__URL=http://127.0.0.1:PORT"),),
            )
        )
    user = environment["HOMEWARD_CLICKHOUSE__USER"] if clickhouse_url else "homeward"
    password = environment.get("HOMEWARD_CLICKHOUSE__PASSWORD", "")
    last = max(int(file.name.split("_")[0]) for file in MIGRATIONS.glob("[0-9]*.sql"))
    tables = f"SELECT throwIf(max(number) < {last}) FROM homeward.schema_migrations"  # noqa: S608
    services: list[tuple[str, str, str, str, Probe]] = [
        (
            "ledger",
            "services.ledger",
            config.ledger.grpc,
            "HOMEWARD_LEDGER__GRPC and HOMEWARD_ROUTER__LEDGER",
            # Well when its migrations have run: the others write to what they make.
            _both(_grpc_probe(config.ledger.grpc), _clickhouse_probe(url, user, password, tables)),
        ),
        (
            "classifier",
            "services.classifier",
            config.classifier.grpc,
            "HOMEWARD_CLASSIFIER__GRPC and HOMEWARD_ROUTER__CLASSIFIER",
            _grpc_probe(config.classifier.grpc),
        ),
        (
            "shadow",
            "services.shadow",
            config.shadow.grpc,
            "HOMEWARD_SHADOW__GRPC and HOMEWARD_ROUTER__SHADOW",
            _grpc_probe(config.shadow.grpc),
        ),
    ]
    for name, module, address, setting, probe in services:
        parts.append(
            Part(
                name=name,
                command=guarded(module, str(settings_file)),
                environment={**environment, **alone.get(name, {})},
                probe=probe,
                where=f"grpc {address}",
                listens=((address, setting),),
            )
        )
    if not cloud_is_real(os.environ):
        host, _, port = config.local.cloud.rpartition(":")
        arguments = ["--host", host, "--port", port, "--settings", str(settings_file)]
        arguments += ["--latency", "realistic"]
        parts.append(
            Part(
                name="stand-in-cloud",
                command=guarded("deploy.local.cloud", *arguments),
                environment=environment,
                probe=_http_probe(f"http://{config.local.cloud}/v1/models", {"Authorization": "Bearer x"}),
                where=f"http://{config.local.cloud}/v1 (a stand-in, no cloud)",
                listens=(
                    (config.local.cloud, "HOMEWARD_LOCAL__CLOUD and HOMEWARD_UPSTREAMS__CLOUD__BASE_URL"),
                ),
            )
        )
    if config.serves_at_home and home_problem() is None:
        parts += _home(config, settings_file, environment, everywhere, state_dir)
    parts += [_router(config, settings_file, environment, index) for index in range(config.router.processes)]
    return parts


def home_problem() -> str | None:
    """What the embedded Triton lacks on this machine, and how to get it; None if nothing."""
    try:
        triton.find()
        triton.library_path()
    except triton.MissingError as error:
        return str(error)
    return None


def _home(
    config: LocalConfig,
    settings_file: Path,
    environment: Mapping[str, str],
    everywhere: Mapping[str, str],
    state_dir: Path,
) -> list[Part]:
    local = config.local
    arguments = {
        "--grpc": local.triton,
        "--http": local.triton_http,
        "--metrics": local.triton_metrics,
        "--state-dir": str(state_dir / "triton"),
        "--trace-url": f"http://{local.collector}/v1/traces",
    }
    return [
        Part(
            name="collector",
            command=guarded("deploy.local.collector", str(settings_file), "--listen", local.collector),
            environment=environment,
            probe=_http_probe(f"http://{local.collector}/healthz", {}),
            where=f"http://{local.collector}/v1/traces (Triton's spans)",
            listens=((local.collector, "HOMEWARD_LOCAL__COLLECTOR"),),
        ),
        Part(
            name="triton",
            command=guarded("deploy.triton.cpu", *(word for pair in arguments.items() for word in pair)),
            environment=everywhere,
            # Ready says nothing: it stays true when the model's process has died.
            probe=lambda: asyncio.to_thread(answers, local.triton, 1, PROBE_TIMEOUT_S),
            where=f"grpc {local.triton} (a Llama of our own, on the CPU)",
            listens=(
                (local.triton, "HOMEWARD_LOCAL__TRITON and [triton.NAME] replicas"),
                (local.triton_http, "HOMEWARD_LOCAL__TRITON_HTTP"),
                (local.triton_metrics, "HOMEWARD_LOCAL__TRITON_METRICS"),
            ),
        ),
    ]


def _router(config: LocalConfig, settings_file: Path, environment: Mapping[str, str], index: int) -> Part:
    router = config.router
    first = index == 0
    return Part(
        name="router" if first else f"router-{index}",
        command=guarded("services.router", str(settings_file)),
        environment={**environment, "HOMEWARD_ROUTER__INDEX": str(index)},
        probe=_both(_http_probe(f"http://{router.http}/healthz", {}), _grpc_probe(router.grpc)),
        where=f"http://{router.http}/v1 and grpc {router.grpc}",
        # The others share the first one's ports.
        listens=((router.http, "HOMEWARD_ROUTER__HTTP"), (router.grpc, "HOMEWARD_ROUTER__GRPC"))
        if first
        else (),
    )


def service_environment(secrets: Secrets, clickhouse_url: str, *, own: bool) -> dict[str, str]:
    """What the services are told beside the settings file.

    With a ClickHouse that the user brought (`own` false), its user and password are the user's too.
    """
    environment = {
        "HOMEWARD_CLICKHOUSE__URL": clickhouse_url,
        "HOMEWARD_KEYS__DEMO__SHA256": secrets.api_key_sha256,
        "HOMEWARD_KEYS__SHADOW__SHA256": secrets.shadow_key_sha256,
    }
    if own:
        environment["HOMEWARD_CLICKHOUSE__USER"] = "homeward"
        environment["HOMEWARD_CLICKHOUSE__PASSWORD"] = secrets.clickhouse_password
    else:
        environment["HOMEWARD_CLICKHOUSE__USER"] = os.environ.get("HOMEWARD_CLICKHOUSE__USER", "default")
    return environment


def guarded(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours, as a child that can't outlive this process."""
    return [sys.executable, "-m", "deploy.local.guard", module, *arguments]


def _both(one: Probe, other: Probe) -> Probe:
    async def probe() -> bool:
        return await one() and await other()

    return probe


def _grpc_probe(address: str) -> Probe:
    async def probe() -> bool:
        async with aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(  # type: ignore[attr-defined]  # the stubs lack it
                    health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S
                )
            except aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


def _http_probe(url: str, headers: Mapping[str, str]) -> Probe:
    async def probe() -> bool:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, headers=headers) as response,
            ):
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    return probe


def _clickhouse_probe(url: str, user: str, password: str, query: str) -> Probe:
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    return _http_probe(f"{url}/?{urllib.parse.urlencode({'query': query})}", headers)
