"""`homeward inventory`: what an organisation uses LLMs for, what that costs, and what to move first."""

from __future__ import annotations

import typer

from playbook.commands.inventory_import import import_
from playbook.commands.inventory_show import show

app = typer.Typer(no_args_is_help=True, help="What LLMs are used for, what that costs, what to move first.")
app.command("import")(import_)
app.command("show")(show)
