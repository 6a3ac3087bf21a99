"""The `homeward` command: finds the page that is asked for, and sees to how it ends."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from playbook.help_text import examples, flowing, path
from playbook.stopped import answering, stopped
from playbook.tree import GROUPS, PAGES, phase, top_names

PROGRAM = "homeward"
USAGE, DEFECT, INTERRUPTED = 2, 70, 130
"""Exit codes beside 0 and 1; docs/commands.md has them all."""
TRACEBACK = "HOMEWARD_TRACEBACK"
"""Environment variable: if set, a defect is shown with its traceback."""

# Where Typer keeps its base class of errors differs between its versions.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


class _Command(TyperCommand):
    """A page, whose help ends with examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Fits the examples to the terminal."""
        words = ctx.command_path.removeprefix(PROGRAM).strip()
        if words in PAGES:
            self.epilog = examples(PAGES[words].examples, shutil.get_terminal_size().columns)
        super().format_help(ctx, formatter)


class Pages(TyperGroup):
    """Imports a page when it is asked for: a rollback does not wait for what imports need."""

    prefix = ""
    """The words between `homeward` and this group's commands."""
    _lines_only = False

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the playbook's order."""
        if not self.prefix:
            return top_names()
        return [words.removeprefix(self.prefix) for words in PAGES if words.startswith(self.prefix)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; while names are listed, only its line of help."""
        words = f"{self.prefix}{cmd_name}"
        if words not in PAGES and words not in GROUPS:
            return None
        if self._lines_only:
            summary = GROUPS[words].summary if words in GROUPS else PAGES[words].summary
            panel = None if self.prefix else phase(cmd_name)
            return TyperCommand(cmd_name, help=summary, rich_help_panel=panel, rich_markup_mode="rich")
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _group(words) if words in GROUPS else _page(words)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Says which command might be meant, if there is none of that name."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"no such command {name!r}{self._near(name)}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Lists the commands without their pages."""
        if not self.prefix:
            self.epilog = path(shutil.get_terminal_size().columns)
        with self._listing():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Completes names without their pages."""
        with self._listing():
            return super().shell_complete(ctx, incomplete)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command line, and ends the process with its exit code."""
        given = sys.argv[1:] if args is None else list(args)

        def run() -> Any:
            return super(Pages, self).main(given, PROGRAM, complete_var, False, windows_expand_args, **extra)

        if not standalone_mode:
            return run()
        with answering(as_json="--json" in given), _silent_libraries():
            sys.exit(_exit_code(run))

    @contextmanager
    def _listing(self) -> Iterator[None]:
        self._lines_only = True
        try:
            yield
        finally:
            self._lines_only = False

    def _near(self, name: str) -> str:
        moved = [words for words in PAGES if words.endswith(f" {name}")]
        names = [f"{self.prefix}{item}" for item in self.list_commands(None)]
        near = moved or get_close_matches(f"{self.prefix}{name}", names, n=1)
        return f"; did you mean `{PROGRAM} {near[0]}`?" if near else ""


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Libraries log what they try again; whoever reads a command wants to know what came of it."""
    before, logging.lastResort = logging.lastResort, logging.NullHandler()
    try:
        yield
    finally:
        logging.lastResort = before


def _group(name: str) -> Pages:
    made = Pages(
        name=name, help=GROUPS[name].summary, no_args_is_help=True, rich_markup_mode="rich", commands={}
    )
    made.prefix = f"{name} "
    return made


def _page(words: str) -> Any:
    module, _, attribute = PAGES[words].where.partition(":")
    host = typer.Typer(add_completion=False, rich_markup_mode="rich")
    host.command(words.rpartition(" ")[2], cls=_Command)(getattr(import_module(module), attribute))
    made = typer.main.get_command(host)
    made.help = flowing(made.help or "")
    return made


def _exit_code(run: Any) -> int:
    """Runs a command line, and tells what it ended with."""
    try:
        ended = run()
    except _ClickError as error:
        return _usage(error)
    except typer.Abort as error:
        # A prompt that is interrupted is told from one that is answered by no by what it came from.
        if isinstance(error.__context__, KeyboardInterrupt):
            return INTERRUPTED
        nobody = isinstance(error.__context__, EOFError)
        message = "nobody is there to answer" if nobody else "stopped, as you said; nothing was changed"
        step = (
            "the same command with --yes does not ask." if nobody else "run it again if you change your mind."
        )
        return int(stopped(message, step, reason="CANCELLED").exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        what = (str(error).strip() or "no more is known").splitlines()[0][:300]
        step = f"report it, with what the same command prints when {TRACEBACK}=1 is set."
        message = f"a defect of Homeward: {type(error).__name__}: {what}"
        return int(stopped(message, step, reason="DEFECT", code=DEFECT).exit_code)
    return ended if isinstance(ended, int) else 0


def _usage(error: Any) -> int:
    # Help was printed in place of a command that was left out.
    if type(error).__name__ == "NoArgsIsHelpError":
        return USAGE
    context = getattr(error, "ctx", None)
    where = context.command_path if context else PROGRAM
    message = " ".join(error.format_message().split()).rstrip(".")
    step = f"`{where} --help` shows what it takes."
    return int(stopped(f"{where}: {message}", step, reason="USAGE", code=USAGE).exit_code)


app = typer.Typer(
    cls=Pages,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    help="Move LLM workloads home, one at a time.",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{PROGRAM} {version(PROGRAM)}")
        raise typer.Exit


@app.callback()
def homeward(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Move LLM workloads home, one at a time."""


if __name__ == "__main__":
    app()
