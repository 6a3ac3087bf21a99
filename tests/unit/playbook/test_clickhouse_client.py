"""Who the commands are to ClickHouse: an analyst or the services' user, of the settings or of `make run`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from deploy.local.ports import free_ports
from playbook.clickhouse_client import first_line, read_store, reader, write_store, writer
from services.common.settings import ClickHouse

TOLD = ClickHouse(url="http://there:8123", user="homeward", password="told")
UNTOLD = ClickHouse(url="http://there:8123", user="homeward")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What `make run` leaves for programs."""
    endpoints = {
        "clickhouse_url": "http://here:8123",
        "clickhouse_user": "analyst",
        "clickhouse_password": "reads",
    }
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    (tmp_path / "secrets.json").write_text(json.dumps({"clickhouse_password": "writes"}))
    return tmp_path


def test_a_password_that_is_told_goes_before_all(state: Path) -> None:
    """As the services are told."""
    assert read_store(TOLD, state) == TOLD
    assert write_store(TOLD, state) == TOLD


def test_of_make_run_one_reads_as_an_analyst_and_writes_as_the_services(state: Path) -> None:
    """Where it runs."""
    assert read_store(UNTOLD, state) == ClickHouse(url="http://here:8123", user="analyst", password="reads")
    assert write_store(UNTOLD, state) == ClickHouse(
        url="http://here:8123", user="homeward", password="writes"
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"clickhouse_url": 1}'])
def test_files_that_are_none_of_make_run_are_passed_over(tmp_path: Path, text: str) -> None:
    """Then the settings count."""
    (tmp_path / "endpoints.json").write_text(text)
    assert read_store(UNTOLD, tmp_path) == UNTOLD


def test_without_files_the_settings_count(tmp_path: Path) -> None:
    """Without a password."""
    assert read_store(UNTOLD, tmp_path) == UNTOLD
    assert write_store(UNTOLD, tmp_path) == UNTOLD


@pytest.mark.parametrize("client", [reader, writer])
def test_a_server_that_is_away_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], client: type
) -> None:
    """With what to do."""
    (port,) = free_ports(1)
    settings = tmp_path / "homeward.toml"
    settings.write_text(f'[clickhouse]\nurl = "http://127.0.0.1:{port}"\npassword = "x"\n')
    with pytest.raises(typer.Exit) as stopped:
        client(settings)
    assert stopped.value.exit_code == 1
    told = capsys.readouterr().err
    problem, step = told.splitlines()
    assert problem == f"ClickHouse at http://127.0.0.1:{port} does not answer: Connection refused"
    assert step.startswith("Next: start everything with `make run`")


def test_the_first_line_of_an_error_is_enough() -> None:
    """An empty one is named by its kind."""
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError("")) == "ValueError"
