"""What each part of `make run` is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.config import load_local
from deploy.local.parts import SHADOW_KEY, build
from deploy.local.state import Secrets
from services.ledger.config import JOURNAL_URL

SECRETS = Secrets(
    api_key="hw-test", clickhouse_password="writer", analyst_password="reader", shadow_key="hw-shadow"
)


def test_only_the_ledger_is_told_where_the_journal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOURNAL_URL, "postgresql://homeward:secret@127.0.0.1/journal")
    file = Path("homeward.toml")
    config = load_local(file, {"HOMEWARD_KEYS__DEMO__SHA256": SECRETS.api_key_sha256})
    parts = build(config, SECRETS, file, tmp_path, "http://127.0.0.1:1")
    assert [part.name for part in parts if JOURNAL_URL in part.environment] == ["ledger"]


def test_only_shadow_has_its_key_and_the_others_have_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHADOW_KEY, "hw-of-the-shell")
    file = Path("homeward.toml")
    parts = build(load_local(file), SECRETS, file, tmp_path, "http://127.0.0.1:1")
    told = {part.name: part.environment.get(SHADOW_KEY) for part in parts}
    assert told == {**dict.fromkeys(told), "shadow": "hw-shadow"}
    router = next(part for part in parts if part.name == "router")
    assert router.environment["HOMEWARD_KEYS__SHADOW__SHA256"] == SECRETS.shadow_key_sha256
