"""`homeward workload`: what it sends, what it says, and how it fails."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2
from typer.testing import CliRunner

from playbook.cli import app
from playbook.requests import read_requests
from services.classifier import translate
from services.common.errors import DomainError, Reason
from services.common.fingerprint import shape_of_system_prompt
from services.common.server import Server

RUN = CliRunner(env={"COLUMNS": "140", "NO_COLOR": "1"})
REQUIRED = (
    *("--owner", "care", "--task-type", "classification", "--data-class", "internal"),
    *("--quality-sensitivity", "high"),
)
STORED = [
    workload_pb2.Workload(
        name="bank-intent",
        owner="customer-care",
        task_type=workload_pb2.TASK_TYPE_CLASSIFICATION,
        data_class="internal",
        quality_sensitivity=workload_pb2.QUALITY_SENSITIVITY_MEDIUM,
        version=1,
        fingerprints=[workload_pb2.Fingerprint(digest=b"d" * 16)] * 2,
    ),
    workload_pb2.Workload(name="trips", owner="[sales]", data_class="unrestricted", version=12),
]


@dataclass
class Service(classifier_pb2_grpc.ClassifierServiceServicer):
    """Writes down what it is asked, and answers what the test wants."""

    port: int = 0
    asked: list[classifier_pb2.RegisterWorkloadRequest] = field(default_factory=list)
    error: Exception | None = None
    version: int = 1
    held_out_count: int = 62
    workloads: list[workload_pb2.Workload] = field(default_factory=lambda: STORED)

    async def RegisterWorkload(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        workload = workload_pb2.Workload()
        workload.CopyFrom(request.workload)
        workload.version = self.version
        return classifier_pb2.RegisterWorkloadResponse(
            workload=workload,
            table_version=8,
            held_out_count=self.held_out_count,
            right_before=48,
            right_after=57,
        )

    async def ListWorkloads(self, request: Any, context: Any) -> Any:
        if self.error is not None:
            raise self.error
        return classifier_pb2.ListWorkloadsResponse(version=7, workloads=self.workloads)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A real server with the interceptor that turns our errors into statuses."""
    server, made = Server("homeward.classifier.v1.ClassifierService"), Service()
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(made, server.grpc)
    made.port = await server.start("127.0.0.1:0")
    yield made
    await server.stop()


@pytest.fixture
def settings(tmp_path: Path, service: Service) -> Path:
    file = tmp_path / "homeward.toml"
    file.write_text(
        f'[classifier]\ngrpc = "127.0.0.1:{service.port}"\n[workloads.bank-intent]\nowner = "customer-care"\n'
    )
    return file


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    file = tmp_path / "examples.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Ticket {n}", "label": n}) + "\n" for n in range(6)))
    return file


async def run(*arguments: str | Path) -> Result:
    return await asyncio.to_thread(RUN.invoke, app, ["workload", *map(str, arguments)])


async def add(settings: Path, *arguments: str | Path) -> Result:
    return await run("add", "ticket-triage", *REQUIRED, "--settings", settings, *arguments)


async def test_add_sends_the_workload_with_its_examples_and_fixed_parts(
    service: Service, settings: Path, examples: Path
) -> None:
    prompt = "You triage the tickets of Contoso."
    done = await add(settings, "--examples", examples, "--system-prompt", prompt, "--description", "Sorts.")
    assert done.exit_code == 0, done.output
    (ask,) = service.asked
    assert uuid.UUID(bytes=ask.request_id).version == 4
    assert not ask.validate_only
    assert list(map(translate.seen, ask.examples)) == read_requests(examples)
    assert [list(example.turns) for example in ask.examples] == [[f"Ticket {n}"] for n in range(6)]
    workload = ask.workload
    assert (workload.name, workload.owner, workload.description) == ("ticket-triage", "care", "Sorts.")
    assert workload.task_type == workload_pb2.TASK_TYPE_CLASSIFICATION
    assert workload.quality_sensitivity == workload_pb2.QUALITY_SENSITIVITY_HIGH
    assert workload.data_class == "internal"
    (fingerprint,) = workload.fingerprints
    shape = shape_of_system_prompt(prompt)
    assert (fingerprint.digest, fingerprint.masked_digest) == (shape.digest, shape.masked_digest)
    assert tuple(fingerprint.sketch) == shape.sketch


async def test_add_says_what_was_registered_and_what_to_do_next(
    service: Service, settings: Path, examples: Path
) -> None:
    done = await add(settings, "--examples", examples)
    first, *_, last = done.output.strip().split("\n")
    assert first == "Registered ticket-triage, version 1, with 6 examples and 0 fixed parts."
    assert "Of the 62 held-out examples of all workloads 57 are named rightly" in done.output
    assert "without ticket-triage it was 48" in done.output
    assert last.startswith("Next: ")
    assert "takes the place" not in done.output
    service.version, service.held_out_count = 2, 0
    done = await add(settings, "--system-prompt", "You triage the tickets of Contoso.")
    assert "version 2, with 0 examples and 1 fixed parts" in done.output
    assert "takes the place of the version before" in done.output
    assert "nothing to try it on" in done.output


async def test_a_check_registers_nothing(service: Service, settings: Path, examples: Path) -> None:
    done = await add(settings, "--examples", examples, "--check")
    assert done.exit_code == 0
    assert service.asked[0].validate_only
    assert "may be registered" in done.output
    assert done.output.strip().endswith("Next: the same command without --check.")


async def test_add_prints_json_for_programs(service: Service, settings: Path, examples: Path) -> None:
    done = await add(settings, "--examples", examples, "--json")
    found = json.loads(done.stdout)
    assert found["registered"] is True
    assert found["workload"]["name"] == "ticket-triage"
    assert found["workload"]["task_type"] == "classification"
    assert [found[key] for key in ("table_version", "held_out_count", "right_before", "right_after")] == [
        8,
        62,
        48,
        57,
    ]


async def test_list_shows_every_workload_and_where_it_comes_from(service: Service, settings: Path) -> None:
    done = await run("list", "--settings", settings)
    assert done.exit_code == 0, done.output
    title, bank, trips, *_ = done.output.split("\n")
    words = [" ".join(line.split()) for line in (title, bank, trips)]
    assert words == [
        "name version task type data class owner quality fixed parts from",
        "bank-intent 1 classification internal customer-care medium 2 settings",
        "trips 12 – unrestricted [sales] – 0 registered",
    ]
    assert done.output.strip().split("\n")[-1].startswith("Next: ")


async def test_list_prints_json_for_programs(service: Service, settings: Path) -> None:
    found = json.loads((await run("list", "--settings", settings, "--json")).stdout)
    assert found["table_version"] == 7
    assert found["workloads"][1] == {
        "name": "trips",
        "owner": "[sales]",
        "task_type": "",
        "data_class": "unrestricted",
        "quality_sensitivity": "",
        "description": "",
        "version": 12,
        "fingerprints": 0,
        "source": "registered",
    }


async def test_without_workloads_list_says_how_to_find_some(service: Service, settings: Path) -> None:
    service.workloads = []
    done = await run("list", "--settings", settings)
    assert "No workload is registered" in done.output
    assert "homeward inventory discover" in done.output


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DomainError(Reason.WORKLOAD_WORSENS, "it would take\n from 'a'"), "it would take from 'a'"),
        (DomainError(Reason.STORAGE_UNAVAILABLE, "the disk is full"), "the disk is full"),
        (DomainError(Reason.NOT_AVAILABLE, "not in this version"), "not in this version"),
        (ValueError("secret"), "an internal error; the trace shows where"),
    ],
)
async def test_what_the_classifier_refuses_is_told_with_what_to_do(
    service: Service, settings: Path, examples: Path, error: Exception, told: str
) -> None:
    service.error = error
    for done in (await add(settings, "--examples", examples), await run("list", "--settings", settings)):
        assert done.exit_code == 1
        assert done.stdout == ""
        line, step = done.stderr.strip().split("\n")
        assert told in line
        assert step.startswith("Next: ")


async def test_without_a_classifier_it_says_how_to_start_one(tmp_path: Path, examples: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text('[classifier]\ngrpc = "127.0.0.1:1"\n')
    for done in (await add(file, "--examples", examples), await run("list", "--settings", file)):
        assert done.exit_code == 1
        assert done.stderr == (
            "no classifier answers at 127.0.0.1:1\nNext: start everything with `make run`, or it alone with"
            f" `python -m services.classifier {file}`; if it runs elsewhere, correct its address in the"
            " settings.\n"
        )


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "wrong.jsonl"
    file.write_text('{"prompt": "fine"}\n{"prompt": 5}\n')
    return file


async def test_a_row_that_is_wrong_is_told_with_its_line_and_nothing_is_sent(
    service: Service, settings: Path, wrong: Path
) -> None:
    done = await add(settings, "--examples", wrong)
    assert done.exit_code == 1
    assert done.stderr == f"{wrong}, line 2: `prompt` must be text, not int\nNext: correct {wrong}.\n"
    done = await add(settings, "--examples", wrong.parent / "none.jsonl")
    assert done.exit_code == 1
    assert "none.jsonl" in done.stderr
    assert service.asked == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "ticket-triage", *REQUIRED),
        ("add", "ticket-triage", *REQUIRED, "--system-prompt", " "),
        ("add", "ticket-triage", "--system-prompt", "x", *REQUIRED[2:]),
        (
            "add",
            "ticket-triage",
            "--system-prompt",
            "x",
            *REQUIRED[:2],
            "--task-type",
            "poetry",
            *REQUIRED[4:],
        ),
        ("add", *REQUIRED, "--system-prompt", "x"),
        ("list", "everything"),
    ],
)
async def test_a_wrong_use_exits_with_2(service: Service, settings: Path, arguments: tuple[str, ...]) -> None:
    done = await run(*arguments, "--settings", settings)
    assert done.exit_code == 2
    assert service.asked == []


async def test_settings_that_are_wrong_are_told(tmp_path: Path, examples: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text("[classifier]\ngprc = 'x'\n")
    done = await add(file, "--examples", examples)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"{file}: classifier: gprc: unknown key; did you mean grpc?")
