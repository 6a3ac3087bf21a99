"""The settings of `make run`: `[local]`, and the addresses of what it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from services.classifier.config import Classifier, load_classifier
from services.common.settings import ClickHouse, Name, Section, load
from services.ledger.config import Ledger, load_ledger
from services.router.config import CLOUD_BASE_URL, Router, TritonSettings, load_router
from services.shadow.config import Shadow, load_shadow

MADE_LATER = {"HOMEWARD_KEYS__DEMO__SHA256": "0" * 64, "HOMEWARD_KEYS__SHADOW__SHA256": "1" * 64}
"""Hashes that are known only with the state at hand; any will do to check the rest of the settings."""


class Local(Section):
    """`[local]`: what only `make run` starts."""

    cloud: str = "127.0.0.1:8090"
    """HOST:PORT of the stand-in cloud."""
    triton: str = "127.0.0.1:8091"
    """HOST:PORT of the embedded Triton's gRPC door. It is started if it is a replica of a `[triton.NAME]`."""
    triton_http: str = "127.0.0.1:8092"
    """HOST:PORT of its HTTP door."""
    triton_metrics: str = "127.0.0.1:8093"
    """HOST:PORT of its metrics, for Prometheus."""
    collector: str = "127.0.0.1:8094"
    """HOST:PORT of the receiver of its spans (OTLP over HTTP)."""
    state_dir: Path = Path(".homeward")
    """Folder for everything that outlives a run."""
    tour: bool = True
    """Whether to send the sample conversations after the start."""
    tour_model: str = "gpt-4o-mini"
    """The model that they ask for."""
    migration: bool = True
    """Whether the tour goes on with two migrations, which take two to five minutes and need Triton."""


class LocalConfig(Section):
    """The sections that the supervisor reads."""

    local: Local = Local()
    router: Router = Router()
    classifier: Classifier = Classifier()
    shadow: Shadow = Shadow()
    ledger: Ledger = Ledger()
    clickhouse: ClickHouse = ClickHouse()
    triton: dict[Name, TritonSettings] = {}

    @property
    def serves_at_home(self) -> bool:
        """True if the embedded Triton is somebody's replica."""
        return any(self.local.triton in item.replicas for item in self.triton.values())


def load_local(path: Path, environment: Mapping[str, str] = os.environ) -> LocalConfig:
    """Reads the supervisor's sections, and has each service check its own.

    Raises:
        SettingsError: something is wrong, anywhere in the file.
    """
    environment = {**MADE_LATER, **environment}
    for check in (load_router, load_classifier, load_shadow, load_ledger):
        check(path, environment)
    return load(LocalConfig, *LocalConfig.model_fields, path=path, environment=environment)


def cloud_is_real(environment: Mapping[str, str]) -> bool:
    """True if a cloud API takes the place of the stand-in."""
    return bool(environment.get(CLOUD_BASE_URL))
