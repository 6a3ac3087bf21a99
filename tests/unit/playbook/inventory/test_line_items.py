"""What lines of a bill are for."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from playbook.inventory.line_items import booked_as, model_and_class, tokens, undated


@pytest.mark.parametrize(
    ("line_item", "expected"),
    [
        ("gpt-4o-2024-08-06, input", ("gpt-4o-2024-08-06", "input")),
        ("gpt-5.5-2026-04-23, cached input", ("gpt-5.5-2026-04-23", "cached_input")),
        ("gpt-5.6-sol, cache writes", ("gpt-5.6-sol", "cache_write")),
        ("gpt-4.1-2025-04-14, output", ("gpt-4.1-2025-04-14", "output")),
        ("priority | gpt-5.6-sol, output, long context", ("gpt-5.6-sol", "output")),
        ("batch | gpt-4o-mini-2024-07-18, cached input", ("gpt-4o-mini-2024-07-18", "cached_input")),
        ("ft-gpt-4o-2024-08-06, input", ("ft-gpt-4o-2024-08-06", "input")),
        ("GPT-4o , Input", ("", "other")),
        ("gpt-audio-mini-2025-12-15 audio, input", ("gpt-audio-mini-2025-12-15", "other")),
        ("gpt-audio-mini-2025-12-15 text, input", ("gpt-audio-mini-2025-12-15", "input")),
        ("gpt-image-2.5-sunburst text, cached input", ("gpt-image-2.5-sunburst", "cached_input")),
        ("gpt-4o-audio-preview, audio input", ("gpt-4o-audio-preview", "other")),
        ("whisper-1, audio", ("whisper-1", "other")),
        ("web search tool calls", ("", "other")),
        ("Vector storage", ("", "other")),
        ("Claude Sonnet 4 Usage, Input Tokens", ("", "other")),
        ("", ("", "other")),
    ],
)
def test_a_line_item_names_model_and_class(line_item: str, expected: tuple[str, str]) -> None:
    """In every form that was seen."""
    assert model_and_class(line_item) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-1106-preview", "gpt-4-1106-preview"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-3-5-sonnet@20241022", "claude-3-5-sonnet"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "anthropic.claude-3-5-sonnet-20241022"),
        ("ft:gpt-4o-2024-08-06:acme::abc", "ft-gpt-4o"),
        ("ft-gpt-4o-2024-08-06", "ft-gpt-4o"),
        ("o3", "o3"),
    ],
)
def test_a_snapshot_has_a_name_without_its_date(model: str, expected: str) -> None:
    """And what is no date stays."""
    assert undated(model) == expected


@pytest.mark.parametrize(
    ("model", "booked", "expected"),
    [
        ("gpt-4o-2024-08-06", {"gpt-4o", "gpt-4o-mini"}, "gpt-4o"),
        ("gpt-4o-2024-08-06", {"gpt-4o-2024-08-06", "gpt-4o-2024-05-13"}, "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-08-06", {"gpt-4o-2024-08-06", "gpt-4o"}, "gpt-4o"),
        ("gpt-4o-2024-11-20", {"gpt-4o-2024-08-06"}, "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-11-20", {"gpt-4o-2024-08-06", "gpt-4o-2024-05-13"}, "gpt-4o-2024-11-20"),
        ("gpt-4o-mini-2024-07-18", {"gpt-4o"}, "gpt-4o-mini-2024-07-18"),
        ("ft-gpt-4o-2024-08-06", {"ft:gpt-4o-2024-08-06:acme::abc"}, "ft:gpt-4o-2024-08-06:acme::abc"),
        ("o3", set(), "o3"),
    ],
)
def test_a_billed_model_is_found_in_the_book(model: str, booked: set[str], expected: str) -> None:
    """By its name, else by its name without the date if that names one."""
    assert booked_as(model, booked) == expected


@pytest.mark.parametrize(
    ("quantity", "unit", "token_class", "expected"),
    [
        ("1200", "", "input", 1200),
        ("1200", "tokens", "input", 1200),
        ("1.2", "1K tokens", "output", 1200),
        ("0.0012", "1M Tokens", "output", 1200),
        ("1.5", "Million tokens", "input", 1_500_000),
        ("7", "requests", "request", 7),
        ("7", "requests", "input", None),
        ("3", "GB", "input", None),
        ("3", "", "other", None),
        (None, "tokens", "input", None),
    ],
)
def test_quantities_are_tokens_if_their_unit_says_so(
    quantity: str | None, unit: str, token_class: str, expected: int | None
) -> None:
    """Else unknown, which is not zero."""
    found = tokens(None if quantity is None else Decimal(quantity), unit, token_class)
    assert found == (None if expected is None else Fraction(expected))
