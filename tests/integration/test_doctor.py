"""`homeward doctor` on a real house: when all is well, and when one thing is not.

Each test of a fault mends it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.httputil import default_pool_manager

from deploy.local.state import write_private
from playbook.doctor.examine import examine
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import Limits
from playbook.doctor.read_settings import read_settings
from tests.support.analyst_rows import writer
from tests.support.stack import HOME, SECRETS, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

APP_KEY = "hw-test-app"
SETTINGS = f"""
[keys.demo]
sha256 = "{SECRETS.api_key_sha256}"
scopes = ["approvals"]

[keys.app]
sha256 = "{hashlib.sha256(APP_KEY.encode()).hexdigest()}"

[pools.home]
upstreams = ["home"]
gpus = 0
"""
Examine = Callable[..., Any]


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A house with a model at home, and what `make run` writes for commands."""
    async with Stack(tmp_path_factory.mktemp("doctor"), HOME + SETTINGS) as running:
        folder = running.folder
        write_private(folder / "secrets.json", json.dumps(asdict(SECRETS)))
        endpoints = {
            "api_key": SECRETS.api_key,
            "clickhouse_url": f"http://127.0.0.1:{running.ports['clickhouse']}",
            "clickhouse_user": "analyst",
            "clickhouse_password": SECRETS.analyst_password,
        }
        write_private(folder / "endpoints.json", json.dumps(endpoints))
        await running.start(
            "clickhouse", "ledger", "classifier", "shadow", "stand-in-cloud", "triton", "router"
        )
        await running.has_tables()
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


async def found(house: Stack, environment: Mapping[str, str] | None = None, **more: Any) -> list[Finding]:
    """What the doctor finds, as somebody with only this environment."""
    file = more.pop("file", house.settings_file)
    read = await asyncio.to_thread(read_settings, file, environment or {})
    return await examine(file, read=read, **more)


def not_well(findings: list[Finding]) -> set[tuple[str, str]]:
    """Part and check of all that is not ok."""
    return {(item.part, item.check) for item in findings if item.state is not State.OK}


def one(findings: list[Finding], part: str, check: str) -> Finding:
    """The line of a check."""
    (item,) = [item for item in findings if (item.part, item.check) == (part, check)]
    return item


async def test_in_a_house_that_is_well_only_the_probes_are_missing(house: Stack) -> None:
    findings = await found(house)
    assert not_well(findings) == {("capabilities", "probes")}
    for name in ("router", "classifier", "ledger", "shadow"):
        checks = {item.check for item in findings if item.part == name}
        assert {"answers", "version", "clock", f"disk: {name}.state_dir"} <= checks
    assert one(findings, "router", "policy").found.endswith("as the ledger's")
    assert one(findings, "ClickHouse", "analyst").found == "'analyst' reads, and may not write"
    assert (
        "a token from version 1, 2"
        in one(findings, "sovereign: home", f"replica 127.0.0.1:{house.ports['triton']}").found
    )


async def test_probes_ask_the_models_and_are_booked(house: Stack) -> None:
    findings = await found(house, probe=True)
    capabilities = [item for item in findings if item.part == "capabilities"]
    assert {item.check.partition(":")[0] for item in capabilities} == {"small-llama", "small-llama-degraded"}
    able = one(findings, "capabilities", "small-llama")
    assert able.state is State.OK
    assert "context_length" in able.found
    assert "streaming_usage" in able.found
    legs = await house.legs(10, "purpose, target, upstream", "purpose = 'probe'")
    assert {(leg["target"], leg["upstream"]) for leg in legs} == {("sovereign", "home")}


async def test_an_applications_key_may_neither_probe_nor_see_folders(house: Stack, tmp_path: Path) -> None:
    # Where there is no state folder, there is no other key than that of who asks.
    file = tmp_path / "homeward.toml"
    file.write_text(house.settings_file.read_text().replace(f'"{house.folder}"', f'"{tmp_path}"'))
    environment = {
        "HOMEWARD_API_KEY": APP_KEY,
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.clickhouse_password,
    }
    findings = await found(house, environment, probe=True, file=file)
    assert one(findings, "router", "version").state is State.OK
    assert one(findings, "router", "disk and queues").state is State.UNKNOWN
    refused = one(findings, "capabilities", "small-llama: probes")
    assert refused.state is State.UNKNOWN
    assert "experiments" in refused.found


async def test_who_has_no_key_or_a_wrong_one_is_told(house: Stack, tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text(house.settings_file.read_text().replace(f'"{house.folder}"', f'"{tmp_path}"'))
    for environment, words in (({}, "without a key"), ({"HOMEWARD_API_KEY": "hw-wrong"}, "know the key")):
        findings = await found(house, environment, file=file)
        assert words in one(findings, "router", "version").found
        # Nor has this one the password of ClickHouse.
        refused = one(findings, "ClickHouse", "answers")
        assert refused.state is State.FAILED
        assert "HOMEWARD_CLICKHOUSE__PASSWORD" in refused.todo


async def test_a_command_that_only_reads_looks_at_what_it_may(house: Stack) -> None:
    environment = {
        "HOMEWARD_CLICKHOUSE__USER": "analyst",
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.analyst_password,
    }
    findings = await found(house, environment)
    assert one(findings, "ClickHouse", "migrations").state is State.OK
    assert one(findings, "ClickHouse", "batches count once").state is State.OK
    assert one(findings, "ClickHouse", "analyst").state is State.OK
    assert one(findings, "ClickHouse", "disk").state is State.UNKNOWN


async def test_a_cloud_without_its_key_is_told_from_one_that_is_away(house: Stack, tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    text = house.settings_file.read_text()
    file.write_text(text.replace('api_key = "sk-upstream-secret"', ""))
    refused = one(await found(house, file=file), "cloud: cloud", "answers")
    assert (refused.state, "settings name none" in refused.found) == (State.FAILED, True)
    file.write_text(text.replace(f"{house.cloud}/v1", f"{house.cloud}/v7"))
    lost = one(await found(house, file=file), "cloud: cloud", "answers")
    assert (lost.state, "404" in lost.found) == (State.WARNING, True)


@pytest.mark.parametrize(("skew_s", "state"), [(10, State.WARNING), (-90, State.FAILED)])
async def test_a_skew_that_all_show_is_this_machines(house: Stack, skew_s: int, state: State) -> None:
    findings = await found(house, now_ns=lambda: time.time_ns() + skew_s * 10**9)
    clocks = [item for item in findings if item.check == "clock"]
    assert len(clocks) == 6
    assert {item.state for item in clocks} == {state}
    assert "this machine's clock" in one(findings, "ledger", "clock").todo


async def test_full_disks_are_told_of_each_part(house: Stack) -> None:
    findings = await found(house, limits=Limits(disk_failed_bytes=2**62))
    disks = {item.part for item in findings if item.check.startswith("disk: ")}
    assert disks == {"router", "classifier", "ledger", "shadow", "ClickHouse", "this machine"}
    assert {item.state for item in findings if item.check.startswith("disk: ")} == {State.FAILED}


async def test_a_migration_that_is_missing_is_named(house: Stack) -> None:
    def run(statement: str) -> None:
        with writer(house) as client:
            client.command(statement, settings={"mutations_sync": 1})

    await asyncio.to_thread(run, "CREATE TABLE homeward.kept AS homeward.schema_migrations")
    await asyncio.to_thread(run, "INSERT INTO homeward.kept SELECT * FROM homeward.schema_migrations")
    await asyncio.to_thread(run, "ALTER TABLE homeward.schema_migrations DELETE WHERE number = 3")
    try:
        missing = one(await found(house), "ClickHouse", "migrations")
        assert missing.state is State.FAILED
        assert "0003_classifier" in missing.found
        assert "services.ledger" in missing.todo
        await asyncio.to_thread(
            run, "INSERT INTO homeward.schema_migrations (number, name, sha256) VALUES (3, 'other', 'x')"
        )
        assert "another text" in one(await found(house), "ClickHouse", "migrations").found
    finally:
        await asyncio.to_thread(run, "TRUNCATE TABLE homeward.schema_migrations")
        await asyncio.to_thread(run, "INSERT INTO homeward.schema_migrations SELECT * FROM homeward.kept")
        await asyncio.to_thread(run, "DROP TABLE homeward.kept SYNC")


async def test_a_classifier_that_is_down_is_told_and_nothing_else(house: Stack) -> None:
    await house.kill("classifier")
    try:
        findings = await found(house)
    finally:
        await house.start("classifier")
    assert not_well(findings) == {("classifier", "answers"), ("capabilities", "probes")}
    assert "python -m services.classifier" in one(findings, "classifier", "answers").todo


async def test_a_ledger_that_is_down_is_seen_in_the_policy_of_the_router(house: Stack) -> None:
    await house.kill("ledger")
    findings: list[Finding] = []
    try:

        async def noticed() -> bool:
            findings[:] = await found(house)
            return ("router", "policy") in not_well(findings)

        await until(noticed, "the router knows that its policy may be old")
    finally:
        await house.start("ledger")
    assert one(findings, "ledger", "answers").state is State.FAILED
    assert one(findings, "journal", "entries").state is State.UNKNOWN
    assert one(findings, "router", "policy").state is State.WARNING
