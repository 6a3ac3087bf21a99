"""The `homeward` command."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from typer.testing import CliRunner

from playbook.cli import app

RUN = CliRunner()


def test_a_new_key_is_shown_once_with_its_hash_for_the_settings() -> None:
    done = RUN.invoke(app, ["key", "new", "crm"])
    assert done.exit_code == 0
    secret = re.search(r"^  (hw-\S+)$", done.output, re.MULTILINE)
    digest = re.search(r'sha256 = "([0-9a-f]{64})"', done.output)
    assert secret is not None
    assert digest is not None
    assert hashlib.sha256(secret[1].encode()).hexdigest() == digest[1]
    assert "[keys.crm]" in done.output


def test_a_key_needs_a_plain_name() -> None:
    done = RUN.invoke(app, ["key", "new", "C R M"])
    assert done.exit_code == 2


def test_checking_settings_tells_every_mistake(tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text('[upstreams.a]\nbase_url = "ftp://x"\n[router]\nprocesses = 0\nhtpp = "x"\n')
    done = RUN.invoke(app, ["settings", "check", str(file)])
    assert done.exit_code == 1
    for key in ("upstreams.a.base_url", "router.processes", "router.htpp: unknown key"):
        assert f"{file}: {key}" in done.output


def test_the_shipped_settings_are_right() -> None:
    done = RUN.invoke(app, ["settings", "check"])
    assert done.exit_code == 0, done.output
    assert "Next: `make run`" in done.output
