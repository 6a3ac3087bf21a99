"""The ledger's settings: `[ledger]`, `[[prices]]`, and what all services share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import Field

from services.common.settings import Budget, ClickHouse, Name, Registry, Section, Telemetry, load
from services.common.words import Target
from services.ledger.core.policy import Registered

Dollars = Decimal

JOURNAL_URL = "HOMEWARD_JOURNAL_URL"


class Ledger(Section):
    """`[ledger]`: where it listens and what it keeps."""

    grpc: str = "127.0.0.1:8084"
    """HOST:PORT."""
    state_dir: Path = Path(".homeward/ledger")
    """Folder for the journal and the spool."""
    journal_url: str = Field(default="", repr=False)
    """`postgresql://USER:PASSWORD@HOST/NAME` of a journal that several ledgers share; better in the
    environment: HOMEWARD_JOURNAL_URL. Empty: `journal.sqlite` in `state_dir`, for one ledger."""
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
    batch_factor: Dollars | None = Field(default=None, ge=0)
    """What a call of the provider's batch API costs, as a part of these prices: 0.5 at most providers. Left
    out: unknown."""
    note: str = ""
    """Where the figure comes from."""


class PoolSettings(Section):
    """`[pools.NAME]`: GPUs of the organisation's own, and what they cost whether they serve or not."""

    upstreams: list[Name] = Field(min_length=1)
    """The upstreams that run on it."""
    gpus: int = Field(default=1, ge=0)
    """How many; the figures below are for all of them together. 0: it runs on CPUs."""
    hardware_usd: Dollars = Field(default=Decimal(0), ge=0)
    """Dollars that the servers cost when they were bought."""
    life_years: Dollars = Field(default=Decimal(4), gt=0)
    """Years over which `hardware_usd` is written off, in equal parts."""
    power_watts: Dollars = Field(default=Decimal(0), ge=0)
    """Watts that the servers draw on average."""
    pue: Dollars = Field(default=Decimal("1.3"), ge=1)
    """Power usage effectiveness: watts of the building for each watt of the servers."""
    usd_per_kwh: Dollars = Field(default=Decimal(0), ge=0)
    """Dollars a kilowatt-hour."""
    hosting_usd_per_month: Dollars = Field(default=Decimal(0), ge=0)
    """Dollars a month for space, network and support, or for rented GPUs."""
    people_usd_per_month: Dollars = Field(default=Decimal(0), ge=0)
    """Dollars a month for those who run it."""
    output_weight: Dollars = Field(default=Decimal(4), gt=0)
    """How many input tokens one output token is worth: prices of hosted open models differ by 1 to 5."""
    period_s: int = Field(default=3600, ge=10, le=86_400)
    """Seconds of a period. Its cost is spread over the legs that began in it."""
    settle_s: int = Field(default=300, ge=1)
    """Seconds after its end at which a period is closed: most late legs are there by then. Later ones make
    it close again."""


class LedgerConfig(Registry):
    """All that the ledger is told."""

    ledger: Ledger = Ledger()
    clickhouse: ClickHouse = ClickHouse()
    telemetry: Telemetry = Telemetry()
    prices: list[PriceSettings] = []
    pools: dict[Name, PoolSettings] = {}
    """GPU pools by name."""
    budgets: dict[Name, Budget] = {}
    """Budgets by name."""

    def model_post_init(self, context: Any) -> None:
        """Checks that no upstream runs on two pools."""
        super().model_post_init(context)
        pool_of: dict[str, str] = {}
        for name, pool in self.pools.items():
            for upstream in pool.upstreams:
                if upstream in pool_of:
                    raise ValueError(
                        f"pools.{name}.upstreams: expected upstreams of no other pool, got {upstream!r},"
                        f" which runs on {pool_of[upstream]!r} too"
                    )
                pool_of[upstream] = name

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
    """Reads the ledger's sections; HOMEWARD_JOURNAL_URL replaces `ledger.journal_url`.

    Raises:
        SettingsError: something is wrong.
    """
    config = load(LedgerConfig, *LedgerConfig.model_fields, path=path, environment=environment)
    url = environment.get(JOURNAL_URL)
    if not url:
        return config
    return config.model_copy(update={"ledger": config.ledger.model_copy(update={"journal_url": url})})
