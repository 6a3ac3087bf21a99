"""Rates: the settings' first, then the public list's, which our integers must agree with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TimeOfDateConstraint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ledger.adapters import prices as module
from services.ledger.adapters.prices import PriceList
from services.ledger.config import PriceSettings
from services.ledger.core.pricing import NANOS_PER_DOLLAR, Tokens, price

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def override(model: str, first: date, dollars: str, batch_factor: str | None = None) -> PriceSettings:
    return PriceSettings(
        provider="openai",
        model=model,
        effective_from=first,
        input_usd_per_mtok=Decimal(dollars),
        output_usd_per_mtok=Decimal(dollars),
        batch_factor=None if batch_factor is None else Decimal(batch_factor),
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


# Periods: rates are resolved once for each, so what a period says must hold at any time of it.

DEPENDS_ON_TIME = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    for model in provider.models
    if (not isinstance(model.prices, ModelPrice) or model.price_variants)
    # A few are not found by their own name.
    and provider.find_model(model.id) is model
]
times = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))


def listed_cost(provider: str, model: str, at: datetime, batch: bool, tokens: Tokens) -> Decimal:
    """What genai-prices says that a call costs, in nano-dollars."""
    fresh, cached, output = tokens.input or 0, tokens.cached_input or 0, tokens.output or 0
    found = calc_price(
        Usage(input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=output),
        model,
        provider_id=provider,
        genai_request_timestamp=at,
        price_context={"processing": "batch"} if batch else None,
    )
    return found.total_price * NANOS_PER_DOLLAR


def texts_only(provider: str, model: str, at: datetime) -> bool:
    """Whether all that the list prices of a model are its tokens."""
    snapshot = get_snapshot()
    info = snapshot.find_provider_model(model, None, provider, None)[1]
    keys = {key for key, value in vars(info.get_prices(at)).items() if value is not None}
    return keys <= {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"}


@settings(max_examples=150)
@given(st.sampled_from(DEPENDS_ON_TIME), times, st.booleans(), st.integers(0, 300_000))
def test_at_any_time_the_cost_is_the_lists(
    pair: tuple[str, str], at: datetime, batch: bool, fresh: int
) -> None:
    provider, model = pair
    if not texts_only(provider, model, at):
        return
    tokens = Tokens(fresh, 1000, 0, 77, 0)
    rates = PriceList([]).rates(provider, model, at, batch=batch)
    if rates is None:
        assert batch
        return
    cost_nanos = price(tokens, rates).cost_nanos
    if cost_nanos is not None:
        assert abs(cost_nanos - listed_cost(provider, model, at, batch, tokens)) <= Decimal("0.5")


@settings(max_examples=100)
@given(st.sampled_from(DEPENDS_ON_TIME), times, st.booleans(), st.integers(0, 10**6))
def test_rates_hold_through_their_whole_period_and_the_next_begins_at_its_end(
    pair: tuple[str, str], at: datetime, batch: bool, offset: int
) -> None:
    held_by = PriceList([override("gpt-4o*", date(2025, 3, 1), "1")]).holding
    unix_s = int(at.timestamp())
    held = held_by(*pair, unix_s, batch=batch)
    assert held.from_unix_s <= unix_s < held.until_unix_s
    first = max(held.from_unix_s, unix_s - 10**8)
    last = min(held.until_unix_s, unix_s + 10**8) - 1
    for inside in (first, last, first + (last - first) * offset // 10**6):
        assert held_by(*pair, inside, batch=batch) == held
    if held.until_unix_s < 2**61:
        assert held_by(*pair, held.until_unix_s, batch=batch).from_unix_s == held.until_unix_s


@pytest.fixture
def listed() -> Iterator[None]:
    """A public list of one model: cheaper at night, across midnight UTC, from 2026 on, and in batches."""

    def cost(dollars: str) -> ModelPrice:
        return ModelPrice(input_mtok=Decimal(dollars), output_mtok=Decimal(dollars))

    night = TimeOfDateConstraint(
        datetime(2026, 1, 1, 22, 30, tzinfo=UTC).timetz(), datetime(2026, 1, 1, 6, tzinfo=UTC).timetz()
    )
    model = ModelInfo(
        id="owl",
        match=ClauseEquals(equals="owl"),
        prices=[
            ConditionalPrice(None, prices=cost("8")),
            ConditionalPrice(StartDateConstraint(date(2026, 1, 1)), prices=cost("6")),
            ConditionalPrice(night, prices=cost("2")),
        ],
        price_variants=[
            PriceVariant({"processing": "batch"}, cost("1"), StartDateConstraint(date(2026, 1, 1)))
        ],
    )
    provider = Provider(id="zoo", name="Zoo", api_pattern="zoo", models=[model])
    set_custom_snapshot(DataSnapshot(providers=[provider], from_auto_update=False))
    yield
    set_custom_snapshot(None)


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("at", "batch", "dollars", "hours"),
    [
        ("2025-12-30T12:00", False, 8, 16.5),
        ("2025-12-31T22:30", False, 2, 1.5),
        ("2026-01-01T00:00", False, 2, 6),
        ("2026-01-01T05:59", False, 2, 6),
        ("2026-01-01T06:00", False, 6, 16.5),
        ("2026-01-01T12:00", True, 1, None),
        ("2025-12-31T12:00", True, None, None),
    ],
)
def test_a_price_by_the_hour_holds_between_its_hours(
    at: str, batch: bool, dollars: int | None, hours: float | None
) -> None:
    begin = datetime.fromisoformat(at).replace(tzinfo=UTC)
    held = PriceList([]).holding("zoo", "owl", int(begin.timestamp()), batch=batch)
    base = held.rates.input.base if held.rates is not None and held.rates.input is not None else None
    assert base == (None if dollars is None else dollars * NANOS_PER_DOLLAR)
    if hours is not None:
        assert timedelta(seconds=held.until_unix_s - held.from_unix_s) == timedelta(hours=hours)


def test_a_row_says_which_edition_of_the_list_it_was_priced_with() -> None:
    rates = PriceList([]).rates("openai", "gpt-4o-mini", NOON)
    assert rates is not None
    assert (rates.source, rates.version) == ("genai-prices", version("genai-prices"))


@pytest.mark.parametrize(("factor", "nanos"), [(None, None), ("0.5", 500_000_000), ("0", 0)])
def test_a_negotiated_price_of_batches_is_unknown_unless_its_factor_is_set(
    factor: str | None, nanos: int | None
) -> None:
    prices = PriceList([override("gpt-4o", date(2026, 1, 1), "1", factor)])
    rates = prices.rates("openai", "gpt-4o", NOON, batch=True)
    found = None if rates is None or rates.input is None else rates.input.base
    assert found == nanos
    usual = prices.rates("openai", "gpt-4o", NOON)
    assert usual is not None
    assert usual.input is not None
    assert usual.input.base == 1_000_000_000


def test_each_model_is_looked_up_once_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def found(provider: str, model: str) -> ModelInfo | None:
        asked.append(model)
        return None

    monkeypatch.setattr(module, "_find", found)
    monkeypatch.setattr(module, "_KEPT_MODELS", 2)
    prices = PriceList([])
    for model in ("a", "b", "a", "a", "c", "a", "b"):
        prices.holding("nobody", model, 0)
        prices.holding("nobody", model, 10**9)
    # `b` had gone when it was asked for again: `a` was used since.
    assert asked == ["a", "b", "c", "b"]


def test_names_that_nobody_lists_do_not_pile_up_in_the_list() -> None:
    snapshot = get_snapshot()
    before = len(snapshot._provider_cache) + len(snapshot._provider_misses) + len(snapshot._lookup_cache)
    prices = PriceList([])
    for number in range(20):
        assert prices.rates("openai", f"no-such-model-{number}", NOON) is None
    assert (
        len(snapshot._provider_cache) + len(snapshot._provider_misses) + len(snapshot._lookup_cache) == before
    )
