"""What `homeward ledger unknown`, `reprice` and `pools` say before they ask anybody."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from playbook.commands.pools import pools
from playbook.commands.reprice import reprice
from playbook.commands.unknown import price_section, unknown
from services.common.settings import SettingsError
from services.ledger.config import load_ledger


def invoke(command: Callable[..., None], *arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--all"], "--all needs --since"),
        (["--since", "2026-02-01", "--until", "2026-02-01"], "--until must be after --since"),
        (["--since", "yesterday"], "yesterday"),
    ],
)
def test_wrong_usage_of_reprice_ends_with_code_2(arguments: list[str], says: str) -> None:
    code, output = invoke(reprice, *arguments)
    assert code == 2
    assert says in output


@pytest.mark.parametrize("command", [unknown, pools, reprice])
def test_settings_that_are_not_there_are_told_in_a_line(command: Callable[..., None], tmp_path: Path) -> None:
    code, output = invoke(command, "--settings", str(tmp_path / "none.toml"))
    assert code == 1
    assert "none.toml" in output
    assert "Traceback" not in output


def test_a_ledger_that_does_not_answer_is_told_with_what_starts_it(tmp_path: Path) -> None:
    settings = tmp_path / "homeward.toml"
    settings.write_text('[ledger]\ngrpc = "127.0.0.1:9"\n')
    code, output = invoke(reprice, "--settings", str(settings))
    assert code == 1
    assert "no ledger answers at 127.0.0.1:9" in output
    assert "make run" in output


@pytest.mark.parametrize("model", ["gpt-4o", 'odd "name"', "accounts/x/models/y", "back\\slash"])
def test_the_section_to_paste_is_right_once_its_figures_are_filled_in(model: str, tmp_path: Path) -> None:
    settings = tmp_path / "homeward.toml"
    settings.write_text(price_section("acme", model))
    with pytest.raises(SettingsError):
        load_ledger(settings, {})
    filled = price_section("acme", model).replace("?", "0.5")
    assert tomllib.loads(filled)["prices"][0]["model"] == model
    settings.write_text(filled)
    [price] = load_ledger(settings, {}).prices
    assert (price.provider, price.model) == ("acme", model)
