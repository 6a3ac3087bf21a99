"""`homeward doctor`: checks each part, and says what to do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from playbook.doctor.examine import examine
from playbook.doctor.findings import Finding, State, counts, document, failed, next_step
from playbook.shown import tell, tell_next
from services.common.info import package_version
from services.common.settings import DEFAULT_FILE

STATE_CELLS = 9
"""Of the column with the state, indented below its part."""
CHECK_CELLS = 28
"""Of the column with the check, at most."""
_STYLES = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.FAILED: "bold red",
    State.UNKNOWN: "magenta",
}


def doctor(
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Ask each model at home what it can do: about ten legs each, booked."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Check each part: reachable, version, schema, clock, disk, models; and say what to do.

    Everything is asked at once, each part within its own time, so that one that hangs holds up no other.
    Nothing is changed. Checks end ok, with a warning, failed, or unknown: then it could not be checked, and
    the line says why. Ends with code 1 if something has failed; warnings and unknowns are no failure.

    What models can do is as shadow's last probes found; with --probe each is asked now, which needs a key
    with the scope `experiments` (of `make run`: its own). Those legs are booked with the purpose `probe`.

    The key for the router is HOMEWARD_API_KEY, else that of `make run`; one with a scope is also told
    folders and queues.

    --json has: version (of this command), settings, failed, counts (by state), checks (part, check, state,
    found, todo), next_step. docs/doctor.md explains every check.
    """
    began = time.monotonic()
    found = asyncio.run(_examined(settings, probe=probe, shown=not as_json))
    if as_json:
        told = document(found, package_version(), str(settings))
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _print(found, time.monotonic() - began)
    if failed(found):
        raise typer.Exit(1)


async def _examined(settings: Path, *, probe: bool, shown: bool) -> list[Finding]:
    """The findings; on a terminal with a bar as long as they take."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        return await examine(settings, probe=probe)
    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        return await examine(
            settings,
            probe=probe,
            begun=lambda count: bar.update(task, total=count),
            tell=lambda part: bar.update(task, advance=1, description=part),
        )


def _print(found: Sequence[Finding], took_s: float) -> None:
    console = Console(highlight=False)
    width = min(max(len(item.check) for item in found), CHECK_CELLS)
    for part, items in groupby(found, key=lambda item: item.part):
        grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        grid.add_column(width=STATE_CELLS)
        grid.add_column(overflow="fold", width=width)
        grid.add_column(overflow="fold", ratio=1)
        for item in items:
            style = _STYLES[item.state]
            grid.add_row(f"  [{style}]{item.state.value}[/{style}]", escape(item.check), escape(item.found))
            if item.todo:
                grid.add_row("", "", f"→ {escape(item.todo)}")
        console.print(f"[bold]{escape(part)}[/bold]")
        console.print(grid)
    numbers = ", ".join(f"{count} {state.value}" for state, count in counts(found).items() if count)
    tell(f"\n{numbers}, in {took_s:.1f} s.")
    tell_next(_sentence(next_step(found)))


def _sentence(step: str) -> str:
    return step if step.endswith(".") else f"{step}."
