"""The secrets of `make run`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from deploy.local.state import State


def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    state = State(tmp_path)
    made = state.secrets()
    state.close()
    again = State(tmp_path)
    assert again.secrets() == made
    again.close()
    assert len({made.api_key, made.shadow_key, made.clickhouse_password, made.analyst_password}) == 4
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_file_of_an_earlier_version_gets_the_key_that_it_lacks_and_keeps_the_others(tmp_path: Path) -> None:
    older = {"api_key": "hw-old", "clickhouse_password": "writer", "analyst_password": "reader"}
    (tmp_path / "secrets.json").write_text(json.dumps(older))
    state = State(tmp_path)
    made = state.secrets()
    assert made.api_key == "hw-old"
    assert made.shadow_key.startswith("hw-")
    assert state.secrets() == made
    assert json.loads((tmp_path / "secrets.json").read_text()) == {**older, "shadow_key": made.shadow_key}
    state.close()
