"""Rates of models: from the settings first, then from the public list of genai-prices."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices

from services.ledger.config import PriceSettings
from services.ledger.core.pricing import NANOS_PER_DOLLAR, Rate, Rates, nanos

_LIST = "genai-prices"


class PriceList:
    """Looks up rates. A lookup of genai-prices takes about 90 µs, so each is kept while it holds."""

    def __init__(self, overrides: Sequence[PriceSettings]) -> None:
        # The latest that has begun counts.
        self._overrides = sorted(overrides, key=lambda item: item.effective_from, reverse=True)
        self._version = version(_LIST)
        self._kept: dict[tuple[str, str, str], Rates | None] = {}

    def rates(self, provider: str, model: str, at: datetime) -> Rates | None:
        """The rates of a provider's model at a time in UTC; None if nobody knows them."""
        # Prices of both sources change at midnight UTC, but for those by the time of day.
        key = (provider, model, at.date().isoformat())
        if key in self._kept:
            return self._kept[key]
        rates = self._from_settings(provider, model, at)
        if rates is None:
            info = _find(provider, model)
            if info is not None:
                rates = _from_list(info.get_prices(at), self._version)
                if not _holds_all_day(info):
                    return rates
        self._kept[key] = rates
        return rates

    def _from_settings(self, provider: str, model: str, at: datetime) -> Rates | None:
        for item in self._overrides:
            if (
                item.provider == provider
                and fnmatch.fnmatchcase(model, item.model)
                and item.effective_from <= at.date()
            ):
                fresh = Rate(nanos(item.input_usd_per_mtok))
                cached, written = item.cached_input_usd_per_mtok, item.cache_write_usd_per_mtok
                output = Rate(nanos(item.output_usd_per_mtok))
                return Rates(
                    source="settings",
                    version=item.effective_from.isoformat(),
                    input=fresh,
                    cached_input=fresh if cached is None else Rate(nanos(cached)),
                    cache_write=fresh if written is None else Rate(nanos(written)),
                    output=output,
                    reasoning=output,
                )
        return None


def _find(provider: str, model: str) -> ModelInfo | None:
    try:
        return get_snapshot().find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return None


def _holds_all_day(info: ModelInfo) -> bool:
    prices = info.prices
    if isinstance(prices, ModelPrice):
        return True
    return all(item.constraint is None or isinstance(item.constraint, StartDateConstraint) for item in prices)


def _from_list(prices: ModelPrice, edition: str) -> Rates:
    values: Mapping[str, Any] = vars(prices)
    fresh, output = _rate(values.get("input_mtok")), _rate(values.get("output_mtok"))
    per_thousand = values.get("requests_kcount")
    return Rates(
        source=_LIST,
        version=edition,
        input=fresh,
        cached_input=_rate(values.get("cache_read_mtok")) or fresh,
        cache_write=_rate(values.get("cache_write_mtok")) or fresh,
        output=output,
        reasoning=_rate(values.get("output_reasoning_mtok")) or output,
        per_request=int(per_thousand * NANOS_PER_DOLLAR / 1000) if per_thousand else 0,
    )


def _rate(value: Decimal | TieredPrices | None) -> Rate | None:
    if value is None:
        return None
    if isinstance(value, TieredPrices):
        return Rate(nanos(value.base), tuple((tier.start, nanos(tier.price)) for tier in value.tiers))
    return Rate(nanos(value))


def utc(seconds: int) -> datetime:
    """A time since the epoch as a datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
