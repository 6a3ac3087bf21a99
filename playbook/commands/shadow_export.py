"""`homeward shadow export`: the triplets of a workload as a file, so that anyone can check its verdict."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from playbook import completing
from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.known import did_you_mean, workloads
from playbook.shown import tell, tell_json, tell_next
from playbook.stopped import stopped
from playbook.triplets import Exported, NothingToExportError
from playbook.triplets import export as export_triplets
from services.common.settings import DEFAULT_FILE

QUERY = Path(__file__).parents[1] / "queries" / "shadow_rules.sql"
US_PER_S = 1_000_000
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_RULES = ("margin", "alpha", "window_us", "watermark_us", "min_windows", "strata")


def export(
    workload: Annotated[str, typer.Argument(help="Whose triplets.", autocompletion=completing.workloads)],
    file: Annotated[Path, typer.Argument(help="Parquet if its name ends in .parquet, else CSV.")],
    epoch: Annotated[int | None, typer.Option(min=1, help="One epoch; left out: all of them.")] = None,
    lane: Annotated[
        Literal["", "cloud", "degraded", "after"],
        typer.Option(help="A control, or `after`: what was sampled at home. Left out: the comparison."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where ClickHouse is.")
    ] = DEFAULT_FILE,
) -> None:
    """Write the triplets of a workload's newest experiment to a file, which `homeward shadow replay` reads.

    The file has scores, times and hashes, and no text of any prompt or answer. What shadow has finished and
    not yet sent to the book is missing: some seconds. docs/verdict.md defines the columns.

    --json has: file; rows; experiment_id; epochs (of each the epoch, its rules, and the verdict, log_k and
    histogram_sha256 of its last window in the book); next_step.
    """
    try:
        with closing(reader(settings)) as client, _bar(shown=not as_json) as bar:
            task = bar.add_task("", total=None)
            done = export_triplets(
                client, workload, epoch, file, lane, lambda count: bar.update(task, completed=count)
            )
            known = {"experiment_id": done.experiment_id, "epochs": list(done.epochs), "lane": lane}
            found = client.query(QUERY.read_text(encoding="utf-8"), parameters=known)
            epochs = list(found.named_results())
    except NothingToExportError as error:
        near = did_you_mean(workload, workloads(settings))
        step = f"`homeward shadow funnel {workload}` shows what there is."
        raise stopped(f"{error}{near}", step) from None
    except UNREACHABLE as error:
        raise stopped(f"the triplets can't be exported: {first_line(error)}") from None
    if as_json:
        told = {
            "file": str(file),
            "rows": done.rows,
            "experiment_id": str(done.experiment_id),
            "epochs": epochs,
        }
        tell_json(told, _next(file, epochs, lane))
        return
    _print(file, done, epochs, lane)


def replay_command(file: Path, rules: Mapping[str, Any]) -> str:
    """What checks the file by its experiment's rules."""
    words = ["homeward", "shadow", "replay", "--triplets", str(file)]
    words += ["--margin", f"{rules['margin']:g}", "--alpha", f"{rules['alpha']:g}"]
    words += ["--window", _length(rules["window_us"]), "--watermark", _length(rules["watermark_us"])]
    words += ["--min-windows", str(rules["min_windows"])]
    if rules["strata"]:
        words += ["--strata", ",".join(rules["strata"])]
    return shlex.join(words)


def _length(value_us: int) -> str:
    """As `replay` reads it."""
    whole = value_us // US_PER_S
    size, name = next((unit for unit in _UNITS if whole and whole % unit[0] == 0), (1, "s"))
    return f"{whole // size}{name}"


def _bar(*, shown: bool) -> Progress:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} triplets"))
    return Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal))


def _print(file: Path, done: Exported, epochs: Sequence[Mapping[str, Any]], lane: str) -> None:
    which = ", ".join(map(str, done.epochs))
    tell(f"{done.rows:,} triplets of epoch {which} are in {file}.")
    for item in epochs:
        if item["verdict"]:
            tell(
                f"The book says {item['verdict']} of epoch {item['epoch']}: ln K {item['log_k']:.4f},"
                f" histogram {item['histogram_sha256']}."
            )
    step = _next(file, epochs, lane)
    if "\n" in step:
        # A command that is copied must be one line.
        typer.echo(f"\nNext: {step}")
    else:
        tell_next(step)


def _next(file: Path, epochs: Sequence[Mapping[str, Any]], lane: str) -> str:
    if not epochs or lane == "after":
        return f"`homeward shadow replay --triplets {file}` computes windows; the book has none of its own."
    if any(item[name] != epochs[0][name] for item in epochs for name in _RULES):
        return "export one --epoch, since their rules differ; then replay it."
    return f"the same windows must come out of\n\n  {replay_command(file, epochs[-1])}"
