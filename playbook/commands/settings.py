"""`homeward settings`: whether homeward.toml is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from playbook.doctor.read_settings import read_settings
from playbook.shown import tell, tell_json, tell_next
from services.common.settings import DEFAULT_FILE


def check(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The settings file.")] = DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the settings of all services; every mistake has a line.

    Ends with code 1 if there is one. What the environment overrides (HOMEWARD_ROUTER__HTTP is [router] http)
    is checked as it is.

    --json has: file; right; mistakes (a text each); next_step.
    """
    mistakes = list(read_settings(file).mistakes)
    step = f"mend {file}, and check it again." if mistakes else _start(file)
    if as_json:
        tell_json({"file": str(file), "right": not mistakes, "mistakes": mistakes}, step)
    elif mistakes:
        typer.echo("\n".join([*mistakes, f"Next: {step}"]), err=True)
    else:
        tell(f"{file} is right.")
        tell_next(step)
    if mistakes:
        raise typer.Exit(1)


def _start(file: Path) -> str:
    return "`make run`." if file == DEFAULT_FILE else "start or restart the services with it."
