"""Text of the help that must keep its lines: examples and the way home, fitted to a terminal."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from textwrap import wrap

from playbook.tree import DOCS, PATH

INDENT = "  "
MARGIN = 2
"""Cells that the help leaves free at its edges."""


def flowing(text: str) -> str:
    """A docstring whose paragraphs are lines, so that they fit any terminal, and whose brackets are text."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return _plain("\n\n".join(paragraphs))


def examples(items: Sequence[tuple[str, str]], width: int) -> str:
    """What to type, each below what it does."""
    lines = ["[bold]Examples[/bold]" if len(items) > 1 else "[bold]Example[/bold]"]
    for arguments, about in items:
        command = f"homeward {arguments}"
        lines += ["", f"{INDENT}[dim]# {_plain(about)}[/dim]", *map(_plain, broken(command, width - MARGIN))]
    return "\n".join(lines)


def path(width: int) -> str:
    """The five commands of the way home, and where the documents are."""
    longest = max(len(command) for command, _ in PATH)
    lines = ["[bold]The way home[/bold]", ""]
    for command, about in PATH:
        line = f"{INDENT}{command:<{longest}}{INDENT}{about}"
        lines.append(line if len(line) <= width - MARGIN else f"{INDENT}{command}\n{INDENT * 3}{about}")
    lines += ["", *wrap(f"Docs: {DOCS}", width - MARGIN)]
    return "\n".join(map(_keep_bold, lines))


def broken(command: str, width: int) -> list[str]:
    """A command on lines that a shell reads as one, no word of it broken."""
    lines, line = [], INDENT
    for word in _words(command):
        longer = f"{line} {word}" if line.strip() else f"{line}{word}"
        if len(longer) + 2 > width and line.strip():
            lines.append(f"{line} \\")
            line = f"{INDENT * 3}{word}"
        else:
            line = longer
    return [*lines, line]


def _words(command: str) -> list[str]:
    """An option with its value is one word."""
    if "|" in command:
        return command.split(" ")
    words: list[str] = []
    for word in map(_quoted, shlex.split(command)):
        after_option = bool(words) and words[-1].startswith("--") and " " not in words[-1]
        if after_option and not word.startswith("-"):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _plain(text: str) -> str:
    """Brackets that markup would take for its own."""
    return re.sub(r"\[(?=[a-z/#@])", r"\\[", text)


def _keep_bold(line: str) -> str:
    return line if line.startswith("[bold]") else _plain(line)
