"""The classifier's settings: `[classifier]` and the registry of workloads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from services.common.settings import ClickHouse, Registry, Section, Telemetry, load


class Classifier(Section):
    """`[classifier]`: where it listens."""

    grpc: str = "127.0.0.1:8082"
    """HOST:PORT."""


class ClassifierConfig(Registry):
    """All that the classifier is told."""

    classifier: Classifier = Classifier()
    clickhouse: ClickHouse = ClickHouse()
    telemetry: Telemetry = Telemetry()


def load_classifier(path: Path, environment: Mapping[str, str] = os.environ) -> ClassifierConfig:
    """Reads the classifier's sections.

    Raises:
        SettingsError: something is wrong.
    """
    return load(ClassifierConfig, *ClassifierConfig.model_fields, path=path, environment=environment)
