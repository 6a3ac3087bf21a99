"""The settings of `make run`: `[local]`, and the addresses of what it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from services.classifier.config import Classifier, load_classifier
from services.common.settings import ClickHouse, Section, load
from services.ledger.config import Ledger, load_ledger
from services.router.config import CLOUD_BASE_URL, Router, load_router
from services.shadow.config import Shadow, load_shadow


class Local(Section):
    """`[local]`: what only `make run` starts."""

    cloud: str = "127.0.0.1:8090"
    """HOST:PORT of the stand-in cloud."""
    state_dir: Path = Path(".homeward")
    """Folder for everything that outlives a run."""
    tour: bool = True
    """Whether to send the sample conversations after the start."""
    tour_model: str = "gpt-4o-mini"
    """The model that they ask for."""


class LocalConfig(Section):
    """The sections that the supervisor reads."""

    local: Local = Local()
    router: Router = Router()
    classifier: Classifier = Classifier()
    shadow: Shadow = Shadow()
    ledger: Ledger = Ledger()
    clickhouse: ClickHouse = ClickHouse()


def load_local(path: Path, environment: Mapping[str, str] = os.environ) -> LocalConfig:
    """Reads the supervisor's sections, and has each service check its own.

    Raises:
        SettingsError: something is wrong, anywhere in the file.
    """
    for check in (load_router, load_classifier, load_shadow, load_ledger):
        check(path, environment)
    return load(LocalConfig, *LocalConfig.model_fields, path=path, environment=environment)


def cloud_is_real(environment: Mapping[str, str]) -> bool:
    """True if a cloud API takes the place of the stand-in."""
    return bool(environment.get(CLOUD_BASE_URL))
