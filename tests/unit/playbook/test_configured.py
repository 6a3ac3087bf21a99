"""What commands read of the settings without their services' code, and the names that users may mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from deploy.local.config import LocalConfig
from playbook.configured import Places, configured
from playbook.known import data_classes, did_you_mean, workloads
from playbook.stopped import answering


def test_the_places_are_those_of_the_services() -> None:
    short, whole = Places(), LocalConfig()
    for name in ("classifier", "ledger", "router", "shadow"):
        assert getattr(short, name).grpc == getattr(whole, name).grpc
    assert short.local.state_dir == whole.local.state_dir


def test_what_else_a_section_has_is_its_services_to_check(tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text('[ledger]\ngrpc = "there:1"\nspool_bytes = "many"\n')
    assert configured(Places, file).ledger.grpc == "there:1"


@pytest.mark.parametrize(
    ("text", "message", "details", "step"),
    [
        (None, "no such file", 0, "go to the folder that has it"),
        ("[ledger", "not valid TOML", 0, "mend it"),
        ('[legder]\ngrpc = "x"\n', "legder: unknown section", 0, "mend it"),
        ('[ledger]\ngprc = "x"\n', "did you mean grpc?", 0, "mend it"),
        ("[ledger]\ngrpc = 1\n[shadow]\ngrpc = 2\n", "the settings have 2 mistakes", 2, "settings check"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    message: str,
    details: int,
    step: str,
) -> None:
    file = tmp_path / "homeward.toml"
    if text is not None:
        file.write_text(text)
    with answering(as_json=True), pytest.raises(typer.Exit) as stopped:
        configured(Places, file)
    assert stopped.value.exit_code == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["reason"] == "SETTINGS_WRONG"
    assert message in error["message"]
    assert len(error["details"]) == details
    assert step in error["next_step"]


def test_names_are_those_of_the_settings_while_the_classifier_is_away(tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text(
        '[classifier]\ngrpc = "127.0.0.1:9"\n[workloads.triage]\nowner = "care"\n[data_classes.health]\n'
    )
    assert workloads(file) == ["triage"]
    assert data_classes(file) == ["health", "unrestricted"]
    assert workloads(tmp_path / "none.toml") == []
    assert data_classes(tmp_path / "none.toml") == []


def test_a_name_that_is_nearly_one_is_told() -> None:
    assert did_you_mean("traige", ["minutes", "triage"]) == "; did you mean triage?"
    assert did_you_mean("xyzzy", ["minutes", "triage"]) == ""
