"""`homeward cutover` and `rollback`: what they ask, and what they say of the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from playbook.cli import app
from services.common.errors import DomainError, Reason
from services.common.stages import CANARIES, HOME, SHADOWED
from tests.support.migrations import Shadow, migration, serving

READY = migration("triage", CANARIES[0], [1.0, 4.0], "READY", after=CANARIES[1])
WAITS = migration(
    "triage", SHADOWED, [1.0, 2.0], after=CANARIES[0], blocks=["the verdict is COLLECTING", "no probe yet"]
)
BLOCKED = DomainError(
    Reason.MOVE_BLOCKED,
    "'triage' can't go to CANARY 1% yet",
    workload="triage",
    to="CANARY",
    blocks="the verdict is COLLECTING\nthe endpoint lacks tools",
)


@pytest.fixture
def shadow(tmp_path: Path) -> Iterator[Shadow]:
    """Shadow, and settings that say where it is."""
    made = Shadow()
    made.migrations = [READY]
    with serving(made) as address:
        write(tmp_path, address)
        yield made


def write(folder: Path, address: str) -> None:
    (folder / "homeward.toml").write_text(
        f'[shadow]\ngrpc = "{address}"\n[local]\nstate_dir = "{folder / "state"}"\n'
    )


def run(folder: Path, *arguments: str, key: str = "hw-boss", typed: str | None = None) -> Result:
    environment = {"HOMEWARD_API_KEY": key, "COLUMNS": "100"}
    command = [*arguments, "--settings", str(folder / "homeward.toml")]
    return CliRunner(env=environment).invoke(app, command, input=typed)


def test_a_move_names_where_it_led_and_the_way_back(tmp_path: Path, shadow: Shadow) -> None:
    done = run(tmp_path, "cutover", "triage")
    assert done.exit_code == 0
    assert "triage is CANARY 1% since policy version 8." in done.stdout
    assert "Next: CANARY 5%" in done.stdout
    assert "homeward rollback triage --reason" in done.stdout
    (asked,) = shadow.asked
    assert (asked.workload, asked.approve, len(asked.request_id)) == ("triage", False, 16)
    assert shadow.keys == ["Bearer hw-boss"]


def test_at_home_nothing_comes_next_but_watching(tmp_path: Path, shadow: Shadow) -> None:
    shadow.migrations = [migration("triage", HOME, [1.0, 9.0], "READY")]
    assert "Next: `homeward status` watches it" in run(tmp_path, "cutover", "triage").stdout


def test_an_approval_that_waits_tells_what_for(tmp_path: Path, shadow: Shadow) -> None:
    shadow.migrations, shadow.moved = [WAITS], False
    done = run(tmp_path, "cutover", "triage", "--approve")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:4] == [
        "triage is SHADOWED, and has not moved yet.",
        "The move is approved, and waits for:",
        "  - the verdict is COLLECTING",
        "  - no probe yet",
    ]
    assert shadow.asked[0].approve
    assert "it goes to CANARY 1% by itself" in done.stdout


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        pytest.param(
            BLOCKED,
            [
                "'triage' can't go to CANARY 1% yet",
                "  - the verdict is COLLECTING",
                "  - the endpoint lacks tools",
                "Next: `homeward shadow show triage` shows how far it is.",
            ],
            id="each block has a line",
        ),
        pytest.param(
            DomainError(
                Reason.MOVE_BLOCKED,
                "'triage' can't go to HOME: it is early; an approval is missing",
                workload="triage",
                blocks="it is early; an approval is missing",
            ),
            ["'triage' can't go to HOME", "  - it is early", "  - an approval is missing", "Next: "],
            id="and not twice",
        ),
        pytest.param(
            DomainError(Reason.WORKLOAD_NOT_FOUND, "no workload 'triage'", workload="triage"),
            ["no workload 'triage'", "Next: `homeward workload list`"],
            id="no such workload",
        ),
        pytest.param(
            DomainError(Reason.APPROVAL_FORBIDDEN, "the key 'crm' may not", key="crm", workload="triage"),
            ["the key 'crm' may not", "Next: set HOMEWARD_API_KEY"],
            id="another key",
        ),
        pytest.param(
            DomainError(Reason.STAGE_MOVE_FORBIDDEN, "there is no way", workload="triage"),
            ["there is no way", "Next: `homeward shadow show triage`"],
            id="no way",
        ),
        pytest.param(
            DomainError(Reason.POLICY_CHANGED, "the policy is another"),
            ["the policy is another", "Next: the same command again"],
            id="as it is",
        ),
    ],
)
def test_what_the_service_refuses_is_told_as_it_is(
    tmp_path: Path, shadow: Shadow, error: DomainError, lines: list[str]
) -> None:
    shadow.error = error
    done = run(tmp_path, "cutover", "triage")
    assert (done.exit_code, done.stdout) == (1, "")
    told = done.stderr.splitlines()
    assert len(told) == len(lines)
    for line, start in zip(told, lines, strict=True):
        assert line.startswith(start)


def test_a_rollback_is_one_call_with_its_reason(tmp_path: Path, shadow: Shadow) -> None:
    done = run(tmp_path, "rollback", "triage", "--reason", " it answers badly ", "--yes")
    assert done.exit_code == 0
    assert "triage is ROLLED_BACK since policy version 8" in done.stdout
    assert "Next: find the cause; then `homeward shadow start triage`" in done.stdout
    (asked,) = shadow.asked
    assert (asked.workload, asked.reason) == ("triage", "it answers badly")


def test_a_rollback_asks_first_and_a_no_does_nothing(tmp_path: Path, shadow: Shadow) -> None:
    done = run(tmp_path, "rollback", "triage", "--reason", "why", typed="n\n")
    assert done.exit_code == 1
    assert not shadow.asked
    assert run(tmp_path, "rollback", "triage", "--reason", "why", typed="y\n").exit_code == 0
    assert run(tmp_path, "rollback", "triage", "--reason", "  ", "--yes").exit_code == 2
    assert run(tmp_path, "rollback", "triage", "--yes").exit_code == 2
    assert len(shadow.asked) == 1


@pytest.mark.parametrize("command", [["cutover", "triage"], ["rollback", "triage", "--reason", "x", "--yes"]])
def test_json_tells_the_version_and_where_it_stands(
    tmp_path: Path, shadow: Shadow, command: list[str]
) -> None:
    told = json.loads(run(tmp_path, *command, "--json").stdout)
    assert told["policy_version"] == 8
    assert told["migration"]["workload"] == "triage"
    assert told["migration"]["stage"] == ("CANARY" if command[0] == "cutover" else "ROLLED_BACK")


def test_the_key_of_make_run_is_found(tmp_path: Path, shadow: Shadow) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "endpoints.json").write_text('{"api_key": "hw-local"}')
    run(tmp_path, "cutover", "triage", key="")
    (tmp_path / "state" / "endpoints.json").write_text("no json")
    run(tmp_path, "cutover", "triage", key="")
    assert shadow.keys == ["Bearer hw-local", ""]


def test_without_shadow_it_says_what_to_do_with_code_1(tmp_path: Path) -> None:
    write(tmp_path, "127.0.0.1:9")
    done = run(tmp_path, "rollback", "triage", "--reason", "x", "--yes")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("no shadow answers at 127.0.0.1:9\nNext: start everything with `make run`")


def know_triage(folder: Path) -> None:
    """Has the settings know the workload, and no classifier that would know more."""
    file = folder / "homeward.toml"
    file.write_text(
        f'{file.read_text()}[classifier]\ngrpc = "127.0.0.1:9"\n[workloads.triage]\nowner = "care"\n'
    )


def test_a_workload_that_is_misspelt_is_told(tmp_path: Path, shadow: Shadow) -> None:
    know_triage(tmp_path)
    shadow.error = DomainError(Reason.WORKLOAD_NOT_FOUND, "no workload 'traige'", workload="traige")
    done = run(tmp_path, "cutover", "traige")
    assert done.exit_code == 1
    assert "no workload 'traige' is registered; did you mean triage?\n" in done.stderr
    told = json.loads(run(tmp_path, "cutover", "traige", "--json").stdout)["error"]
    assert told["reason"] == "WORKLOAD_NOT_FOUND"


def test_a_workload_that_only_has_a_name_is_told_what_it_lacks(tmp_path: Path, shadow: Shadow) -> None:
    know_triage(tmp_path)
    shadow.error = DomainError(Reason.WORKLOAD_NOT_FOUND, "no workload 'triage'", workload="triage")
    done = run(tmp_path, "cutover", "triage")
    assert done.exit_code == 1
    assert "'triage' has a name, but no policy" in done.stderr
    assert "Next: give it a section [workloads.triage]" in done.stderr
    assert "is registered" not in done.stderr


def test_what_blocks_a_move_is_a_list_for_programs(tmp_path: Path, shadow: Shadow) -> None:
    shadow.error = BLOCKED
    done = run(tmp_path, "cutover", "triage", "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    assert json.loads(done.stdout)["error"] == {
        "reason": "MOVE_BLOCKED",
        "message": "'triage' can't go to CANARY 1% yet",
        "details": ["the verdict is COLLECTING", "the endpoint lacks tools"],
        "next_step": "`homeward shadow show triage` shows how far it is.",
    }
