"""Brings a file into ClickHouse: reads, prices, names, stores, and counts what it did.

An import that is interrupted is simply run again: each fact has its key, and replaces itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from playbook.inventory.naming import Namer
from playbook.inventory.pricing import Pricer, codes
from playbook.inventory.rows import BadRow
from playbook.inventory.sniff import BUCKETED, COSTS, Export
from playbook.inventory.store import (
    PIECE_DIMENSIONS,
    REGULAR_US,
    Covered,
    Piece,
    Span,
    Split,
    Store,
    family,
    merged,
)
from playbook.inventory.stream import sha256_of

MAX_REJECTS = 100_000
"""Bad rows of a file that are kept aside; all are counted."""
_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Advance = Callable[[int, int], None]
"""Is told the bytes of the file that were read, and the rows so far."""


class ConflictError(Exception):
    """What is there already would count twice; the message says what it is, and what to do."""


@dataclass(slots=True)
class Outcome:
    """What became of a file."""

    name: str
    format: str
    file_sha256: str
    rows: int = 0
    bad_rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that are no LLM spend, by what they are."""
    first_time: datetime | None = None
    last_time: datetime | None = None
    days: int = 0
    """Days (UTC) on which something began."""
    cost_nanos: int = 0
    """List price of the tokens, as far as known."""
    unknown: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Rows of unknown list price by provider, model and reason."""
    base_tier_rows: int = 0
    """Rows whose long requests may have cost more."""
    billed_nanos: Counter[str] = field(default_factory=Counter)
    """What was billed, by currency."""
    groups: int = 0
    """Groups of requests with text."""
    naming_problem: str = ""
    problem: str = ""
    """Why the file was not read to its end; empty if it was."""
    replaced: bool = False
    also_from: list[tuple[str, str, int]] = field(default_factory=list)
    """Other sources of the same providers' usage at the same time: (source, provider, rows)."""
    providers: set[str] = field(default_factory=set)
    bad_examples: list[BadRow] = field(default_factory=list)
    """The first few."""


def import_file(
    export: Export,
    pricer: Pricer,
    namer: Namer,
    store: Store | None,
    *,
    now: datetime,
    options: dict[str, str],
    replace: bool = False,
    advance: Advance = lambda _position, _rows: None,
) -> Outcome:
    """Imports one file.

    Args:
        export: the file.
        pricer: gives list prices.
        namer: names requests with text; the one that the export shows them to.
        store: where rows go; None only reads and counts.
        now: the time of the import, which decides between two versions of a fact.
        options: what the command was told of the file.
        replace: takes out first what would count twice.
        advance: is called as the import goes on.

    Raises:
        ConflictError: something would count twice, and `replace` was not given.
        clickhouse_connect.driver.exceptions.Error, OSError: ClickHouse or the file can't be reached.
    """
    outcome = Outcome(export.path.name, export.format, sha256_of(export.path))
    split = _split(export, advance) if export.format in BUCKETED and store is not None else None
    again = store is not None and store.options(outcome.file_sha256) is not None
    if store is not None:
        outcome.replaced = _cleared(store, export, outcome.file_sha256, split, options, replace)
    days: set[int] = set()
    with ThreadPoolExecutor(1) as writer:
        pending: Future[None] | None = None
        for block, bad in export.blocks():
            table = namer.named(pricer.priced(block if split is None else _regrouped(block, split)))
            kept = bad[: max(0, MAX_REJECTS - outcome.bad_rows)]
            _count(outcome, table, bad, days)
            if pending is not None:
                pending.result()
            if store is not None:
                pending = writer.submit(_write, store, table, kept, outcome, now)
            advance(export.position, outcome.rows + outcome.bad_rows)
        if pending is not None:
            pending.result()
    outcome.days = len(days)
    outcome.left_out = export.reading.left_out
    outcome.problem = export.reading.problem
    outcome.groups, outcome.naming_problem = namer.groups, namer.problem
    if store is not None:
        store.rename(outcome.file_sha256, namer.changed())
        if again:
            store.remove_stale(outcome.file_sha256, now)
        _remember(store, outcome, "; ".join(split.groupings) if split else "", options, now)
        if outcome.format not in COSTS and outcome.first_time and outcome.last_time:
            span = Span(_micros(outcome.first_time), _micros(outcome.last_time) + 1)
            outcome.also_from = store.other_usage(outcome.format, sorted(outcome.providers), span)
    return outcome


def _write(store: Store, table: pa.Table, bad: Sequence[BadRow], outcome: Outcome, now: datetime) -> None:
    if table.num_rows:
        store.insert(table, outcome.format, outcome.file_sha256, now)
    store.reject(bad, outcome.file_sha256, now)


def _split(export: Export, advance: Advance) -> Split:
    """By what a file's buckets are split: by every dimension that any of them names. Reads it once."""
    dimensions: dict[str, set[str]] = {}
    regular: dict[int, list[Span]] = {}
    cut: set[tuple[int, int]] = set()
    for table, _ in export.blocks():
        for grouping in codes(table, "grouping")[1]:
            names = grouping.rpartition(":")[2].split(",")
            dimensions.setdefault(family(grouping), set()).update(filter(None, names))
        start, end = (table.column(name).cast(pa.int64()).to_numpy() for name in ("start_time", "end_time"))
        for first, last in np.unique(np.stack((start, end), axis=1), axis=0).tolist():
            width = last - first
            if width in REGULAR_US and first % width == 0:
                regular.setdefault(width, []).append(Span(first, last))
            else:
                cut.add((first, last))
        regular = {width: merged(spans) for width, spans in regular.items()}
        advance(export.position, 0)
    groupings = tuple(
        (f"{name}:" if name else "") + ",".join(sorted(found)) for name, found in sorted(dimensions.items())
    )
    return Split(
        groupings,
        tuple((width, tuple(spans)) for width, spans in sorted(regular.items())),
        tuple(Span(*pair) for pair in sorted(cut)),
    )


def _contained(export: Export, pieces: Sequence[Piece]) -> bool:
    """True if a longer bucket of the file has each of the rows: then it counts what they counted.

    An export of another project, say, has none of them: its longer buckets replace nothing.
    """
    waiting: dict[Span, set[tuple[object, ...]]] = {}
    for piece in pieces:
        waiting.setdefault(piece.span, set()).add(piece.dimensions)
    for table, _ in export.blocks():
        start, end = (table.column(name).cast(pa.int64()).to_numpy() for name in ("start_time", "end_time"))
        for span, dimensions in waiting.items():
            width = span.end_us - span.start_us
            longer = (start <= span.start_us) & (end >= span.end_us) & (end - start > width)
            if longer.any():
                found = table.filter(pa.array(longer)).select(PIECE_DIMENSIONS).to_pydict()
                dimensions.difference_update(zip(*found.values(), strict=True))
    return not any(waiting.values())


def _regrouped(table: pa.Table, split: Split) -> pa.Table:
    """Each row with the grouping of its file."""
    numbers, words = codes(table, "grouping")
    column = pa.DictionaryArray.from_arrays(
        pa.array(numbers.astype(np.int32)), pa.array([split.of(word) for word in words], pa.string())
    )
    return table.set_column(table.schema.get_field_index("grouping"), "grouping", column)


def _cleared(
    store: Store,
    export: Export,
    file_sha256: str,
    split: Split | None,
    options: dict[str, str],
    replace: bool,
) -> bool:
    """Makes sure that nothing will count twice; True if rows were taken out for it.

    Raises:
        ConflictError: something would, and `replace` is false.
    """
    name, mine = export.path.name, _by(split.groupings if split else ())
    before = store.options(file_sha256)
    if before is None and store.has_rows(file_sha256):
        # Of an import that was interrupted: under another project they would stay beside the new ones.
        store.remove_file(file_sha256)
    other_project = before is not None and before.get("project", "") != options.get("project", "")
    if other_project and not replace:
        raise ConflictError(
            f"{name} was imported before as project {(before or {}).get('project') or '(none)'!r}: its rows"
            " would count twice; `--replace` takes those out first"
        )
    covered = store.otherwise_split(export.format, split) if split is not None and split.spans else []
    if covered and split is not None:
        there = "; ".join(_told(item) for item in covered[:3])
        if beyond := store.reaching_beyond(export.format, split):
            raise ConflictError(
                f"{name} has a part only of what is there already whole: {'; '.join(map(_told, beyond[:3]))}."
                " Both would count twice, and without those the rest was lost: if only its first or last day"
                " is cut off, export from midnight UTC to midnight UTC; else leave this file out"
            )
        pieces = store.pieces(export.format, split)
        outgrown = len(pieces) == sum(item.rows for item in covered) and _contained(export, pieces)
        if not outgrown and not replace:
            raise ConflictError(
                f"{name} has buckets by {mine}, but {export.format} of these days"
                f" is there already in another division: {there}. Both would count twice; `--replace` takes"
                " those out first, else leave this file out; if only its first or last day is cut off,"
                " export from midnight UTC"
            )
    if other_project:
        store.remove_file(file_sha256)
    if covered and split is not None:
        store.remove_otherwise_split(export.format, split)
    return other_project or bool(covered)


def _told(item: Covered) -> str:
    width = {86_400: "days", 3600: "hours", 60: "minutes"}.get(item.width_s, f"{item.width_s:,} s")
    last = item.last_time - timedelta(microseconds=1)
    days = f"{item.first_time:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"{item.rows:,} rows of {width} by {_by([item.grouping])}, {days}"


def _by(groupings: Iterable[str]) -> str:
    return "; ".join(item.replace(",", " and ") or "nothing (totals)" for item in groupings)


def _count(outcome: Outcome, table: pa.Table, bad: Sequence[BadRow], days: set[int]) -> None:
    outcome.bad_rows += len(bad)
    outcome.bad_examples.extend(bad[: 3 - len(outcome.bad_examples)])
    if not table.num_rows:
        return
    outcome.rows += table.num_rows
    start, end = (table.column(name).cast(pa.int64()).to_numpy() for name in ("start_time", "end_time"))
    days.update(np.unique(start // _DAY_US).tolist())
    first, last = (
        _EPOCH + timedelta(microseconds=int(start.min())),
        _EPOCH + timedelta(microseconds=int(end.max())),
    )
    outcome.first_time = first if outcome.first_time is None else min(first, outcome.first_time)
    outcome.last_time = last if outcome.last_time is None else max(last, outcome.last_time)
    outcome.providers.update(codes(table, "provider")[1])
    if outcome.format in COSTS:
        currencies, names = codes(table, "currency")
        amounts = table.column("billed_nanos").fill_null(0).to_numpy()
        for number, name in enumerate(names):
            outcome.billed_nanos[name] += _sum(amounts[currencies == number])
        return
    costs = table.column("cost_nanos")
    outcome.cost_nanos += _sum(costs.fill_null(0).to_numpy())
    versions = table.column("price_version").cast(pa.string())
    outcome.base_tier_rows += pc.sum(pc.ends_with(versions, " base tier")).as_py() or 0
    if costs.null_count:
        missing = table.filter(costs.is_null())
        coded = [codes(missing, name) for name in ("provider", "model", "unpriced")]
        places, counts = np.unique(np.stack([numbers for numbers, _ in coded]), axis=1, return_counts=True)
        for place, count in zip(places.T.tolist(), counts.tolist(), strict=True):
            provider, model, reason = (words[at] for at, (_, words) in zip(place, coded, strict=True))
            outcome.unknown[provider, model, reason] += count


def _sum(amounts: Any) -> int:
    """The exact sum of 64-bit integers."""
    return (int((amounts >> 32).sum()) << 32) + int((amounts & 0xFFFFFFFF).sum())


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _remember(store: Store, outcome: Outcome, grouping: str, options: dict[str, str], now: datetime) -> None:
    store.remember(
        {
            "file_sha256": outcome.file_sha256,
            "name": outcome.name,
            "format": outcome.format,
            "grouping": grouping,
            "options": json.dumps(options, sort_keys=True),
            "rows": outcome.rows,
            "bad_rows": outcome.bad_rows,
            "left_out": outcome.left_out.total(),
            "first_time": outcome.first_time,
            "last_time": outcome.last_time,
            "problem": outcome.problem,
            "import_time": now,
        }
    )
