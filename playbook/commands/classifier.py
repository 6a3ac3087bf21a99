"""`homeward classifier`: what the classifier is worth on your own requests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from playbook.shown import tell_json, tell_next
from playbook.stopped import stopped
from services.common.errors import DomainError

MODEL = Path(__file__).parents[2] / "models" / "classifier"


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.jsonl", exists=True, dir_okay=False, readable=True, help="Labelled requests."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    model: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            envvar="HOMEWARD_CLASSIFIER__MODELS_DIR",
            help="The folder of the classifier's model.",
            show_default="the one that came with Homeward",
        ),
    ] = MODEL,
) -> None:
    """Measure how well the classifier tells task type and target of labelled requests.

    Each line of FILE.jsonl is an object with `messages` (and `tools`, `response_format`) as in OpenAI's chat
    API, `label` (the task type), `tier` (sovereign, or frontier for the cloud), and `source` if you like.
    Each request is read alone, on one thread, by the code that serves.

    --json has: n; accuracy and macro_f1 of the task type; tier_accuracy of the target; ece and tier_ece
    (calibration errors, 15 bins); the 95 % Wilson intervals accuracy_wilson_95 and tier_accuracy_wilson_95;
    abstained (the share of which production says nothing); risk_coverage (coverage, accuracy and
    tier_accuracy of the most confident 95, 90, 80 and 60 %); by_class; by_source; confusion (labels,
    matrix, and no_guess: rows in a language that the model does not know, which count as wrong); latency_ms
    (p50, p99 of one request); next_step.
    """
    # Loading numpy and onnxruntime takes longer than all other commands together.
    from playbook.evaluation import printed, task_types
    from playbook.evaluation.rows import read_rows
    from services.classifier.adapters.reader import Reader

    try:
        rows = read_rows(file)
        reader = Reader(model, threads=1)
    except (DomainError, OSError, ValueError) as error:
        raise stopped(getattr(error, "message", None) or str(error), f"correct {file}.") from None
    console = Console(stderr=True)
    with Progress(console=console, disable=as_json or not console.is_terminal) as progress:
        task = progress.add_task(f"Reading {len(rows):,} requests", total=len(rows))
        found = task_types.outcomes(
            rows, reader, reader.general.abstain_below, lambda: progress.advance(task)
        )
    report = task_types.report(found)
    step = (
        "where it errs, make the workload known: `homeward workload add NAME --examples FILE.jsonl` names it"
        " from 5 to 50 of its requests."
    )
    if as_json:
        tell_json(report, step)
        return
    typer.echo(printed.page(report))
    tell_next(step)
