"""The `homeward` command."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.config import load_local
from deploy.local.state import API_KEY_PREFIX
from playbook.commands import classifier, inventory, ledger, shadow, status, workload
from services.common.settings import DEFAULT_FILE, SettingsError

app = typer.Typer(no_args_is_help=True, add_completion=True, help="Move LLM workloads home, one at a time.")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
settings_app = typer.Typer(no_args_is_help=True, help="The settings file.")
app.add_typer(key_app, name="key")
app.add_typer(settings_app, name="settings")
app.add_typer(workload.app, name="workload")
app.add_typer(inventory.app, name="inventory")
app.add_typer(classifier.app, name="classifier")
app.add_typer(shadow.app, name="shadow")
app.add_typer(ledger.app, name="ledger")
app.command("status")(status.status)

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


@key_app.command("new")
def key_new(name: Annotated[str, typer.Argument(help="Lower-case words joined by hyphens.")]) -> None:
    """Make an API key: the secret, once, and the section for homeward.toml that has only its hash."""
    if not _NAME.match(name):
        raise typer.BadParameter(f"{name!r} is not lower-case words joined by hyphens (at most 63 signs)")
    secret = API_KEY_PREFIX + secrets.token_urlsafe(24)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    typer.echo(f"The key, which is shown only now:\n\n  {secret}\n")
    typer.echo(
        f'Next: put this into homeward.toml and restart the router:\n\n  [keys.{name}]\n  sha256 = "{digest}"'
    )


@settings_app.command("check")
def settings_check(
    file: Annotated[Path, typer.Argument(help="The settings file.")] = DEFAULT_FILE,
) -> None:
    """Check the settings of all services; every mistake has a line."""
    try:
        # `make run` sets the hash of the key `demo` itself.
        load_local(file, {"HOMEWARD_KEYS__DEMO__SHA256": "0" * 64, **os.environ})
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{file} is right. Next: `make run`.")


if __name__ == "__main__":
    app()
