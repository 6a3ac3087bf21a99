"""The ledger's settings: where the journal is, and what a batch costs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from services.ledger.config import load_ledger

PRICE = """
[[prices]]
provider = "openai"
model = "gpt-4o"
input_usd_per_mtok = 2.5
output_usd_per_mtok = 10
"""
SHARED = "postgresql://ledger:secret@db/journal"


@pytest.mark.parametrize(
    ("text", "environment", "url"),
    [
        ("", {}, ""),
        ("", {"HOMEWARD_JOURNAL_URL": SHARED}, SHARED),
        ("", {"HOMEWARD_JOURNAL_URL": ""}, ""),
        ('[ledger]\njournal_url = "sqlite:///a"', {}, "sqlite:///a"),
        ('[ledger]\njournal_url = "sqlite:///a"', {"HOMEWARD_JOURNAL_URL": SHARED}, SHARED),
    ],
)
def test_the_environment_says_where_the_journal_is_before_the_settings_do(
    tmp_path: Path, text: str, environment: dict[str, str], url: str
) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text(text)
    config = load_ledger(file, environment)
    assert config.ledger.journal_url == url
    assert "secret" not in repr(config)


@pytest.mark.parametrize(("line", "factor"), [("", None), ("batch_factor = 0.5", Decimal("0.5"))])
def test_what_a_batch_costs_is_unknown_unless_it_is_said(
    tmp_path: Path, line: str, factor: Decimal | None
) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text(PRICE + line)
    assert load_ledger(file, {}).prices[0].batch_factor == factor
