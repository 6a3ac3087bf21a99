"""Reads the settings as each service would, and says what of them this command needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from deploy.local.config import MADE_LATER, LocalConfig
from playbook.clickhouse_client import read_store, write_store
from playbook.doctor.dangers import Configs, Danger, dangers, named_models
from playbook.doctor.facts import Upstream
from playbook.plan.settings import PlanConfig
from playbook.report.settings import ComplianceConfig
from playbook.shadow_client import api_key
from playbook.state_files import object_in, text_in
from services.classifier.config import load_classifier
from services.common.settings import ClickHouse, SettingsError, load
from services.common.words import Target
from services.ledger.adapters.prices import PriceList
from services.ledger.config import LedgerConfig, load_ledger
from services.router.config import RouterConfig, load_router
from services.router.core.catalog import CHAT
from services.shadow.config import load_shadow

T = TypeVar("T")

ANYWHERE = ("0.0.0.0", "[::]", "::")  # compared with, not listened at
"""Hosts at which a service listens and nobody asks."""


@dataclass(frozen=True, slots=True)
class Read:
    """What could be read."""

    file: Path
    exists: bool
    mistakes: tuple[str, ...]
    dangers: tuple[Danger, ...]
    """Empty as long as there are mistakes."""
    local: LocalConfig | None
    """Where everything is; None if that can't be read."""
    router: RouterConfig | None
    """The upstreams; None if they can't be read."""
    environment: Mapping[str, str]

    @property
    def state_dir(self) -> Path:
        """Where `make run` keeps what outlives it."""
        return self.local.local.state_dir if self.local else Path(".homeward")

    @property
    def is_local(self) -> bool:
        """True if `make run` was used here."""
        # Not of Path, which raises where the folder is another user's.
        return os.path.exists(self.state_dir / "secrets.json")

    def api_key(self) -> str:
        """The key of who asks; empty if there is none."""
        return api_key(self.state_dir, self.environment)

    def probe_key(self) -> str:
        """A key with the scope `experiments`: shadow's, if it is known here, else that of who asks."""
        configured = self.local.shadow.api_key if self.local else ""
        return configured or text_in(self.state_dir / "secrets.json", "shadow_key") or self.api_key()

    def addresses(self) -> dict[str, str]:
        """Where each service is asked."""
        if self.local is None:
            return {}
        router, shadow = self.local.router, self.local.shadow
        return {
            "router": _asked(router.grpc, shadow.router),
            "classifier": _asked(self.local.classifier.grpc, router.classifier),
            "ledger": _asked(self.local.ledger.grpc, router.ledger),
            "shadow": _asked(shadow.grpc, router.shadow),
        }

    def clickhouse(self) -> tuple[ClickHouse, ClickHouse | None]:
        """The services' user, and the one that reads, if another is known here."""
        configured = self.local.clickhouse if self.local else ClickHouse()
        writer = write_store(configured, self.state_dir)
        reader = read_store(configured, self.state_dir)
        return writer, reader if reader.user != writer.user else None

    def upstreams(self) -> list[tuple[Upstream, str, bool]]:
        """Servers of models that speak HTTP: each, its key, and whether it speaks Anthropic's protocol."""
        if self.router is None:
            return []
        keys = self.router.credentials(self.environment)
        found = []
        for name, item in self.router.upstreams.items():
            if item.base_url is None:
                continue
            missing = item.api_key_env or "none"
            # The stand-in of `make run` answers to any name, and lists its own.
            stand_in = self.local is not None and urlsplit(item.base_url).netloc == self.local.local.cloud
            found.append(
                (
                    Upstream(
                        name,
                        item.target,
                        item.base_url.rstrip("/"),
                        item.region,
                        "set" if name in keys else missing,
                        wanted=frozenset() if stand_in else named_models(self.router, name),
                    ),
                    keys.get(name, ""),
                    item.protocol == "anthropic",
                )
            )
        return found

    def models_at_home(self) -> list[tuple[str, str]]:
        """Each model at home: a name by which applications may ask for it, and its upstream."""
        if self.router is None:
            return []
        catalog = self.router.catalog()
        found: dict[tuple[str, str], str] = {}
        for name, _ in catalog.listed():
            for route in catalog.routes(name):
                place = (route.upstream.name, route.model)
                at_home = route.upstream.target is Target.SOVEREIGN and route.upstream.offers(CHAT)
                if at_home and (place not in found or name == route.model):
                    found[place] = name
        return [(name, upstream) for (upstream, _), name in sorted(found.items())]

    def context_tokens(self, upstream: str) -> int:
        """The context of a model at home, as far as settings or its folder name one; else 0."""
        triton = self.router.triton.get(upstream) if self.router else None
        if triton is None:
            return 0
        config = object_in(triton.model_dir / "config.json").get("max_position_embeddings")
        return triton.context_tokens or (config if isinstance(config, int) else 0)


def read_settings(file: Path, environment: Mapping[str, str] = os.environ) -> Read:
    """Reads all sections of all services; what is wrong in one keeps none of the others."""
    known = {**MADE_LATER, **environment}
    mistakes: list[str] = []

    def tried(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except SettingsError as error:
            mistakes.extend(str(error).splitlines())
            return None

    local = tried(lambda: load(LocalConfig, *LocalConfig.model_fields, path=file, environment=known))
    router = tried(lambda: load_router(file, known))
    classifier = tried(lambda: load_classifier(file, known))
    shadow = tried(lambda: load_shadow(file, known))
    ledger = tried(lambda: load_ledger(file, known))
    tried(lambda: load(PlanConfig, *PlanConfig.model_fields, path=file, environment=known))
    tried(lambda: load(ComplianceConfig, "compliance", path=file, environment=known))
    told: tuple[Danger, ...] = ()
    if router and classifier and shadow and ledger:
        told = tuple(dangers(Configs(router, classifier, shadow, ledger), _priced(ledger)))
    return Read(file, file.exists(), tuple(dict.fromkeys(mistakes)), told, local, router, environment)


def _priced(ledger: LedgerConfig) -> Callable[[str, str], bool]:
    prices, now = PriceList(ledger.prices), datetime.now(UTC)
    return lambda provider, model: prices.rates(provider, model, now) is not None


def _asked(listens: str, callers: str) -> str:
    host, _, _ = listens.rpartition(":")
    return callers if host in ANYWHERE else listens
