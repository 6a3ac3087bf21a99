"""Rates: the settings' first, then the public list's, which our integers must agree with."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from services.ledger.adapters.prices import PriceList
from services.ledger.config import PriceSettings
from services.ledger.core.pricing import NANOS_PER_DOLLAR, Tokens, price

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def override(model: str, first: date, dollars: str) -> PriceSettings:
    return PriceSettings(
        provider="openai",
        model=model,
        effective_from=first,
        input_usd_per_mtok=Decimal(dollars),
        output_usd_per_mtok=Decimal(dollars),
    )


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini"),
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("anthropic", "claude-3-5-haiku-latest"),
        ("google", "gemini-2.5-pro"),
        ("mistral", "mistral-large-latest"),
        ("deepseek", "deepseek-chat"),
    ],
)
@pytest.mark.parametrize("counts", [(1000, 0, 500), (1000, 4000, 500), (250_000, 10_000, 3), (1, 0, 1)])
def test_the_cost_is_that_of_genai_prices_to_the_nano_dollar(
    provider: str, model: str, counts: tuple[int, int, int]
) -> None:
    fresh, cached, output = counts
    theirs = calc_price(
        Usage(input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=output),
        model,
        provider_id=provider,
        genai_request_timestamp=NOON,
    ).total_price
    ours = price(Tokens(fresh, cached, 0, output, 0), PriceList([]).rates(provider, model, NOON))
    assert ours.source == "genai-prices"
    assert ours.cost_nanos is not None
    assert abs(Decimal(ours.cost_nanos) - theirs * NANOS_PER_DOLLAR) <= Decimal("0.5")


@pytest.mark.parametrize(
    ("provider", "model"), [("nobody", "gpt-4o"), ("openai", "no-such-model"), ("homeward-stand-in", "x")]
)
def test_a_price_that_nobody_lists_is_unknown(provider: str, model: str) -> None:
    assert PriceList([]).rates(provider, model, NOON) is None


@pytest.mark.parametrize(
    ("at", "version", "base"),
    [
        (datetime(2026, 1, 31, 23, 59, tzinfo=UTC), "genai-prices", None),
        (datetime(2026, 2, 1, tzinfo=UTC), "2026-02-01", 1_000_000_000),
        (datetime(2026, 5, 31, 23, 59, tzinfo=UTC), "2026-02-01", 1_000_000_000),
        (datetime(2026, 6, 1, tzinfo=UTC), "2026-06-01", 2_000_000_000),
    ],
)
def test_the_latest_override_that_has_begun_counts(at: datetime, version: str, base: int | None) -> None:
    prices = PriceList(
        [override("gpt-4o*", date(2026, 2, 1), "1"), override("gpt-4o", date(2026, 6, 1), "2")]
    )
    rates = prices.rates("openai", "gpt-4o", at)
    assert rates is not None
    assert version in (rates.version, rates.source)
    if base is not None:
        assert rates.input is not None
        assert rates.input.base == base
