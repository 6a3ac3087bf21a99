"""How commands print: tables that fit, and lines whose commands can be copied."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from playbook.lines import fitted

BREAKABLE = 24
"""Cells of a word from which on it may be broken in a column that folds."""


def tell(text: str) -> None:
    """Prints plain text: on a terminal in lines that fit, else as it is, for programs that read lines."""
    typer.echo(fitted(text, Console().width) if sys.stdout.isatty() else text)


def tell_next(step: str, *, gap: bool = True) -> None:
    """Prints the next step, the last line of every command.

    Args:
        step: what to do, which ends with a full stop.
        gap: whether there is an empty line before.
    """
    tell(f"{chr(10) if gap else ''}Next: {step}")


def tell_json(document: Mapping[str, Any], step: str) -> None:
    """Prints one JSON object, with the next step, and nothing else; what JSON has no word for is text."""
    typer.echo(json.dumps({**document, "next_step": step}, ensure_ascii=False, default=str))


def table_or_records(table: Table, width: int) -> RenderableType:
    """The table if it fits without breaking a word, else a block for each row, a line for each column.

    Args:
        table: of plain cells, which are text or markup.
        width: in cells.
    """
    if _least_width(table) <= width:
        return table
    names = [str(column.header) for column in table.columns]
    # A place alone is no heading.
    heads = 2 if names[0] == "#" else 1
    parts: list[RenderableType] = [Text(str(table.title), style="italic")] if table.title else []
    for row in zip(*(list(column.cells) for column in table.columns), strict=True):
        block = Table.grid(padding=(0, 2, 0, 0))
        block.add_column(no_wrap=True)
        block.add_column(overflow="fold")
        for name, cell in zip(names[heads:], row[heads:], strict=True):
            block.add_row(f"  {name}", cell)
        parts += [*([""] if parts else []), f"[bold]{' '.join(map(str, row[:heads]))}[/bold]", block]
    return Group(*parts)


def _least_width(table: Table) -> int:
    """Cells below which a word would be broken, or text that must stay on its line cut."""
    width = 0
    for column in table.columns:
        _, right, _, left = table.padding
        texts = [Text.from_markup(str(cell)).plain for cell in (column.header, *column.cells)]
        if column.no_wrap:
            least = max(map(cell_len, texts))
        else:
            words = (word for text in texts for word in text.split())
            least = min(max(map(cell_len, words), default=0), BREAKABLE)
        width += max(least, column.min_width or 0) + left + right
    return width - (table.padding[1] if not table.pad_edge else 0)
