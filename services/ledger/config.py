"""The ledger's settings: `[ledger]`, `[[prices]]`, and what all services share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import Field

from services.common.settings import ClickHouse, Registry, Section, Telemetry, load
from services.common.words import Target
from services.ledger.core.policy import Registered

Dollars = Decimal


class Ledger(Section):
    """`[ledger]`: where it listens and what it keeps."""

    grpc: str = "127.0.0.1:8084"
    """HOST:PORT."""
    state_dir: Path = Path(".homeward/ledger")
    """Folder for the journal and the spool."""
    spool_rows: int = Field(default=5_000_000, ge=10_000)
    """Legs that may wait for ClickHouse: an hour at 1,400 a second. Then `Record` refuses, and routers keep
    their legs."""
    remember_s: int = Field(default=7 * 24 * 3600, ge=60)
    """For how long a leg that comes again is known as booked: longer than a router may be away."""


class PriceSettings(Section):
    """One entry of `[[prices]]`: a negotiated price, or one that no public list has."""

    provider: str
    """The upstream's provider."""
    model: str
    """The model as its server calls it; `*` matches any text."""
    effective_from: date = date(1970, 1, 1)
    """First day (UTC) on which it holds. The latest that has begun counts."""
    input_usd_per_mtok: Dollars = Field(ge=0)
    """Dollars per million input tokens."""
    output_usd_per_mtok: Dollars = Field(ge=0)
    """Dollars per million output tokens, reasoning included."""
    cached_input_usd_per_mtok: Dollars | None = Field(default=None, ge=0)
    """Dollars per million input tokens read from a cache; default: as input."""
    cache_write_usd_per_mtok: Dollars | None = Field(default=None, ge=0)
    """Dollars per million input tokens written to a cache; default: as input."""
    note: str = ""
    """Where the figure comes from."""


class LedgerConfig(Registry):
    """All that the ledger is told."""

    ledger: Ledger = Ledger()
    clickhouse: ClickHouse = ClickHouse()
    telemetry: Telemetry = Telemetry()
    prices: list[PriceSettings] = []

    def registered(self) -> list[Registered]:
        """What the policy must know of the registered workloads."""
        return [
            Registered(
                workload=name,
                allowed_targets=tuple(sorted(Target[item.upper()] for item in self.data_class(name).targets)),
                allowed_regions=tuple(sorted(self.data_class(name).regions)),
            )
            for name in self.workloads
        ]


def load_ledger(path: Path, environment: Mapping[str, str] = os.environ) -> LedgerConfig:
    """Reads the ledger's sections.

    Raises:
        SettingsError: something is wrong.
    """
    return load(LedgerConfig, *LedgerConfig.model_fields, path=path, environment=environment)
