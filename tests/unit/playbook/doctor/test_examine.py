"""The examination when nothing is there, and when something hangs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.ports import free_ports
from playbook.cli import app
from playbook.doctor import examine as examine_module
from playbook.doctor import read_clickhouse, read_services, read_upstreams
from playbook.doctor.examine import examine
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import Limits

PARTS = ("router", "classifier", "ledger", "shadow", "ClickHouse", "cloud: cloud", "sovereign: home")
SECRET = "sk-very-secret"


def write_settings(folder: Path, ports: dict[str, int]) -> Path:
    """Settings of a house whose parts are at these ports."""
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    file = folder / "homeward.toml"
    file.write_text(
        f"""
[router]
http = "{at["http"]}"
grpc = "{at["router"]}"
classifier = "{at["classifier"]}"
ledger = "{at["ledger"]}"
shadow = "{at["shadow"]}"
[classifier]
grpc = "{at["classifier"]}"
[shadow]
grpc = "{at["shadow"]}"
router = "{at["router"]}"
ledger = "{at["ledger"]}"
[ledger]
grpc = "{at["ledger"]}"
[clickhouse]
url = "http://{at["clickhouse"]}"
password = "p"
[local]
state_dir = "{folder}"
cloud = "127.0.0.1:1"
[upstreams.cloud]
base_url = "http://{at["cloud"]}/v1"
api_key = "{SECRET}"
region = "eu"
models = ["gpt-*"]
[upstreams.home]
target = "sovereign"
protocol = "triton"
region = "eu"
models = ["small"]
[triton.home]
replicas = ["{at["triton"]}"]
model_dir = "{folder / "no-model"}"
[pools.home]
upstreams = ["home"]
"""
    )
    return file


@pytest.fixture
def ports() -> dict[str, int]:
    names = ("http", "router", "classifier", "ledger", "shadow", "clickhouse", "cloud", "triton")
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


def by_part(found: list[Finding]) -> dict[str, list[Finding]]:
    parts: dict[str, list[Finding]] = {}
    for item in found:
        parts.setdefault(item.part, []).append(item)
    return parts


async def test_of_a_house_where_nothing_runs_each_part_is_told(tmp_path: Path, ports: dict[str, int]) -> None:
    told: list[str] = []
    counted: list[int] = []
    found = await examine(write_settings(tmp_path, ports), begun=counted.append, tell=told.append)
    parts = by_part(found)
    for part in PARTS:
        assert State.FAILED in {item.state for item in parts[part]}, part
    assert [item.state for item in parts["journal"]] == [State.UNKNOWN]
    assert [item.state for item in parts["capabilities"]] == [State.UNKNOWN]
    assert all(item.todo for item in found if item.state is not State.OK)
    assert counted == [len(told)]
    assert SECRET not in str(found)


@pytest.mark.parametrize("name", ["router", "ledger", "clickhouse", "cloud", "triton"])
async def test_a_part_that_hangs_is_told_and_holds_up_no_other(
    name: str, tmp_path: Path, ports: dict[str, int], hanging: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is tested is that the limits hold, whatever they are.
    for module, limit in ((read_services, "CALL_S"), (read_clickhouse, "QUERY_S"), (read_upstreams, "ASK_S")):
        monkeypatch.setattr(module, limit, 0.3)
    for limit in ("SERVICE_S", "CLICKHOUSE_S", "UPSTREAM_S", "HOME_S"):
        monkeypatch.setattr(examine_module, limit, 0.8)
    ports[name] = hanging
    ended: list[str] = []
    found = await examine(write_settings(tmp_path, ports), tell=ended.append)
    part = {"clickhouse": "ClickHouse", "cloud": "cloud: cloud", "triton": "sovereign: home"}.get(name, name)
    (item,) = [item for item in by_part(found)[part] if item.check.startswith(("answers", "replica"))]
    assert item.state in (State.FAILED, State.UNKNOWN)
    assert "within" in item.found
    others = set(PARTS) - {part}
    assert others <= set(by_part(found))
    # Of those that are merely down, none had to wait for the one that hangs.
    assert ended.index(part) >= len(others & {"classifier", "shadow"})


async def test_a_check_with_a_defect_takes_no_other_with_it(
    tmp_path: Path, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(examine_module, "read_clickhouse", broken)
    parts = by_part(await examine(write_settings(tmp_path, ports)))
    (item,) = parts["ClickHouse"]
    assert item.state is State.UNKNOWN
    assert "ZeroDivisionError" in item.found
    assert State.FAILED in {item.state for item in parts["ledger"]}


@pytest.mark.parametrize(
    "settings", ["[router]\nhttp = 5\n", "not TOML", None], ids=["wrong", "no TOML", "none"]
)
async def test_wrong_settings_are_told_and_the_rest_is_looked_at(
    settings: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "homeward.toml"
    if settings is not None:
        file.write_text(settings)
    parts = by_part(await examine(file))
    assert {item.state for item in parts["settings"]} == {State.FAILED}
    assert ("--settings FILE" in parts["settings"][0].todo) is (settings is None)
    assert "this machine" in parts


def test_the_command_ends_with_1_and_says_what_to_do_first(tmp_path: Path, ports: dict[str, int]) -> None:
    file = write_settings(tmp_path, ports)
    shown = CliRunner().invoke(app, ["doctor", "--settings", str(file)])
    assert shown.exit_code == 1
    assert shown.output.splitlines()[-1].startswith("Next: ClickHouse, answers: ")
    as_json = CliRunner().invoke(app, ["doctor", "--json", "--settings", str(file)])
    assert as_json.exit_code == 1
    document = json.loads(as_json.stdout)
    assert document["failed"] is True
    assert document["counts"]["failed"] == sum(item["state"] == "failed" for item in document["checks"])
    assert document["next_step"].startswith("ClickHouse, answers: ")
    assert SECRET not in shown.output + as_json.output


async def test_limits_are_arguments(tmp_path: Path, ports: dict[str, int]) -> None:
    full = Limits(disk_failed_bytes=2**62)
    found = await examine(write_settings(tmp_path, ports), limits=full)
    disks = [item for item in by_part(found)["this machine"] if item.check.startswith("disk")]
    assert disks
    assert {item.state for item in disks} == {State.FAILED}
