"""List prices of tables: the same as the book's, row by row, and honest about what can't be known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbook.inventory import pricing
from playbook.inventory.columns import COUNTS, table_of
from playbook.inventory.pricing import PART_NAMES, Pricer
from playbook.inventory.rows import UsageRow
from services.ledger.adapters.prices import PriceList
from services.ledger.config import PriceSettings
from services.ledger.core.pricing import Tokens, price

AT = datetime(2026, 2, 1, tzinfo=UTC)
OWN = [
    PriceSettings(
        provider="acme",
        model="m",
        input_usd_per_mtok=Decimal("0.0375"),
        output_usd_per_mtok=Decimal("0.15"),
        cached_input_usd_per_mtok=Decimal("0.01"),
        batch_factor=Decimal("0.5"),
    ),
    PriceSettings(
        provider="acme",
        model="m",
        effective_from=date(2026, 3, 1),
        input_usd_per_mtok=Decimal(1),
        output_usd_per_mtok=Decimal(2),
    ),
]
PRICES = PriceList(OWN)


def usage(**fields: Any) -> UsageRow:
    row = UsageRow(
        kind="usage",
        line=1,
        start_time=AT,
        end_time=AT,
        provider="acme",
        model="m",
        requests=1,
        input_tokens=0,
        cached_input_tokens=0,
        cache_write_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        row_key=b"k" * 16,
    )
    return replace(row, **fields)


def priced(*rows: UsageRow) -> list[dict[str, Any]]:
    table = Pricer(PRICES).priced(table_of(rows))
    assert isinstance(table, pa.Table)
    return table.to_pylist()


COUNT = st.one_of(st.none(), st.integers(0, 20), st.integers(0, 400_000), st.integers(0, 2**53))
ROWS = st.lists(
    st.builds(
        usage,
        provider=st.sampled_from(["acme", "openai", "anthropic", "google", "nobody", ""]),
        model=st.sampled_from(["m", "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-pro", "deepseek-chat", ""]),
        start_time=st.sampled_from(
            [AT, AT + timedelta(days=27), AT + timedelta(days=28), AT - timedelta(days=900)]
        ),
        batch=st.booleans(),
        input_tokens=COUNT,
        cached_input_tokens=COUNT,
        cache_write_tokens=st.sampled_from([0, 0, 7]),
        output_tokens=COUNT,
        reasoning_tokens=st.sampled_from([0, 0, 3, None]),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=80)
@given(rows=ROWS)
def test_a_table_is_priced_as_the_book_prices_each_leg(rows: list[UsageRow]) -> None:
    rows = [replace(row, end_time=row.start_time) for row in rows]
    for row, found in zip(rows, priced(*rows), strict=True):
        rates = PRICES.rates(row.provider, row.model, row.start_time, batch=row.batch)
        expected = price(Tokens(*(getattr(row, name) for name in COUNTS)), rates)
        if not row.model or not row.provider:
            expected = replace(expected, cost_nanos=None, parts_nanos=None, source="unknown", version="")
        assert found["cost_nanos"] == expected.cost_nanos
        assert (found["price_source"], found["price_version"]) == (expected.source, expected.version)
        parts = [found[name] for name in PART_NAMES]
        assert parts == list(expected.parts_nanos or [None] * 6)
        assert bool(found["unpriced"]) == (expected.cost_nanos is None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model": ""}, pricing.NO_MODEL),
        ({"provider": ""}, pricing.NO_PROVIDER),
        ({"model": "other"}, pricing.NO_PRICE),
        ({"provider": "openai", "model": "gpt-4o", "batch": True}, pricing.NO_BATCH_PRICE),
        ({"output_tokens": None}, pricing.NO_COUNTS),
        ({"unpriced": "audio tokens"}, "audio tokens"),
        ({"provider": "openai", "model": "text-embedding-3-small", "output_tokens": 5}, pricing.NO_RATE),
        ({"start_time": AT, "end_time": AT + timedelta(days=29)}, pricing.CHANGES),
    ],
)
def test_an_unknown_price_is_unknown_and_says_why(fields: dict[str, Any], reason: str) -> None:
    known, found = priced(usage(input_tokens=1000), usage(input_tokens=1000, **fields))
    assert known["cost_nanos"] == 37_500
    assert (found["cost_nanos"], found["price_source"], found["unpriced"]) == (None, "unknown", reason)


def test_a_bucket_of_a_model_with_long_context_prices_is_priced_at_the_base_tier_and_says_so() -> None:
    day = {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "end_time": AT + timedelta(days=1),
        "requests": 90,
        "input_tokens": 1_000_000,
    }
    many, short, long, single = priced(
        usage(**day),
        usage(**day, long_context=False),
        usage(**day, long_context=True),
        usage(**{**day, "requests": 1}),
    )
    base, top = 3_000_000_000, 6_000_000_000
    assert [row["cost_nanos"] for row in (many, short, long, single)] == [base, base, top, top]
    assert many["price_version"].endswith(" base tier")
    assert not any(row["price_version"].endswith(" base tier") for row in (short, long, single))


def test_batch_costs_what_the_settings_say_and_a_bucket_spans_days_of_one_price() -> None:
    once, batch, days = priced(
        usage(input_tokens=4_000_000),
        usage(input_tokens=4_000_000, batch=True),
        usage(input_tokens=4_000_000, end_time=AT + timedelta(days=28)),
    )
    assert (once["cost_nanos"], batch["cost_nanos"], days["cost_nanos"]) == (
        150_000_000,
        75_000_000,
        150_000_000,
    )


@pytest.mark.parametrize(
    ("provider", "model", "cost_nanos"),
    [
        ("acme", "acme/m", 150_000_000),
        ("acme", "acme/acme/m", None),
        ("acme", "other/m", None),
        ("openai", "openai/gpt-4o", 10_000_000_000),
        ("azure", "openai/gpt-4o", None),
    ],
)
def test_a_name_with_its_makers_is_priced_without(provider: str, model: str, cost_nanos: int | None) -> None:
    """Where the maker is who serves it."""
    [found] = priced(usage(provider=provider, model=model, input_tokens=4_000_000))
    assert (found["model"], found["cost_nanos"]) == (model, cost_nanos)


def test_a_price_that_changes_under_the_bare_name_changes_under_the_other_too() -> None:
    """A bucket over it has none."""
    march = datetime(2026, 3, 1, tzinfo=UTC)
    before, after, over = priced(
        usage(model="acme/m", input_tokens=1000, start_time=march - timedelta(days=1), end_time=march),
        usage(model="acme/m", input_tokens=1000, start_time=march, end_time=march + timedelta(days=1)),
        usage(
            model="acme/m",
            input_tokens=1000,
            start_time=march - timedelta(days=1),
            end_time=march + timedelta(1),
        ),
    )
    assert [row["cost_nanos"] for row in (before, after, over)] == [37_500, 1_000_000, None]


def test_rows_of_cost_have_no_list_price() -> None:
    [found] = priced(usage(kind="cost", billed_nanos=5))
    assert (found["cost_nanos"], found["price_source"], found["unpriced"]) == (None, "", "")
