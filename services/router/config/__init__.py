"""The router's settings: what it listens on, what it talks to, and who may ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.common.budgets import rules_of
from services.common.settings import (
    Budget,
    ClickHouse,
    Name,
    PersonalData,
    Section,
    Telemetry,
    read_document,
)
from services.common.settings import DataClass as DataClassSettings
from services.common.settings import parse as parse_settings
from services.common.words import Target
from services.router.config.doors import Limits, Router
from services.router.config.keys import KeySettings
from services.router.config.triton import TritonSettings
from services.router.config.upstreams import (
    ModelSettings,
    RouteSettings,
    Timeouts,
    UpstreamSettings,
    catalog_of,
    check_upstreams,
)
from services.router.core.budgets import Rules, share
from services.router.core.catalog import Catalog
from services.router.core.data_classes import DataClass, DataClasses
from services.router.core.detectors import Kind
from services.router.core.keys import Key
from services.router.core.personal_data import Detectors, OnHit
from services.router.core.personal_data import Rules as PersonalDataRules

__all__ = [
    "CLOUD_API_KEY",
    "CLOUD_BASE_URL",
    "CLOUD_PROVIDER",
    "KeySettings",
    "Limits",
    "ModelSettings",
    "RouteSettings",
    "Router",
    "RouterConfig",
    "Timeouts",
    "TritonSettings",
    "UpstreamSettings",
    "load_router",
]

CLOUD_BASE_URL = "HOMEWARD_CLOUD_BASE_URL"
CLOUD_API_KEY = "HOMEWARD_CLOUD_API_KEY"
CLOUD_PROVIDER = "HOMEWARD_CLOUD_PROVIDER"


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
        check_upstreams(self.upstreams, self.triton, self.models)

    def catalog(self) -> Catalog:
        """The models and where they are served."""
        return catalog_of(self.upstreams, self.triton, self.models)

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
        return [item.key(name) for name, item in self.keys.items()]


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
