"""`homeward inventory discover`: what it shows, what it registers, and what it says when it can't."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2
from typer.testing import CliRunner

from playbook.commands.inventory_discover import discover
from services.common.errors import DomainError, Reason
from services.common.server import Server

RUN = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"})
APP = typer.Typer()
APP.command("discover")(discover)
REQUIRED = ("--owner", "care", "--data-class", "internal", "--quality-sensitivity", "high")


def proposal(name: str, **fields: Any) -> classifier_pb2.Proposal:
    parts = [workload_pb2.Fingerprint(digest=b"d" * 16)] * fields.pop("parts", 0)
    task_type = fields.pop("task_type", workload_pb2.TASK_TYPE_CLASSIFICATION)
    examples = [classifier_pb2.ClassifyRequest(turns=[f"t {n}"]) for n in range(fields.pop("examples", 0))]
    return classifier_pb2.Proposal(
        workload=workload_pb2.Workload(name=name, task_type=task_type, fingerprints=parts),
        examples=examples,
        **fields,
    )


PROPOSALS = [
    proposal(
        "route-messages",
        parts=1,
        examples=12,
        request_count=1204,
        spend_share=0.625,
        key_names=["crm", "[web]", "a", "b"],
        sample_prompts=["Where is\nmy [bold]card[/bold]?\x1b[31m", "Second", "Third"],
    ),
    proposal("book-flight", examples=6, request_count=300, key_names=["app"]),
    proposal("requests-web-1", task_type=0, request_count=40, key_names=["web"], examples=4),
    proposal("few-texts", parts=1, examples=3, request_count=30),
    proposal("unsure", task_type=0, parts=1, request_count=25),
]


@dataclass
class Service(classifier_pb2_grpc.ClassifierServiceServicer):
    """Writes down what it is asked, and answers what the test wants."""

    port: int = 0
    proposals: list[classifier_pb2.Proposal] = field(default_factory=lambda: PROPOSALS)
    limits: list[int] = field(default_factory=list)
    asked: list[classifier_pb2.RegisterWorkloadRequest] = field(default_factory=list)
    error: Exception | None = None

    async def DiscoverWorkloads(self, request: Any, context: Any) -> Any:
        self.limits.append(request.max_proposals)
        return classifier_pb2.DiscoverWorkloadsResponse(proposals=self.proposals)

    async def ListWorkloads(self, request: Any, context: Any) -> Any:
        return classifier_pb2.ListWorkloadsResponse(workloads=[workload_pb2.Workload(name="known")])

    async def RegisterWorkload(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        workload = workload_pb2.Workload()
        workload.CopyFrom(request.workload)
        workload.version = 1
        return classifier_pb2.RegisterWorkloadResponse(
            workload=workload, table_version=8, held_out_count=62, right_before=48, right_after=57
        )


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
    file.write_text(f'[classifier]\ngrpc = "127.0.0.1:{service.port}"\n')
    return file


async def run(settings: Path, *arguments: str) -> Result:
    return await asyncio.to_thread(RUN.invoke, APP, [*arguments, "--settings", str(settings)])


async def test_the_table_tells_what_each_proposal_is_and_what_it_rests_on(
    service: Service, settings: Path
) -> None:
    done = await run(settings, "--limit", "7")
    assert done.exit_code == 0, done.output
    assert service.limits == [7]
    rows = [" ".join(line.split()) for line in done.output.split("\n")]
    assert rows[1:7] == [
        "# name task type requests share of unnamed spend keys rests on",
        "1 route-messages classification 1,204 █████ 62% crm, [web], a and 1 more fixed parts",
        "2 book-flight classification 300 unknown app meaning",
        "3 requests-web-1 – 40 unknown web meaning",
        "4 few-texts classification 30 unknown – fixed parts",
        "5 unsure – 25 unknown – fixed parts",
    ]
    assert "4 of 5 proposals is unknown" in done.output
    assert "can't be registered from here: 3." in done.output
    last = done.output.strip().split("\n")[-1]
    assert last.startswith("Next: ")
    assert "--register route-messages" in last


async def test_samples_are_two_a_proposal_and_obey_no_terminal(service: Service, settings: Path) -> None:
    done = await run(settings)
    assert "“Where is my [bold]card[/bold]? [31m”" in done.output
    assert "“Second”" in done.output
    assert "Third" not in done.output
    assert "\x1b" not in done.output
    assert "not kept" not in done.output


async def test_without_samples_it_says_that_texts_are_not_kept(service: Service, settings: Path) -> None:
    service.proposals = [proposal("route", parts=1, request_count=20, spend_share=1.0)]
    done = await run(settings)
    assert "keep_unnamed_prompts = true" in done.output
    assert "unknown" not in done.output
    assert "████████ 100%" in done.output


async def test_without_proposals_it_says_so(service: Service, settings: Path) -> None:
    service.proposals = []
    done = await run(settings)
    assert done.exit_code == 0
    assert done.output.startswith("Nothing to propose")
    assert "\nNext: " in done.output
    told = json.loads((await run(settings, "--json")).stdout)
    assert told["proposals"] == []
    assert f"Next: {told['next_step']}" in done.output


async def test_it_prints_json_for_programs(service: Service, settings: Path) -> None:
    found = json.loads((await run(settings, "--json")).stdout)["proposals"]
    assert found[0] == {
        "number": 1,
        "name": "route-messages",
        "task_type": "classification",
        "request_count": 1204,
        "spend_share": 0.625,
        "rests_on": "fixed parts",
        "fingerprints": 1,
        "examples": 12,
        "registrable": True,
        "key_names": ["crm", "[web]", "a", "b"],
        "sample_prompts": ["Where is\nmy [bold]card[/bold]?\x1b[31m", "Second", "Third"],
    }
    assert [row["spend_share"] for row in found[1:]] == [None] * 4
    assert [row["registrable"] for row in found] == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("which", "options", "name", "task_type", "parts", "examples"),
    [
        ("1", (), "route-messages", "CLASSIFICATION", 1, 12),
        ("book-flight", (), "book-flight", "CLASSIFICATION", 0, 6),
        ("2", ("--name", "trips", "--task-type", "extraction"), "trips", "EXTRACTION", 0, 6),
        # The contract takes no examples or at least five.
        ("4", (), "few-texts", "CLASSIFICATION", 1, 0),
        ("5", ("--task-type", "code"), "unsure", "CODE", 1, 0),
    ],
)
async def test_a_proposal_is_registered_with_its_fixed_parts_and_examples(
    service: Service,
    settings: Path,
    which: str,
    options: tuple[str, ...],
    name: str,
    task_type: str,
    parts: int,
    examples: int,
) -> None:
    done = await run(settings, "--register", which, *REQUIRED, *options)
    assert done.exit_code == 0, done.output
    (ask,) = service.asked
    assert uuid.UUID(bytes=ask.request_id).version == 4
    assert not ask.validate_only
    workload = ask.workload
    assert (workload.name, workload.owner, workload.data_class) == (name, "care", "internal")
    assert workload.task_type == workload_pb2.TaskType.Value(f"TASK_TYPE_{task_type}")
    assert workload.quality_sensitivity == workload_pb2.QUALITY_SENSITIVITY_HIGH
    assert (len(workload.fingerprints), len(ask.examples)) == (parts, examples)
    assert f"Registered {name}, version 1, with {examples} examples and {parts} fixed parts" in done.output
    assert "57 are named rightly" in " ".join(done.output.split())
    assert done.output.strip().split("\n")[-1].startswith("Next: ")


async def test_a_registration_prints_json_for_programs(service: Service, settings: Path) -> None:
    done = await run(settings, "--register", "1", *REQUIRED, "--json")
    assert json.loads(done.stdout) == {
        "registered": True,
        "name": "route-messages",
        "version": 1,
        "table_version": 8,
        "held_out_count": 62,
        "right_before": 48,
        "right_after": 57,
        "next_step": "its next requests get the header `x-homeward-workload: route-messages`;"
        " `homeward status` counts them.",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--register", "9", *REQUIRED), 1, "there is no proposal '9'; there are 5 now"),
        (("--register", "0", *REQUIRED), 1, "there is no proposal '0'"),
        (("--register", "nobody", *REQUIRED), 1, "there is no proposal 'nobody'"),
        (("--register", "3", *REQUIRED), 1, "neither fixed parts nor 5 examples"),
        (("--register", "1", *REQUIRED, "--name", "known"), 1, "'known' is registered already"),
        (("--register", "5", *REQUIRED), 2, "--task-type"),
        (("--register", "1", *REQUIRED[2:]), 2, "--owner"),
        (("--register", "1"), 2, "--owner, --data-class and --quality-sensitivity"),
        (("--name", "trips"), 2, "--name only goes with --register"),
        (("--limit", "101"), 2, "--limit"),
    ],
)
async def test_what_can_not_be_done_is_told_and_registers_nothing(
    service: Service, settings: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = await run(settings, *arguments)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert service.asked == []


async def test_what_the_classifier_refuses_is_told_with_what_to_do(service: Service, settings: Path) -> None:
    service.error = DomainError(Reason.WORKLOAD_WORSENS, "it would take\n from 'a'")
    done = await run(settings, "--register", "1", *REQUIRED)
    assert (done.exit_code, done.stdout) == (1, "")
    told, step = done.stderr.splitlines()
    assert told == "it would take from 'a'"
    assert "homeward workload list" in step


async def test_without_a_classifier_it_says_how_to_start_one(tmp_path: Path) -> None:
    file = tmp_path / "homeward.toml"
    file.write_text('[classifier]\ngrpc = "127.0.0.1:1"\n')
    done = await run(file)
    assert done.exit_code == 1
    assert "no classifier answers at 127.0.0.1:1" in done.stderr
