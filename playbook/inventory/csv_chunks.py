"""A CSV file in pieces of a few megabytes, as columns of bytes.

Each piece is read by itself, so that a broken one costs no other: where the fast reader gives up, the lines
of the piece are read one by one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from playbook.inventory.rows import BadRow
from playbook.inventory.stream import MAX_RECORD_BYTES, Stream

CHUNK_BYTES = 4 * 1024 * 1024
MAX_OPEN_BYTES = 4 * CHUNK_BYTES
"""How much is looked through for the end of a quoted value; beyond, a quote is missing."""
_DELIMITERS = ",;\t|"
_QUOTE = b'"'


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line says."""

    names: tuple[str, ...]
    delimiter: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of a file."""

    columns: dict[int, pa.Array]
    """Bytes, by the column's place."""
    lines: npt.NDArray[np.int64]
    """Line of each row; of a file with line feeds in its values, nearly."""
    bad: tuple[BadRow, ...]
    """Lines that do not have a value for each column."""


def header(head: bytes) -> Header | None:
    """The header of a CSV file; None if the text has no two columns.

    Args:
        head: the first bytes of the file.
    """
    first = head.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")
    if not first.strip():
        return None
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        names = next(csv.reader([first], delimiter=delimiter))
    except (csv.Error, StopIteration):
        return None
    return Header(tuple(name.strip() for name in names), delimiter) if len(names) > 1 else None


def chunks(stream: Stream, form: Header, wanted: Sequence[int]) -> Iterator[Chunk]:
    """The rows below the header.

    Args:
        stream: the file, at its beginning.
        form: its header.
        wanted: places of the columns that are read.
    """
    line, started = 1, False
    for part, whole in _parts(stream):
        if not started:
            # Blank lines may stand above the header.
            blank = len(part) - len(part.lstrip(b"\r\n"))
            end = part.find(b"\n", blank) + 1 or len(part)
            line += part.count(b"\n", 0, end)
            started, rest = True, part[end:]
        else:
            rest = part
        if rest.strip():
            yield _chunk(rest, line, whole, form, wanted)
        line += rest.count(b"\n")


def _parts(stream: Stream) -> Iterator[tuple[bytes, bool]]:
    """Pieces that end at the end of a row, and whether each has all ends of its quotes."""
    rest = b""
    while True:
        more = stream.read(CHUNK_BYTES)
        rest = rest + more if rest else more
        if not more:
            if rest:
                yield rest, rest.count(_QUOTE) % 2 == 0
            return
        if len(rest) < CHUNK_BYTES:
            continue
        end = _end(rest)
        if end:
            yield rest[:end], True
        elif len(rest) > MAX_OPEN_BYTES:
            end = rest.rfind(b"\n") + 1
            if not end and len(rest) < MAX_RECORD_BYTES:
                continue
            end = end or len(rest)
            yield rest[:end], False
        rest = rest[end:]


def _end(text: bytes) -> int:
    """Just behind the last line feed that is in no quoted value; 0 if there is none."""
    end = text.rfind(b"\n") + 1
    quotes = text.count(_QUOTE, 0, end)
    while end and quotes % 2:
        before = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(_QUOTE, before, end)
        end = before
    return end


def _chunk(text: bytes, line: int, whole: bool, form: Header, wanted: Sequence[int]) -> Chunk:
    if whole:
        bad: list[tuple[int, int]] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            # A blank line is no row.
            if row.text.strip():
                bad.append((row.number, row.actual_columns))
            else:
                bad.append((row.number, 0))
            return "skip"

        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(text),
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False,
                    column_names=[str(place) for place in range(len(form.names))],
                    block_size=max(len(text), 1),
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=form.delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                    invalid_row_handler=skip,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=[str(place) for place in wanted],
                    column_types={str(place): pa.binary() for place in wanted},
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid:
            return _by_line(text, line, form, wanted)
        ordinals = np.arange(1, table.num_rows + len(bad) + 1, dtype=np.int64)
        kept = np.setdiff1d(ordinals, np.array([number for number, _ in bad], np.int64), assume_unique=True)
        return Chunk(
            {place: table.column(str(place)).combine_chunks() for place in wanted},
            kept + (line - 1),
            tuple(BadRow(line - 1 + number, _miscounted(form, found), "") for number, found in bad if found),
        )
    return _by_line(text, line, form, wanted)


def _by_line(text: bytes, line: int, form: Header, wanted: Sequence[int]) -> Chunk:
    kept: list[list[bytes]] = []
    lines: list[int] = []
    bad: list[BadRow] = []
    for number, raw in enumerate(text.split(b"\n"), line):
        if not raw.strip():
            continue
        try:
            # Latin-1 takes every byte as it is.
            values = next(csv.reader([raw.rstrip(b"\r").decode("latin-1")], delimiter=form.delimiter))
        except (csv.Error, StopIteration) as error:
            bad.append(BadRow(number, f"no CSV ({error})", ""))
            continue
        if len(values) != len(form.names):
            bad.append(BadRow(number, _miscounted(form, len(values)), ""))
            continue
        kept.append([value.encode("latin-1") for value in values])
        lines.append(number)
    columns = {place: pa.array([row[place] for row in kept], pa.binary()) for place in wanted}
    return Chunk(columns, np.array(lines, np.int64), tuple(bad))


def _miscounted(form: Header, found: int) -> str:
    return f"{found} values in a row of {len(form.names)} columns"
