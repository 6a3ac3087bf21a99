"""Workloads that only the classifier knows are told as registered; what nobody knows is not guessed."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2
from typer.testing import CliRunner

from playbook.cli import app
from playbook.commands import report as command
from playbook.report import gather
from playbook.report.ask_workloads import ask_workloads
from playbook.report.build import all_facts, build
from playbook.report.facts import Fact, Kind
from playbook.report.gathered import Gathered
from playbook.report.mappings import Law

pytestmark = pytest.mark.usefixtures("quick")

RUN = CliRunner(env={"COLUMNS": "100"})
AWAY = "127.0.0.1:1"
BOTH = {"targets": ["cloud", "sovereign"], "regions": []}
HOME = {"targets": ["sovereign"], "regions": ["eu"]}
CLASSES = {"unrestricted": BOTH, "health": HOME}
SETTINGS = """
[classifier]
grpc = "{address}"

[ledger]
grpc = "127.0.0.1:1"

[shadow]
grpc = "127.0.0.1:1"

[data_classes.health]
targets = ["sovereign"]
regions = ["eu"]

[workloads.letters]
owner = "ops"
"""


def workload(name: str, data_class: str) -> workload_pb2.Workload:
    return workload_pb2.Workload(
        name=name,
        owner="care",
        description="Sorts tickets.",
        data_class=data_class,
        task_type=workload_pb2.TASK_TYPE_CLASSIFICATION,
        quality_sensitivity=workload_pb2.QUALITY_SENSITIVITY_HIGH,
    )


class Classifier(classifier_pb2_grpc.ClassifierServiceServicer):
    """Has what the settings have, and what was registered since."""

    def ListWorkloads(self, _request: Any, _context: Any) -> classifier_pb2.ListWorkloadsResponse:
        return classifier_pb2.ListWorkloadsResponse(
            workloads=[
                workload("letters", "unrestricted"),
                workload("lost", "secret"),
                workload("plain", ""),
                workload("triage", "health"),
            ]
        )


@pytest.fixture
def classifier() -> Iterator[str]:
    """Its address."""
    server = grpc.server(ThreadPoolExecutor(1))
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(Classifier(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_the_classifier_tells_what_the_settings_lack(classifier: str) -> None:
    problems: list[str] = []
    found = ask_workloads(classifier, {"letters"}, CLASSES, problems)
    assert found is not None
    assert {name: (item["data_class"], item["allowed"]) for name, item in found.items()} == {
        "triage": ("health", HOME),
        "plain": ("unrestricted", BOTH),
        # A class that the settings do not have allows nothing, as in the router.
        "lost": ("secret", {"targets": [], "regions": []}),
    }
    assert found["triage"] | {"allowed": None} == {
        "owner": "care",
        "description": "Sorts tickets.",
        "task_type": "classification",
        "data_class": "health",
        "quality_sensitivity": "high",
        "allowed": None,
        "cutover": {},
        "personal_data": None,
    }
    assert problems == []


def test_a_classifier_that_is_away_is_a_problem() -> None:
    problems: list[str] = []
    assert ask_workloads(AWAY, {"letters"}, CLASSES, problems) is None
    (said,) = problems
    assert said.startswith(f"the classifier at {AWAY} does not tell which workloads were registered (")


class Client:
    """Of a ClickHouse whose book has legs of two workloads; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def query(self, sql: str, parameters: dict[str, Any]) -> Any:
        self.asked.append((sql, parameters))
        rows = [{"workload": "triage"}, {"workload": "gone"}] if sql == SPEND else []
        return SimpleNamespace(named_results=lambda: rows)

    def close(self) -> None:
        """Nothing is open."""


SPEND = (gather.QUERIES / "spend.sql").read_text(encoding="utf-8")
OUTSIDE = (gather.QUERIES / "outside.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("there", [True, False])
def test_calls_are_held_to_the_class_that_was_registered(
    classifier: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    client = Client()
    planned = SimpleNamespace(settings={}, inventory=None, inputs=None, plan=None, asked={})
    monkeypatch.setattr(gather, "reader", lambda _settings: client)
    monkeypatch.setattr(gather, "read_planned", lambda *_: planned)
    file = tmp_path / "homeward.toml"
    file.write_text(SETTINGS.format(address=classifier if there else AWAY), encoding="utf-8")
    until = datetime(2026, 11, 30, tzinfo=UTC)
    found = gather.gather(file, {}, [], until - timedelta(days=1), until)
    held = {row["workload"]: row["targets"] for sql, row in client.asked if sql == OUTSIDE}
    told = any(item.startswith("the classifier at ") for item in found.problems)
    if there:
        assert found.registered == ["lost", "plain", "triage"]
        # Also those that have no legs yet.
        assert found.workloads == ["gone", "letters", "lost", "plain", "triage"]
        assert held == {
            "letters": ["cloud", "sovereign"],
            "lost": [],
            "plain": ["cloud", "sovereign"],
            "triage": ["sovereign"],
        }
        assert not told
    else:
        assert found.registered is None
        assert found.workloads == ["gone", "letters", "triage"]
        assert held == {"letters": ["cloud", "sovereign"]}
        assert told


def with_triage(example: Gathered, registered: list[str] | None, **changes: Any) -> Gathered:
    """The example with a workload that has no section; registered or not."""
    told = {
        "owner": "care", "description": "Sorts tickets.", "task_type": "classification",
        "data_class": "health", "quality_sensitivity": "high", "allowed": HOME, "cutover": {},
        "personal_data": None,
    }  # fmt: skip
    settings = copy.deepcopy(dict(example.settings))
    answers = dict(example.answers)
    if registered:
        settings["workloads"]["triage"] = told | changes
        outside = copy.deepcopy(answers["outside/bank-intent"])
        outside.rows[0].update(legs=9, outside_legs=4)  # type: ignore[attr-defined]
        answers["outside/triage"] = outside
    return dataclasses.replace(
        example,
        settings=settings,
        answers=answers,
        registered=registered,
        workloads=sorted([*example.workloads, "triage"]),
    )


def of_triage(found: Gathered, laws: list[Law]) -> dict[str, Fact]:
    return {fact.key: fact for fact in all_facts(build(found, laws, ["legal"])) if "triage" in fact.key}


def test_a_registered_workload_is_told_by_the_classifiers_answer(example: Gathered, laws: list[Law]) -> None:
    found = of_triage(with_triage(example, ["triage"]), laws)
    for key, text in {"owner": "care", "description": "Sorts tickets.", "data_class": "health"}.items():
        fact = found[f"registered/triage/{key}"]
        assert (fact.text, fact.reference.kind, fact.reference.rows) == (text, Kind.REGISTRY, 1)
    allowed = {what: found[f"setting/workloads/triage/allowed/{what}"] for what in ("targets", "regions")}
    assert {what: fact.text for what, fact in allowed.items()} == {"targets": "sovereign", "regions": "eu"}
    assert {fact.reference.name for fact in allowed.values()} == {"[data_classes.health]"}
    assert found["outside/triage/outside_legs"].value == 4
    assert found["setting/workloads/triage/keep_examples_days"].value == 0
    assert not any(key.startswith("setting/workloads/triage/data_class") for key in found)


@pytest.mark.parametrize(
    ("registered", "why"), [(None, "did not answer"), ([], "has no such workload")], ids=str
)
def test_a_class_that_nobody_knows_is_not_measured(
    example: Gathered, laws: list[Law], registered: list[str] | None, why: str
) -> None:
    made = with_triage(example, registered)
    found = of_triage(made, laws)
    keys = ("owner", "data_class", "allowed/targets", "allowed/regions")
    assert {key: found[f"registered/triage/{key}"].text for key in keys} == dict.fromkeys(
        keys, "not measured"
    )
    assert "unrestricted" not in {fact.value for fact in found.values()}
    document = build(made, laws, ["legal"])
    assert {fact.key: fact.value for fact in all_facts(document)}["outside/all"] is None
    assert "The settings have no section for triage, and the classifier, which knows what" in words(document)
    assert why in words(document)


def test_a_class_that_the_settings_lack_allows_nothing(example: Gathered, laws: list[Law]) -> None:
    nothing = {"targets": [], "regions": []}
    made = with_triage(example, ["triage"], data_class="secret", allowed=nothing)
    found = of_triage(made, laws)
    told = {found[f"setting/workloads/triage/allowed/{what}"].text for what in ("targets", "regions")}
    assert told == {"none"}
    said = words(build(made, laws, ["legal"]))
    assert "The data class with which triage was registered is not in the settings." in said
    # The others' classes forbid nothing; this one forbids all.
    assert "The data class of bank-intent, meeting-minutes, voice-domain allows both targets" in said


def words(document: Any) -> str:
    """All that the notes say."""
    notes = [
        block
        for section in document.sections
        for part in section.sections
        for block in part.blocks
        if hasattr(block, "spans")
    ]
    return " ".join(
        "".join(span if isinstance(span, str) else span.text for span in block.spans) for block in notes
    )


@pytest.fixture
def gathered(example: Gathered, monkeypatch: pytest.MonkeyPatch) -> list[Gathered]:
    """What a running Homeward would give: the last one."""
    last = [with_triage(example, ["triage"])]
    monkeypatch.setattr(command, "gather", lambda *_: copy.deepcopy(last[-1]))
    return last


def test_the_document_of_a_registered_workload_is_made_and_verified(
    gathered: list[Gathered], example: Gathered, tmp_path: Path
) -> None:
    done = RUN.invoke(app, ["report", "triage", "--case", "legal", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    file = str(tmp_path / "homeward-report.html")
    assert RUN.invoke(app, ["report", "--verify", file]).exit_code == 0
    gathered.append(with_triage(example, ["triage"], data_class="secret"))
    done = RUN.invoke(app, ["report", "--verify", file, "--json"])
    assert done.exit_code == 1
    changes = {item["key"]: item["now"] for item in json.loads(done.stdout)["changes"]}
    assert changes["registered/triage/data_class"] == "secret"


@pytest.mark.parametrize(("registered", "says"), [([], False), (None, True)], ids=str)
def test_a_name_that_the_classifier_may_know_is_not_called_unknown(
    gathered: list[Gathered], example: Gathered, tmp_path: Path, registered: list[str] | None, says: bool
) -> None:
    gathered.append(with_triage(example, registered))
    done = RUN.invoke(app, ["report", "triage", "--out", str(tmp_path)])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "no workload 'triage' is registered" in said
    assert ("the classifier, which may know it, did not answer" in said) is says
