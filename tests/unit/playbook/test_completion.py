"""Completion by bash's own protocol: what is offered, in time, and never an error."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2
from typer.testing import CliRunner

from playbook import known
from playbook.cli import app
from services.common.server import Server

ROOT = Path(__file__).parents[3]
SETTINGS = """
[classifier]
grpc = "{address}"
[data_classes.health]
targets = ["sovereign"]
[workloads.triage]
owner = "care"
[workloads.translate]
owner = "legal"
"""


class Classifier(classifier_pb2_grpc.ClassifierServiceServicer):
    """Knows a workload that the settings do not have; may take its time."""

    late_s = 0.0

    async def ListWorkloads(self, request: Any, context: Any) -> Any:
        await asyncio.sleep(self.late_s)
        return classifier_pb2.ListWorkloadsResponse(workloads=[workload_pb2.Workload(name="tickets")])


@pytest.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Classifier]:
    """A classifier, and settings that say where it is, in the folder of the test."""
    server, made = Server("homeward.classifier.v1.ClassifierService"), Classifier()
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(made, server.grpc)
    port = await server.start("127.0.0.1:0")
    (tmp_path / "homeward.toml").write_text(SETTINGS.format(address=f"127.0.0.1:{port}"))
    monkeypatch.chdir(tmp_path)
    yield made
    await server.stop()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings whose classifier is away."""
    (tmp_path / "homeward.toml").write_text(SETTINGS.format(address="127.0.0.1:9"))
    monkeypatch.chdir(tmp_path)


def offered(line: str) -> list[str]:
    """What bash is offered at the end of a line."""
    words = line.split(" ")
    protocol = {
        "_HOMEWARD_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = CliRunner(env=protocol).invoke(app, [])
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    return done.stdout.split()


async def test_workloads_are_those_of_the_settings_and_of_the_classifier(service: Classifier) -> None:
    for command in ("cutover", "rollback", "shadow show", "shadow start", "shadow funnel", "shadow export"):
        found = await asyncio.to_thread(offered, f"homeward {command} t")
        assert found == ["tickets", "translate", "triage"]


async def test_who_is_late_is_not_waited_for(service: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "DEADLINE_S", 0.05)
    service.late_s = 30
    assert await asyncio.to_thread(known.workloads, Path("homeward.toml"), 0.05) == ["translate", "triage"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("homeward sh", ["shadow"]),
        ("homeward shadow s", ["start", "show"]),
        ("homeward ledger rec", ["reconcile"]),
        ("homeward cutover tra", ["translate"]),
        ("homeward cutover --settings homeward.toml tri", ["triage"]),
        ("homeward cutover triage --app", ["--approve"]),
        ("homeward workload add x --data-class ", ["health", "unrestricted"]),
        ("homeward workload add x --task-type tr", ["translation"]),
        ("homeward inventory discover --data-class h", ["health"]),
        ("homeward plan --from s", ["shadow"]),
        ("homeward report --case e", ["engineering"]),
        ("homeward shadow start triage --scorer exact", ["exact_match@1"]),
        ("homeward shadow start triage --stratum lang", ["language"]),
        ("homeward shadow replay --simulate week", ["weekly"]),
        # Nothing: then the shell itself offers files.
        ("homeward inventory import ", []),
    ],
)
def test_what_is_offered(alone: None, line: str, found: list[str]) -> None:
    assert offered(line) == found


@pytest.mark.parametrize("text", [None, "[workloads", 'workloads = 5\n[classifier]\ngrpc = "x"'])
def test_settings_that_can_not_be_read_offer_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "homeward.toml").write_text(text)
    assert offered("homeward cutover ") == []


def test_names_of_commands_wait_for_no_page() -> None:
    """In a process of its own, since imports stay."""
    program = (
        "import sys\nfrom playbook.cli import app\ntry:\n    app()\nfinally:\n    print('|', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "_HOMEWARD_COMPLETE": "complete_bash",
            "COMP_WORDS": "homeward shadow ",
            "COMP_CWORD": "2",
        },
        cwd=ROOT,
    )
    names, _, modules = done.stdout.partition("|")
    assert "funnel" in names.split()
    heavy = {"numpy", "grpc", "clickhouse_connect", "sqlalchemy", "playbook.commands.shadow"}
    assert not heavy & set(modules.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_completes_homeward(shell: str) -> None:
    done = CliRunner(env={"_HOMEWARD_COMPLETE": f"source_{shell}"}).invoke(app, [])
    assert done.exit_code == 0
    assert "_HOMEWARD_COMPLETE=complete_" in done.stdout
