"""How a command ends that can't go on: what is wrong and what to do, in words or as one JSON object."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import typer

from playbook.lines import fitted

ASK_DOCTOR = "`homeward doctor` checks each part, and says what to do."

_as_json: ContextVar[bool] = ContextVar("_as_json", default=False)


@contextmanager
def answering(*, as_json: bool) -> Iterator[None]:
    """Within it, errors are told as JSON on the standard output, or as text on the standard error."""
    before = _as_json.set(as_json)
    try:
        yield
    finally:
        _as_json.reset(before)


def stopped(
    message: str,
    next_step: str = ASK_DOCTOR,
    *,
    reason: str = "FAILED",
    details: Sequence[str] = (),
    code: int = 1,
) -> typer.Exit:
    """Tells why the command can't go on; raise what it gives.

    Args:
        message: what is wrong, a sentence without its full stop.
        next_step: what to do about it.
        reason: for programs: one of services.common.errors.Reason, or FAILED, USAGE, SETTINGS_WRONG,
            SERVICE_DOWN, DEFECT.
        details: what the message is about, a line each.
        code: the exit code.
    """
    if _as_json.get():
        error = {"reason": reason, "message": message, "details": list(details), "next_step": next_step}
        typer.echo(json.dumps({"error": error}, ensure_ascii=False))
    else:
        text = "\n".join([message, *(f"  - {line}" for line in details), f"Next: {next_step}"])
        typer.echo(
            fitted(text, shutil.get_terminal_size().columns) if sys.stderr.isatty() else text, err=True
        )
    return typer.Exit(code)
