"""The `homeward` command."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playbook.cli import PAGES, app

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


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_there_and_has_help(name: str) -> None:
    done = RUN.invoke(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert name in RUN.invoke(app, ["--help"]).output


def test_a_rollback_waits_for_no_page_but_its_own() -> None:
    """In a process of its own, since imports stay."""
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom playbook.cli import app\n"
        "assert CliRunner().invoke(app, ['rollback', '--help']).exit_code == 0\n"
        "heavy = {'sqlalchemy', 'clickhouse_connect', 'pyarrow', 'matplotlib', 'onnxruntime'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
