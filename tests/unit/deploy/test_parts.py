"""What each part of `make run` is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.config import load_local
from deploy.local.parts import build
from deploy.local.state import Secrets
from services.ledger.config import JOURNAL_URL

SECRETS = Secrets(api_key="hw-test", clickhouse_password="writer", analyst_password="reader")


def test_only_the_ledger_is_told_where_the_journal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOURNAL_URL, "postgresql://homeward:secret@127.0.0.1/journal")
    file = Path("homeward.toml")
    config = load_local(file, {"HOMEWARD_KEYS__DEMO__SHA256": SECRETS.api_key_sha256})
    parts = build(config, SECRETS, file, tmp_path, "http://127.0.0.1:1")
    assert [part.name for part in parts if JOURNAL_URL in part.environment] == ["ledger"]
