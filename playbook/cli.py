"""The `homeward` command."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from deploy.local.state import API_KEY_PREFIX
from services.common.settings import DEFAULT_FILE, SettingsError, load

PAGES: Mapping[str, str] = {
    "workload": "playbook.commands.workload:app",
    "inventory": "playbook.commands.inventory:app",
    "plan": "playbook.commands.plan:plan",
    "finance": "playbook.commands.finance:finance",
    "classifier": "playbook.commands.classifier:app",
    "shadow": "playbook.commands.shadow:app",
    "cutover": "playbook.commands.cutover:cutover",
    "rollback": "playbook.commands.cutover:rollback",
    "report": "playbook.commands.report:report",
    "ledger": "playbook.commands.ledger:app",
    "status": "playbook.commands.status:status",
}
"""Where a command, or a group of commands, lives."""


class Pages(TyperGroup):
    """Imports a page when it is asked for: a rollback does not wait for what imports need."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, those of the pages first."""
        return [*PAGES, *(name for name in super().list_commands(ctx) if name not in PAGES)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name."""
        if cmd_name in PAGES and cmd_name not in self.commands:
            module, _, attribute = PAGES[cmd_name].partition(":")
            found, host = getattr(import_module(module), attribute), typer.Typer()
            if isinstance(found, typer.Typer):
                host.add_typer(found, name=cmd_name)
            else:
                host.command(cmd_name)(found)
            self.commands[cmd_name] = typer.main.get_group(host).commands[cmd_name]
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=Pages, no_args_is_help=True, add_completion=True, help="Move LLM workloads home, one at a time."
)
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
settings_app = typer.Typer(no_args_is_help=True, help="The settings file.")
app.add_typer(key_app, name="key")
app.add_typer(settings_app, name="settings")

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
    from deploy.local.config import load_local
    from playbook.plan.settings import PlanConfig
    from playbook.report.settings import ComplianceConfig

    try:
        # `make run` sets the hash of the key `demo` itself.
        load_local(file, {"HOMEWARD_KEYS__DEMO__SHA256": "0" * 64, **os.environ})
        load(PlanConfig, *PlanConfig.model_fields, path=file, environment=os.environ)
        load(ComplianceConfig, "compliance", path=file, environment=os.environ)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{file} is right. Next: `make run`.")


if __name__ == "__main__":
    app()
