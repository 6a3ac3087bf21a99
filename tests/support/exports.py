"""Exports that tests write and read."""

from __future__ import annotations

from pathlib import Path

from playbook.inventory.rows import BadRow, UsageRow
from playbook.inventory.sniff import Export, open_export

COUNTS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def read(
    path: Path, *, provider: str = "", model: str = "", project: str = ""
) -> tuple[Export, list[UsageRow], list[BadRow]]:
    """A file as an export, its rows and its bad rows."""
    export = open_export(path, provider=provider, model=model, project=project)
    rows = list(export.rows())
    return (
        export,
        [row for row in rows if isinstance(row, UsageRow)],
        [row for row in rows if isinstance(row, BadRow)],
    )


def written(folder: Path, content: str | bytes, name: str = "export") -> Path:
    """A file with that content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def counts(row: UsageRow) -> tuple[int | None, ...]:
    """A row's tokens by class."""
    return tuple(getattr(row, name) for name in COUNTS)
