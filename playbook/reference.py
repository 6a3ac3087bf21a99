"""docs/commands.md, made of the tree of commands: `python -m playbook.reference`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from playbook.tree import PAGES, PATH, phase, top_names

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
HOW = "docs/commands.md is stale: run `python -m playbook.reference`"

EXIT_CODES = (
    (0, "done; also when nothing was to do"),
    (
        1,
        "it could not be done, or it found something wrong: a service that is down, a book that is not whole,"
        " a bill that is not explained, a move that is blocked, a setting that is wrong. The output says"
        " what; with `--json` there is an `error` if it could not be done",
    ),
    (2, "wrong use: an option, an argument or a command that there is not"),
    (
        3,
        "`report --verify`: the numbers hold, but another version or kind of machine wrote the file, so that"
        " what it shows can't be held against them",
    ),
    (70, "a defect of Homeward; `HOMEWARD_TRACEBACK=1` shows where"),
    (130, "stopped by Ctrl-C; what a service had begun to do, it finishes"),
)
ENVIRONMENT = (
    (
        "`HOMEWARD_API_KEY`",
        "the key of who asks: for `cutover`, `rollback`, `shadow examples`, `report` and `doctor`",
    ),
    (
        "`HOMEWARD_SECTION__KEY`",
        "overrides a setting: `HOMEWARD_ROUTER__HTTP` is `[router] http` ([settings.md](settings.md))",
    ),
    ("`HOMEWARD_CLICKHOUSE__PASSWORD`", "the password of ClickHouse's user; keep it out of homeward.toml"),
    (
        "`HOMEWARD_CLOUD_BASE_URL`, `HOMEWARD_CLOUD_API_KEY`, `HOMEWARD_CLOUD_PROVIDER`",
        "a cloud API in place of the stand-in, for `make run`",
    ),
    ("`HOMEWARD_TRACEBACK`", "if set, a defect is shown with its traceback"),
    ("`COLUMNS`", "the width of tables and help where the output is no terminal; else 80"),
    ("`NO_COLOR`", "if set, no colours (bold stays)"),
)
TEXT = """## What all have in common

- The last line is `Next: …`: what to do now, also when something failed. In JSON it is `next_step`.
- `--json` prints one JSON object to the standard output, and nothing else there. `--help` lists what it
  has; null is unknown, which is not zero. If the command could not do its work, the object is
  `{"error": {"reason", "message", "details", "next_step"}}`: `reason` is one of the reasons of
  [error_reason.proto](../protos/homeward/common/v1/error_reason.proto) where a service refused, or
  `USAGE`, `SETTINGS_WRONG`, `SERVICE_DOWN`, `CANCELLED`, `FAILED`, `DEFECT`.
- `--settings FILE` names the settings, where a command reads them; without it, homeward.toml of the
  folder where it is called.
- Without `--json`, errors go to the standard error. Progress is shown on a terminal only, there too.
- A table that does not fit the terminal becomes a block of lines for each row. Elsewhere than on a
  terminal, each `Next:` stays on one line.
- `shadow start` and `rollback` ask first; with `--yes` they do not.

"""
COMPLETION = """## Completion

`homeward --install-completion` adds it to the shell that you use (bash, zsh, fish, PowerShell); open a new
one then. Names of commands and options are completed, and the words that an option may have; workloads as
homeward.toml has them and as the classifier knows them, if it answers within 0.3 s; data classes of
homeward.toml; scorers, scenarios, strata; files.
"""


def page() -> str:
    """The whole page."""
    return "".join([*_commands(), TEXT, *_exit_codes(), *_environment(), COMPLETION])


def _commands() -> Iterator[str]:
    yield "# The commands\n\n"
    yield "Made by `python -m playbook.reference`; every command has `--help`, with examples.\n\n"
    yield "The way home is five of them ([playbook.md](playbook.md)):\n\n"
    yield "```\n"
    yield from (f"{typed:<33}# {about}\n" for typed, about in PATH)
    yield "```\n\n"
    yield "| phase | command | what it does |\n|---|---|---|\n"
    names = [words for name in top_names() for words in PAGES if words.split()[0] == name]
    for heading, words in groupby(names, key=lambda words: phase(words.split()[0])):
        for first, name in enumerate(words):
            yield f"| {heading if not first else ''} | `homeward {name}` | {PAGES[name].summary} |\n"
    yield "\n"


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n\n| code | meaning |\n|---|---|\n"
    yield from (f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES)
    yield "\n"


def _environment() -> Iterator[str]:
    yield "## Environment\n\n| variable | what it does |\n|---|---|\n"
    yield from (f"| {name} | {meaning} |\n" for name, meaning in ENVIRONMENT)
    yield "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
