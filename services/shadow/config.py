"""Shadow's settings: `[shadow]`, and what all services share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from services.common.settings import ClickHouse, Section, Telemetry, load


class Shadow(Section):
    """`[shadow]`: where it listens."""

    grpc: str = "127.0.0.1:8083"
    """HOST:PORT."""


class ShadowConfig(Section):
    """All that shadow is told."""

    shadow: Shadow = Shadow()
    clickhouse: ClickHouse = ClickHouse()
    telemetry: Telemetry = Telemetry()


def load_shadow(path: Path, environment: Mapping[str, str] = os.environ) -> ShadowConfig:
    """Reads shadow's sections.

    Raises:
        SettingsError: something is wrong.
    """
    return load(ShadowConfig, *ShadowConfig.model_fields, path=path, environment=environment)
