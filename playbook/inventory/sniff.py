"""Tells an export's format by what stands in it, whatever its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from playbook.inventory import csv_chunks
from playbook.inventory.columns import SCHEMA, rows_of, table_of
from playbook.inventory.csv_chunks import Header
from playbook.inventory.formats import (
    anthropic_costs,
    anthropic_usage,
    focus,
    openai_costs,
    openai_usage,
    plain_csv,
    request_log,
)
from playbook.inventory.providers import provider_named
from playbook.inventory.reading import Observe, Reading
from playbook.inventory.repeats import Repeats
from playbook.inventory.rows import BadRow, UsageRow
from playbook.inventory.stream import Stream

BLOCK_ROWS = 50_000
"""Rows of a table that comes from a reader of single rows."""
ACCEPTED = (
    "OpenAI's organisation usage (JSON, CSV) or costs (JSON), Anthropic's usage or cost report (JSON), a"
    " FOCUS 1.x export (CSV, Parquet), a log of requests (JSON, one a line), or a CSV with a time, a model,"
    " input tokens and output tokens"
)
BUCKETED = frozenset({"openai_usage", "openai_costs", "anthropic_usage", "anthropic_costs"})
"""Formats whose rows are buckets of time, split by what the query grouped by."""
COSTS = frozenset({"openai_costs", "anthropic_costs", "focus"})
"""Formats whose rows are money that was billed."""
_NAMED_BY_CONTENT = frozenset({"plain_csv", "request_log", "focus"})
"""Formats in which two rows may say the same and yet be two."""
_PAGES: Mapping[str, Callable[[Stream, Reading], Iterator[UsageRow | BadRow]]] = {
    "openai_usage": openai_usage.rows,
    "openai_costs": openai_costs.rows,
    "anthropic_usage": anthropic_usage.rows,
    "anthropic_costs": anthropic_costs.rows,
    "request_log": request_log.rows,
}
_TABLES: Mapping[str, Callable[[Stream, Reading, Header], Iterator[UsageRow | BadRow]]] = {
    "openai_usage": openai_usage.csv_rows,
    "focus": focus.csv_rows,
}
_MARKS: Sequence[tuple[str, re.Pattern[bytes]]] = (
    ("openai_costs", re.compile(rb'"organization\.costs\.result"')),
    ("openai_usage", re.compile(rb'"organization\.usage\.|"num_model_requests"')),
    ("anthropic_usage", re.compile(rb'"uncached_input_tokens"\s*:')),
    ("anthropic_costs", re.compile(rb'"starting_at"[^\0]*"amount"\s*:')),
    ("openai_costs", re.compile(rb'"start_time"[^\0]*"amount"\s*:')),
    # Pages of days on which nothing was used.
    ("anthropic_usage", re.compile(rb'"starting_at"\s*:')),
    ("openai_usage", re.compile(rb'"bucket"')),
)
"""What each format of pages has, the surest first."""
_PAGE = re.compile(rb'"(data|results|has_more)"\s*:')
_KEY = re.compile(rb'"([^"\\]{1,60})"\s*:')
_TRIED_LINES = 20
_PARQUET = b"PAR1"


class UnknownFormatError(Exception):
    """A file is of no known format; the message says what was found and what is accepted."""


class Export:
    """A file of a known format. `rows` and `blocks` read it from its beginning, each time they are called."""

    def __init__(self, path: Path, name: str, reading: Reading, form: Header | None) -> None:
        self.path = path
        self.format = name
        self.total = path.stat().st_size
        """Bytes on disk."""
        self._told = reading
        self._form = form
        self._stream: Stream | None = None
        self._done = False
        self.reading = reading
        """What was counted besides the rows, when they were read last."""

    @property
    def position(self) -> int:
        """Bytes on disk that were read of it."""
        if self._done or self._stream is None:
            return self.total if self._done else 0
        return self._stream.position

    def rows(self) -> Iterator[UsageRow | BadRow]:
        """The rows, one by one."""
        for table, bad in self._tables(1000):
            yield from rows_of(table)
            yield from bad

    def blocks(self) -> Iterator[tuple[pa.Table, list[BadRow]]]:
        """The rows in tables of `columns.SCHEMA`, and the bad ones among them. No two keys are the same but
        those of the same fact."""
        repeats = Repeats() if self.format in _NAMED_BY_CONTENT else None
        for table, bad in self._tables(BLOCK_ROWS):
            if repeats is None or not table.num_rows:
                yield table, bad
                continue
            said = table.column("row_key").combine_chunks()
            known = table.column("known_by_id").combine_chunks()
            keys = pc.if_else(known, said, repeats.numbered(said))
            yield table.set_column(table.schema.get_field_index("row_key"), "row_key", keys), bad

    def _tables(self, block_rows: int) -> Iterator[tuple[pa.Table, list[BadRow]]]:
        self._done = False
        told = self._told
        self.reading = Reading(told.provider, told.model, told.project, told.observe)
        if self._form is None and self.format == "focus":
            yield from _blocks(focus.parquet_rows(self.path, self.reading), block_rows)
        else:
            with Stream(self.path) as stream:
                self._stream = stream
                if self._form is None:
                    yield from _blocks(_PAGES[self.format](stream, self.reading), block_rows)
                elif self.format in _TABLES:
                    rows = _TABLES[self.format](stream, self.reading, self._form)
                    yield from _blocks(rows, block_rows)
                else:
                    yield from plain_csv.blocks(stream, self.reading, self._form)
        self._done = True


def open_export(
    path: Path, *, provider: str = "", model: str = "", project: str = "", observe: Observe | None = None
) -> Export:
    """A file as an export.

    Args:
        path: the file, gzip or not.
        provider: whose prices apply where the file does not say.
        model: which model served where the file does not say.
        project: which project it is of where the file does not say.
        observe: is shown each request that has text.

    Raises:
        UnknownFormatError: it is of no format that is known.
        OSError: it can't be read.
    """
    reading = Reading(provider_named(provider), model, project, observe)
    with Stream(path) as stream:
        head = stream.head()
        problem = stream.problem
    if head[:4] == _PARQUET:
        return Export(path, _parquet(path), reading, None)
    if not head.strip():
        raise UnknownFormatError(f"{path} is empty" + (f": {problem}" if problem else ""))
    if head.lstrip()[:1] in (b"{", b"["):
        return Export(path, _json(path, head), reading, None)
    form = csv_chunks.header(head)
    if form is not None and openai_usage.is_csv(form.names):
        return Export(path, "openai_usage", reading, form)
    if form is not None and focus.is_one(form.names):
        return Export(path, "focus", reading, form)
    if form is not None and plain_csv.is_one(form.names):
        return Export(path, "plain_csv", reading, form)
    # A log may begin with a broken line.
    if _is_log(head):
        return Export(path, "request_log", reading, None)
    found = f"columns {_listed(form.names)}" if form else "text that is neither CSV nor JSON"
    raise _unknown(path, found)


def _json(path: Path, head: bytes) -> str:
    first = _first_object(head)
    if first is None:
        # One value over many lines, or one that is longer than the head.
        is_log = b'"messages"' in head and not _PAGE.search(head[: head.find(b'"messages"')])
    else:
        is_log = not first.keys() & {"data", "results", "result"} and request_log.is_one(first)
    if is_log and head.lstrip()[:1] == b"[":
        raise _unknown(path, "a JSON array of requests; put one on each line (`jq -c '.[]'`)")
    if is_log or (first is None and _is_log(head)):
        return "request_log"
    if first is None or first.keys() & {"data", "results", "result"}:
        for name, mark in _MARKS:
            if mark.search(head):
                return name
    keys = (
        list(first) if first is not None else [key.decode("utf-8", "replace") for key in _KEY.findall(head)]
    )
    raise _unknown(path, f"JSON with {_listed(list(dict.fromkeys(keys)))}")


def _first_object(head: bytes) -> Mapping[str, Any] | None:
    """The object on the first line that is one."""
    for line in islice(head.split(b"\n"), _TRIED_LINES):
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, list):
            found = found[0] if found else None
        if isinstance(found, dict):
            return found
    return None


def _is_log(head: bytes) -> bool:
    first = _first_object(head)
    return first is not None and not first.keys() & {"data", "results"} and request_log.is_one(first)


def _parquet(path: Path) -> str:
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise UnknownFormatError(
            f"{path} is a Parquet file that can't be read ({str(error).splitlines()[0][:120]});"
            " bring the whole file"
        ) from None
    if focus.is_one(names):
        return "focus"
    raise _unknown(path, f"Parquet with columns {_listed(names)}")


def _unknown(path: Path, found: str) -> UnknownFormatError:
    return UnknownFormatError(f"{path} is of no known format: it has {found}. Accepted are {ACCEPTED}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "no keys"


def _blocks(rows: Iterator[UsageRow | BadRow], size: int) -> Iterator[tuple[pa.Table, list[BadRow]]]:
    good: list[UsageRow] = []
    bad: list[BadRow] = []
    for row in rows:
        if isinstance(row, UsageRow):
            good.append(row)
        else:
            bad.append(row)
        if len(good) + len(bad) >= size:
            yield table_of(good) if good else SCHEMA.empty_table(), bad
            good, bad = [], []
    if good or bad:
        yield table_of(good) if good else SCHEMA.empty_table(), bad
