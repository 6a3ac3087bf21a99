"""The router's settings: what it listens on, what it talks to, and who may ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from services.common.budgets import rules_of
from services.common.settings import (
    Budget,
    ClickHouse,
    Name,
    PersonalData,
    Section,
    TargetName,
    Telemetry,
    read_document,
)
from services.common.settings import DataClass as DataClassSettings
from services.common.settings import parse as parse_settings
from services.common.words import Target
from services.router.core.budgets import Rules, share
from services.router.core.catalog import CHAT, COMPLETIONS, Catalog, Upstream
from services.router.core.data_classes import DataClass, DataClasses
from services.router.core.detectors import Kind
from services.router.core.keys import Key
from services.router.core.personal_data import Detectors, OnHit
from services.router.core.personal_data import Rules as PersonalDataRules

CLOUD_BASE_URL = "HOMEWARD_CLOUD_BASE_URL"
CLOUD_API_KEY = "HOMEWARD_CLOUD_API_KEY"
CLOUD_PROVIDER = "HOMEWARD_CLOUD_PROVIDER"

TRITON_APIS = frozenset({CHAT, COMPLETIONS})
"""The calls that a server of prompts can serve."""

ApiName = Literal["chat.completions", "completions", "embeddings", "responses", "messages"]


class Router(Section):
    """`[router]`: where it listens and what it talks to."""

    http: str = "127.0.0.1:8080"
    """HOST:PORT of the OpenAI-compatible door."""
    grpc: str = "127.0.0.1:8081"
    """HOST:PORT of the gRPC door."""
    classifier: str = "127.0.0.1:8082"
    """HOST:PORT of the classifier."""
    ledger: str = "127.0.0.1:8084"
    """HOST:PORT of the ledger."""
    shadow: str = "127.0.0.1:8083"
    """HOST:PORT of shadow."""
    samples_in_memory: int = Field(default=1000, ge=1)
    """Samples that may wait for shadow in each process. More are lost to the comparison, and counted."""
    sample_bytes: int = Field(default=256 * 1024, ge=1024)
    """Largest sample, question and answer together; larger requests are not compared."""
    state_dir: Path = Path(".homeward/router")
    """Folder for the queue of legs and the last policy."""
    processes: int = Field(default=1, ge=1, le=64)
    """Router processes that share the two ports (SO_REUSEPORT) and the keys' limits, of which each admits
    its part. `make run` starts them all."""
    index: int = Field(default=0, ge=0, lt=64)
    """Which of the processes this one is; each has a folder of its own in `state_dir`."""
    model_in_answer: Literal["asked", "served"] = "asked"
    """The `model` that an application sees in an answer: what it asked for, or what served it. Headers,
    traces and the book always tell what served."""
    naming_budget_ms: int = Field(default=20, ge=1, le=1000)
    """Longest wait for the classifier; a request that is not named by then is unnamed."""
    conversations: int = Field(default=100_000, ge=0)
    """Conversations whose names each process remembers, so that a registration does not rename them."""
    observe_share: float = Field(default=0.02, ge=0, le=1)
    """Share of the requests named without the classifier that it is shown afterwards, so that it can tell
    whether a workload's traffic still looks like its examples."""
    observe_in_flight: int = Field(default=8, ge=1)
    """Requests that are being shown to it at once; more are not shown. No request waits for that."""


class Limits(Section):
    """`[limits]`: what the doors accept, and what may wait."""

    body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Largest request body. A dozen images as data URLs fit."""
    header_bytes: int = Field(default=16 * 1024, ge=1024)
    """Largest request line, and largest single header."""
    header_timeout_s: float = Field(default=10, gt=0)
    """Time for the headers of a connection's first request to arrive."""
    body_timeout_s: float = Field(default=60, gt=0)
    """Time for a body to arrive."""
    keepalive_s: float = Field(default=75, gt=0)
    """How long an idle connection is kept."""
    concurrent_requests: int = Field(default=1024, ge=1)
    """Requests in flight in one router process; more are refused with 503 and Retry-After."""
    connections: int = Field(default=4096, ge=1)
    """Open connections to one router process."""
    legs_in_memory: int = Field(default=20_000, ge=1)
    """Finished legs that may wait for the disk. More are lost and counted as shed."""
    legs_on_disk: int = Field(default=2_000_000, ge=1)
    """Legs that may wait on disk for the ledger: an hour at 500 requests a second."""


class Timeouts(Section):
    """`[timeouts]`: how long an upstream may take, and how often it is tried."""

    connect_s: float = Field(default=5, gt=0)
    """To open a connection."""
    first_token_s: float = Field(default=60, gt=0)
    """From a streamed call to its first event."""
    silence_s: float = Field(default=30, gt=0)
    """Between two pieces of an answer."""
    answer_s: float = Field(default=600, gt=0)
    """From a call that is not streamed to its answer's first byte."""
    max_attempts: int = Field(default=3, ge=1, le=10)
    """Tries of one upstream, before the application has got a byte."""
    retry_base_s: float = Field(default=0.25, ge=0)
    """Upper limit of the first wait; it doubles with each try, and the wait is drawn below it."""
    retry_max_wait_s: float = Field(default=8, ge=0)
    """Longest wait between tries. An upstream whose Retry-After asks for more is not tried again."""
    breaker_failures: int = Field(default=5, ge=1)
    """Failures in a row after which an upstream is left alone."""
    breaker_cooldown_s: float = Field(default=10, gt=0)
    """For how long."""


class UpstreamSettings(Section):
    """`[upstreams.NAME]`: a server of models."""

    target: TargetName = "cloud"
    """Which target it belongs to."""
    protocol: Literal["openai", "anthropic", "triton"] = "openai"
    """What it speaks. `triton` is TensorRT-LLM's tensor contract; `[triton.NAME]` says where."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """Where: with the version, without a slash at the end: `https://api.openai.com/v1`. Not for `triton`."""
    api_key: str = Field(default="", repr=False)
    """The key that Homeward sends there. Better by `api_key_env`."""
    api_key_env: str = ""
    """Name of the environment variable that has the key."""
    provider: str = ""
    """Whose price list applies (a provider of genai-prices, or of `[[prices]]`); default: the name."""
    region: str = ""
    """Where it runs, in the words that the data classes' `regions` use."""
    models: list[str] = []
    """Models that it serves under their own names; `*` matches any text, and `*` alone is every
    model that no other upstream has."""
    apis: list[ApiName] = ["chat.completions", "completions", "embeddings", "responses"]
    """The calls that it offers. `messages` is for protocol = "anthropic"; `triton` has the first two."""
    stream_usage: bool = True
    """Whether it understands `stream_options.include_usage`."""

    def offered(self) -> frozenset[str]:
        """The calls that it offers: those that were set, or what its protocol has."""
        if self.protocol == "triton" and "apis" not in self.model_fields_set:
            return TRITON_APIS
        return frozenset(self.apis)


class TritonSettings(Section):
    """`[triton.NAME]`: the replicas behind `[upstreams.NAME]` with protocol = "triton"."""

    replicas: list[str] = Field(min_length=1)
    """HOST:PORT of each server's gRPC door."""
    tls_dir: Path | None = None
    """Folder with `ca.crt`, `client.crt` and `client.key`: the connections have mutual TLS. Left out: none,
    for servers on the same machine or behind a tunnel."""
    model_dir: Path
    """Folder with the model's `tokenizer.json`, `tokenizer_config.json` (with its chat template) and
    `config.json`, as published with the model."""
    model: str = "tensorrt_llm"
    """What the model is called in Triton's repository."""
    versions: dict[str, str] = {}
    """Triton's version for each model name that routes use; a name that is not here gets the newest."""
    context_tokens: int | None = Field(default=None, ge=16)
    """Tokens that prompt and answer may have together: the server's `max_seq_len`. Left out: what the
    model's `config.json` says."""
    context_overflow: Literal["cloud", "error"] = "cloud"
    """What becomes of a request that is too long: the next route that its data class allows, or an error."""
    max_answer_tokens: int = Field(default=4096, ge=1)
    """Longest answer of a request that names no limit; a model that does not stop would hold its place."""
    queue_tokens: int = Field(default=65_536, ge=1)
    """Estimated tokens, of prompts and answers, in flight at one replica. When all are full, requests go to
    the next route that their data class allows, else they get 429 and Retry-After."""
    affinity_requests: int = Field(default=2, ge=0)
    """How many more requests than the idlest replica one may have and still get prompts that begin like
    one it has seen, whose keys and values it keeps."""
    coalesce_ms: int = Field(default=20, ge=0, le=1000)
    """Tokens that come within this time after a piece of a stream are sent together: 50 pieces a second are
    more than anybody reads, and each costs as much as a token."""
    probe_interval_s: float = Field(default=5, gt=0)
    """Silence of a replica after which it is probed with an inference of one token."""
    probe_timeout_s: float = Field(default=10, gt=0)
    """How long that may take."""
    reload: bool = True
    """Whether the router unloads and loads the model of a replica whose process has died, which needs
    `--model-control-mode=explicit`."""
    reload_timeout_s: float = Field(default=300, gt=0)
    """How long that may take: an engine of a big model takes minutes."""


class RouteSettings(Section):
    """One entry of a model's `routes`."""

    upstream: str
    """The name of an `[upstreams.NAME]`."""
    model: str
    """What the model is called there."""


class ModelSettings(Section):
    """`[models.NAME]`: a model that applications may ask for by that name."""

    routes: list[RouteSettings] = Field(min_length=1)
    """Where it is served, in the order in which to try."""


class KeySettings(Section):
    """`[keys.NAME]`: an API key. `homeward key new NAME` prints a secret and this section."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    """SHA-256 of the secret, 64 hexadecimal digits."""
    workloads: list[str] = ["*"]
    """Workloads that its requests may declare; `*` is all but those of a data class without the cloud, which
    must be named. Unnamed requests of a key that names such a workload run only where its class allows."""
    default_workload: str = ""
    """The workload of requests that declare none."""
    scopes: list[Literal["approvals", "experiments"]] = []
    """`experiments`: may ask for legs with a purpose other than PRODUCTION. `approvals`: may move workloads
    from one stage to the next, and back."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Left out: no limit."""
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """All token classes together. Left out: no limit."""


class WorkloadSettings(Section):
    """`[workloads.NAME]`, as far as it concerns the router; the rest is the classifier's."""

    personal_data: PersonalData
    """What its requests are read for."""


class RouterConfig(Section):
    """All that the router is told."""

    router: Router = Router()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    telemetry: Telemetry = Telemetry()
    clickhouse: ClickHouse = ClickHouse()
    upstreams: dict[Name, UpstreamSettings] = {}
    triton: dict[Name, TritonSettings] = {}
    models: dict[str, ModelSettings] = {}
    keys: dict[Name, KeySettings] = {}
    data_classes: dict[Name, DataClassSettings] = {}
    workloads: dict[Name, WorkloadSettings] = {}
    """Those whose requests are read for personal data."""
    budgets: dict[Name, Budget] = {}

    def model_post_init(self, _context: Any) -> None:
        """Checks what one section says of another."""
        if not self.upstreams:
            raise ValueError("upstreams: at least one [upstreams.NAME] is needed")
        for name, upstream in self.upstreams.items():
            if upstream.protocol == "anthropic" and upstream.apis != ["messages"]:
                raise ValueError(f'upstreams.{name}.apis: expected ["messages"] with protocol = "anthropic"')
            if upstream.protocol != "anthropic" and "messages" in upstream.apis:
                raise ValueError(f'upstreams.{name}.apis: "messages" needs protocol = "anthropic"')
            if upstream.protocol == "triton":
                if name not in self.triton:
                    raise ValueError(f'upstreams.{name}: protocol = "triton" needs a section [triton.{name}]')
                if not upstream.offered() <= TRITON_APIS:
                    raise ValueError(
                        f"upstreams.{name}.apis: expected some of {', '.join(sorted(TRITON_APIS))}"
                    )
            elif not upstream.base_url:
                raise ValueError(f"upstreams.{name}.base_url: missing")
        for name in self.triton:
            if name not in self.upstreams or self.upstreams[name].protocol != "triton":
                raise ValueError(f'triton.{name}: expected an [upstreams.{name}] with protocol = "triton"')
        for model, settings in self.models.items():
            for index, route in enumerate(settings.routes):
                if route.upstream not in self.upstreams:
                    raise ValueError(
                        f"models.{model}.routes.{index}.upstream: expected one of"
                        f" {', '.join(sorted(self.upstreams))}, got {route.upstream!r}"
                    )

    def catalog(self) -> Catalog:
        """The models and where they are served."""
        upstreams = [
            Upstream(
                name=name,
                target=Target[item.target.upper()],
                protocol=item.protocol,
                base_url=(item.base_url or "").rstrip("/"),
                provider=item.provider or name,
                region=item.region,
                models=tuple(item.models),
                apis=item.offered(),
                stream_usage=item.stream_usage,
                too_long_moves=name not in self.triton or self.triton[name].context_overflow == "cloud",
            )
            for name, item in self.upstreams.items()
        ]
        models = {
            name: [(route.upstream, route.model) for route in item.routes]
            for name, item in self.models.items()
        }
        return Catalog(upstreams, models)

    def credentials(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The key of each upstream that needs one, by its name."""
        found = {
            name: item.api_key or environment.get(item.api_key_env, "")
            for name, item in self.upstreams.items()
        }
        return {name: key for name, key in found.items() if key}

    def classes(self) -> DataClasses:
        """The data classes."""
        return DataClasses(
            DataClass(
                name=name,
                targets=frozenset(Target[target.upper()] for target in item.targets),
                regions=frozenset(item.regions),
            )
            for name, item in self.data_classes.items()
        )

    def personal_data(self) -> PersonalDataRules:
        """The workloads' detectors of personal data."""
        return PersonalDataRules(
            {
                name: Detectors(
                    frozenset(map(Kind, item.personal_data.detectors)), OnHit(item.personal_data.on_hit)
                )
                for name, item in self.workloads.items()
            }
        )

    def budget_rules(self) -> Rules:
        """The budgets, with this process's part of what goes while no ledger answers."""
        processes, index = self.router.processes, self.router.index
        return Rules(
            [
                replace(rule, offline_requests=share(rule.offline_requests, processes, index))
                for rule in rules_of(self.budgets)
            ]
        )

    def api_keys(self) -> list[Key]:
        """The API keys."""
        return [
            Key(
                name=name,
                sha256=bytes.fromhex(item.sha256),
                workloads=None if "*" in item.workloads else frozenset(item.workloads),
                named=frozenset({*item.workloads, item.default_workload} - {"*", ""}),
                default_workload=item.default_workload,
                scopes=frozenset(item.scopes),
                requests_per_minute=item.requests_per_minute,
                tokens_per_minute=item.tokens_per_minute,
            )
            for name, item in self.keys.items()
        ]


def load_router(path: Path, environment: Mapping[str, str] = os.environ) -> RouterConfig:
    """Reads the router's sections; HOMEWARD_CLOUD_BASE_URL and _API_KEY replace the upstream `cloud`.

    Raises:
        SettingsError: something is wrong.
    """
    document = read_document(path, environment)
    base_url = environment.get(CLOUD_BASE_URL)
    if base_url and isinstance(document.get("upstreams", {}), dict):
        document.setdefault("upstreams", {})["cloud"] = {
            "base_url": base_url,
            "api_key_env": CLOUD_API_KEY,
            "provider": environment.get(CLOUD_PROVIDER, "openai"),
            "models": ["*"],
        }
    sections = {key: document[key] for key in RouterConfig.model_fields if key in document}
    if isinstance(workloads := document.get("workloads"), dict):
        sections["workloads"] = {
            name: {"personal_data": item["personal_data"]}
            for name, item in workloads.items()
            if isinstance(item, dict) and "personal_data" in item
        }
    return parse_settings(RouterConfig, sections, path)
