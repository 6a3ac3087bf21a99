"""`homeward workload`: what is registered, and how something gets registered."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer
from homeward.classifier.v1 import classifier_pb2
from homeward.common.v1 import workload_pb2
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook import completing
from playbook.classifier_client import TIMEOUT_S, classifier
from playbook.configured import wrong_settings
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.stopped import stopped
from services.common.errors import DomainError
from services.common.settings import DEFAULT_FILE, SettingsError, TaskTypeName, read_document
from services.common.words import QualitySensitivity, TaskType, label

Settings = Annotated[
    Path, typer.Option(metavar="FILE", help="The settings, which say where the classifier is.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

WIDE = 96
"""Columns of a window that has room for all of the list."""
TASK_TYPES = get_args(TaskTypeName)
_DECLARED_BY = "x-homeward-workload"
_COLUMNS = {
    "name": "name",
    "version": "version",
    "task type": "task_type",
    "data class": "data_class",
    "owner": "owner",
    "quality": "quality_sensitivity",
    "fixed parts": "fingerprints",
    "from": "source",
}
"""Headings of the list, and what of a workload's JSON stands below each."""


def add(
    name: Annotated[str, typer.Argument(help="Lower-case words joined by hyphens.")],
    owner: Annotated[str, typer.Option(help="The person or team that answers for it.")],
    task_type: Annotated[
        TaskTypeName, typer.Option(metavar="TYPE", help=f"The kind of work: {', '.join(TASK_TYPES)}.")
    ],
    data_class: Annotated[
        str,
        typer.Option(
            help="One of the settings' data classes, or `unrestricted`: where its requests may run.",
            autocompletion=completing.data_classes,
        ),
    ],
    quality_sensitivity: Annotated[
        Literal["low", "medium", "high"], typer.Option(help="How much a worse answer would cost.")
    ],
    description: Annotated[str, typer.Option(help="What it does, in a sentence.")] = "",
    examples: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="5 to 50 of its requests, one JSON object a line."),
    ] = None,
    system_prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A system prompt of its requests. May be repeated."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check everything, register nothing.")] = False,
    settings: Settings = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Register a workload, or a new version of one, which replaces the old one as a whole.

    Each line of FILE.jsonl is {"messages": [...]} as in OpenAI's chat API, with "tools" and
    "response_format" if the requests have them, or {"prompt": "..."}. Their fixed parts become its
    fingerprints. A registration is refused if held-out examples show that it makes another workload worse.

    --json has: registered; workload; table_version; held_out_count, right_before and right_after; next_step.
    """
    if examples is None and not system_prompt:
        raise typer.BadParameter(
            "something must tell its requests: give --examples, --system-prompt, or both"
        )
    if any(not text.strip() for text in system_prompt or ()):
        raise typer.BadParameter("an empty --system-prompt tells nothing")
    # numpy takes a quarter of a second, which a list should not wait for.
    from playbook.requests import read_requests
    from services.classifier import translate
    from services.common.fingerprint import shape_of_system_prompt

    try:
        requests = read_requests(examples) if examples else []
    except (DomainError, OSError) as error:
        raise stopped(getattr(error, "message", None) or str(error), f"correct {examples}.") from None
    ask = classifier_pb2.RegisterWorkloadRequest(
        request_id=uuid.uuid4().bytes,
        workload=workload_pb2.Workload(
            name=name,
            owner=owner,
            task_type=workload_pb2.TaskType.ValueType(TaskType[task_type.upper()]),
            data_class=data_class,
            quality_sensitivity=workload_pb2.QualitySensitivity.ValueType(
                QualitySensitivity[quality_sensitivity.upper()]
            ),
            description=description,
            fingerprints=[
                translate.fingerprint(shape_of_system_prompt(text)) for text in system_prompt or ()
            ],
        ),
        examples=map(translate.request, requests),
        validate_only=check,
    )
    with classifier(settings) as service:
        done = service.RegisterWorkload(ask, timeout=TIMEOUT_S)
    step = "the same command without --check."
    if not check:
        step = (
            f"send one of its requests; the answer's `{_DECLARED_BY}` header should be {name}."
            " `homeward workload list` shows all."
        )
    if as_json:
        told = {
            "registered": not check,
            "workload": _document(done.workload),
            "table_version": done.table_version,
            "held_out_count": done.held_out_count,
            "right_before": done.right_before,
            "right_after": done.right_after,
        }
        tell_json(told, step)
    else:
        tell(_report(done, len(requests), check))
        tell_next(step)


def list_workloads(settings: Settings = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """List the registered workloads.

    --json has: table_version; workloads, of each the name, owner, task_type, data_class,
    quality_sensitivity, description, version, fingerprints (how many) and source (settings or registered);
    next_step. In a window of less than 96 columns version and fixed parts are left out of the table.
    """
    try:
        in_settings = read_document(settings, os.environ).get("workloads", {})
    except SettingsError as error:
        raise wrong_settings(error, settings) from None
    with classifier(settings) as service:
        found = service.ListWorkloads(classifier_pb2.ListWorkloadsRequest(), timeout=TIMEOUT_S)
    rows = [
        {**_document(item), "source": "settings" if item.name in in_settings else "registered"}
        for item in found.workloads
    ]
    step = "`homeward workload add NAME …` registers another, or a new version of one."
    if not rows:
        step = "`homeward inventory discover` proposes some."
    if as_json:
        tell_json({"table_version": found.version, "workloads": rows}, step)
        return
    if rows:
        console = Console()
        console.print(table_or_records(_table(rows, console.width), console.width))
    else:
        tell("No workload is registered.")
    tell_next(step)


def _report(done: classifier_pb2.RegisterWorkloadResponse, examples: int, check: bool) -> str:
    name = done.workload.name
    parts = f"{examples} examples and {len(done.workload.fingerprints)} fixed parts"
    if check:
        lines = [
            f"{name} may be registered, as version {done.workload.version} with {parts}. Nothing was changed."
        ]
    else:
        lines = [f"Registered {name}, version {done.workload.version}, with {parts}."]
    if done.workload.version > 1:
        lines.append("It takes the place of the version before, examples and fixed parts included.")
    if done.held_out_count:
        lines.append(
            f"Of the {done.held_out_count} held-out examples of all workloads {done.right_after} are named"
            f" rightly; without {name} it was {done.right_before}."
        )
    else:
        lines.append("No workload has examples, so there was nothing to try it on.")
    return "\n".join(lines)


def _table(rows: list[dict[str, object]], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    columns = [title for title in _COLUMNS if width >= WIDE or title not in ("version", "fixed parts")]
    for title in columns:
        number = title in ("version", "fixed parts")
        table.add_column(title, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[_COLUMNS[title]])) or "–" for title in columns))
    return table


def _document(item: workload_pb2.Workload) -> dict[str, object]:
    return {
        "name": item.name,
        "owner": item.owner,
        "task_type": label(TaskType(item.task_type)),
        "data_class": item.data_class,
        "quality_sensitivity": label(QualitySensitivity(item.quality_sensitivity)),
        "description": item.description,
        "version": item.version,
        "fingerprints": len(item.fingerprints),
    }
