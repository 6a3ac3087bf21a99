"""Rates of models: from the settings first, then from the public list of genai-prices.

A look-up in genai-prices takes about 90 µs. So the rates of a model are resolved once for each period in
which they hold: between the days on which a price begins and, where a price depends on the hour, between
those times of the day.
"""

from __future__ import annotations

import fnmatch
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from services.ledger.config import PriceSettings
from services.ledger.core.booking import Holding
from services.ledger.core.pricing import Rate, Rates, nanos

_LIST = "genai-prices"
_BATCH = {"processing": "batch"}
"""What genai-prices calls the price of a batch call."""
_KEPT_MODELS = 4096
"""Models whose rates are kept: all that the list has, with room for names that nobody lists."""
_DAY_S = 86_400
_EPOCH = date(1970, 1, 1)
_BEGIN_S = -(2**62)
_END_S = 2**62


class PriceList:
    """Looks up rates. Thread-safe."""

    def __init__(self, overrides: Sequence[PriceSettings]) -> None:
        # The latest that has begun counts.
        self._overrides = sorted(overrides, key=lambda item: item.effective_from, reverse=True)
        self._version = version(_LIST)
        self._kept: OrderedDict[tuple[str, str, bool], _Schedule] = OrderedDict()
        self._lock = threading.Lock()

    def rates(self, provider: str, model: str, at: datetime, *, batch: bool = False) -> Rates | None:
        """The rates of a provider's model at a time in UTC; None if nobody knows them.

        Args:
            provider: as the settings of the upstream, or an export, call it.
            model: as its server calls it.
            at: when the request was made.
            batch: of the provider's batch API. Unknown where only the usual price is listed.
        """
        return self.holding(provider, model, int(at.timestamp() // 1), batch=batch).rates

    def holding(self, provider: str, model: str, unix_s: int, *, batch: bool = False) -> Holding:
        """The same, with the period in which they hold."""
        key = (provider, model, batch)
        with self._lock:
            schedule = self._kept.get(key)
            if schedule is None:
                schedule = self._kept[key] = self._schedule(provider, model, batch)
                if len(self._kept) > _KEPT_MODELS:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(key)
        return schedule.at(unix_s)

    def _schedule(self, provider: str, model: str, batch: bool) -> _Schedule:
        overrides = [
            item
            for item in self._overrides
            if item.provider == provider and fnmatch.fnmatchcase(model, item.model)
        ]
        info = _find(provider, model)
        days, seconds = _changes(info)
        days |= {item.effective_from for item in overrides}

        def rates(day: date, second: int) -> Rates | None:
            for item in overrides:
                if item.effective_from <= day:
                    return _from_settings(item, batch)
            if info is None:
                return None
            at = datetime.combine(day, time(second // 3600, second // 60 % 60, second % 60), UTC)
            return _from_list(info, at, batch, self._version)

        begins = sorted(days | {date.min})
        parts = sorted(seconds | {0})
        return _Schedule(
            begins_s=[_begin_s(day) for day in begins],
            parts_s=parts,
            rates=[[rates(day, second) for second in parts] for day in begins],
        )


@dataclass(frozen=True, slots=True)
class _Schedule:
    """The rates of a model for all times."""

    begins_s: list[int]
    """Ascending: the midnights at which something changes, the first before all times."""
    parts_s: list[int]
    """Ascending: the seconds of a day at which something changes; the first is 0."""
    rates: list[list[Rates | None]]
    """For each begin and each part."""

    def at(self, unix_s: int) -> Holding:
        row = bisect_right(self.begins_s, unix_s) - 1
        from_s = self.begins_s[row]
        until_s = self.begins_s[row + 1] if row + 1 < len(self.begins_s) else _END_S
        rates = self.rates[row]
        if all(item == rates[0] for item in rates):
            return Holding(from_s, until_s, rates[0])
        midnight = unix_s - unix_s % _DAY_S
        part = bisect_right(self.parts_s, unix_s - midnight) - 1
        until = self.parts_s[part + 1] if part + 1 < len(self.parts_s) else _DAY_S
        return Holding(midnight + self.parts_s[part], midnight + until, rates[part])


def _find(provider: str, model: str) -> ModelInfo | None:
    # A snapshot remembers each name that it was ever asked for; this one is forgotten with them.
    snapshot = DataSnapshot(providers=get_snapshot().providers, from_auto_update=False)
    try:
        found, info = snapshot.find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    if any(info is item for item in found.models):
        return info
    # Another provider's model: its usual price stands in, its variants do not (genai-prices, `calc_price`).
    return ModelInfo(id=info.id, match=info.match, prices=info.prices)


def _changes(info: ModelInfo | None) -> tuple[set[date], set[int]]:
    """The days, and the seconds of a day in UTC, at which a model's prices may change."""
    days: set[date] = set()
    seconds: set[int] = set()
    if info is None:
        return days, seconds
    prices = [] if isinstance(info.prices, ModelPrice) else info.prices
    for item in (*prices, *(info.price_variants or ())):
        constraint = item.constraint
        if isinstance(constraint, StartDateConstraint):
            days.add(constraint.start_date)
        elif isinstance(constraint, TimeOfDateConstraint):
            seconds |= {_second(constraint.start_time), _second(constraint.end_time)}
    return days, seconds


def _second(at: time) -> int:
    aware = datetime.combine(_EPOCH, at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    return aware.hour * 3600 + aware.minute * 60 + aware.second


def _begin_s(day: date) -> int:
    return (day - _EPOCH).days * _DAY_S if day > date.min else _BEGIN_S


def _from_settings(item: PriceSettings, batch: bool) -> Rates | None:
    if batch and item.batch_factor is None:
        return None
    factor = item.batch_factor if batch and item.batch_factor is not None else Decimal(1)

    def rate(usd_per_mtok: Decimal) -> Rate:
        return Rate(nanos(usd_per_mtok * factor))

    fresh, output = rate(item.input_usd_per_mtok), rate(item.output_usd_per_mtok)
    cached, written = item.cached_input_usd_per_mtok, item.cache_write_usd_per_mtok
    return Rates(
        source="settings",
        version=item.effective_from.isoformat(),
        input=fresh,
        cached_input=fresh if cached is None else rate(cached),
        cache_write=fresh if written is None else rate(written),
        output=output,
        reasoning=output,
    )


def _from_list(info: ModelInfo, at: datetime, batch: bool, edition: str) -> Rates | None:
    if batch and not any(
        variant.when == _BATCH and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    ):
        return None
    values: dict[str, Any] = vars(info.get_prices(at, _BATCH if batch else None))
    fresh, output = _rate(values.get("input_mtok")), _rate(values.get("output_mtok"))
    per_thousand: Decimal | None = values.get("requests_kcount")
    return Rates(
        source=_LIST,
        version=edition,
        input=fresh,
        cached_input=_rate(values.get("cache_read_mtok")) or fresh,
        cache_write=_rate(values.get("cache_write_mtok")) or fresh,
        output=output,
        reasoning=_rate(values.get("output_reasoning_mtok")) or output,
        per_request=nanos(per_thousand / 1000) if per_thousand else 0,
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
