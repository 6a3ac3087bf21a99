"""Imported rows in ClickHouse."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from playbook.inventory.columns import TIME, constant
from playbook.inventory.naming import Name
from playbook.inventory.rows import BadRow
from playbook.inventory.values import micros

INSERT = {
    # Asynchronous inserts, the default of 26.x, would answer before the rows are there.
    "async_insert": 0,
    # A file may span many months.
    "max_partitions_per_insert_block": 2000,
}
REGULAR_US = (60_000_000, 3_600_000_000, 86_400_000_000)
"""Widths of the APIs' buckets, which begin at their multiples. Others were cut off by the query's bounds."""
PIECE_DIMENSIONS = (
    "project",
    "key_name",
    "user",
    "model",
    "service_tier",
    "batch",
    "line_item",
    "token_class",
    "currency",
    "quantity_unit",
)
"""What tells a row from the others of its bucket."""
_MAX_SPANS = 200
"""Stretches of time that a query names one by one; beyond, the whole from first to last."""
_LONG_QUERY = {"max_query_size": 64 * 1024 * 1024}
_START, _END = "toUnixTimestamp64Micro(start_time)", "toUnixTimestamp64Micro(end_time)"
_WIDTH = f"({_END} - {_START})"


@dataclass(frozen=True, slots=True)
class Covered:
    """Buckets that are there already."""

    grouping: str
    width_s: int
    """Seconds of a bucket; months and such have several."""
    rows: int
    first_time: datetime
    last_time: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in microseconds since 1970."""

    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A row of a bucket that was cut off, and lies in a longer bucket of the file."""

    span: Span
    dimensions: tuple[object, ...]
    """Its PIECE_DIMENSIONS."""


@dataclass(frozen=True, slots=True)
class Split:
    """How a file's buckets divide time and usage."""

    groupings: tuple[str, ...]
    """One for each API that counts for itself: `model,project`, `embeddings:model`."""
    regular: tuple[tuple[int, tuple[Span, ...]], ...]
    """Of each of REGULAR_US that it has: the width, and what those buckets cover, in order."""
    cut: tuple[Span, ...] = ()
    """Buckets that the query's bounds cut off, in order."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """What all of them cover, in order."""
        return tuple(merged([*self.cut, *(span for _, spans in self.regular for span in spans)]))

    def of(self, grouping: str) -> str:
        """The grouping of the file that a row with this grouping belongs to."""
        return next((item for item in self.groupings if family(item) == family(grouping)), grouping)


class Store:
    """The tables `homeward.usage`, `imports` and `import_rejects`. Use in one thread at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def ready(self) -> bool:
        """True if the tables are there: the ledger makes them."""
        return bool(int(self._client.command("EXISTS TABLE homeward.usage")))  # type: ignore[arg-type]

    def insert(self, table: pa.Table, source: str, file_sha256: str, import_time: datetime) -> None:
        """Rows with all columns of `homeward.usage` but these three."""
        whole = complete(table, source, file_sha256, import_time)
        self._client.insert_arrow("homeward.usage", whole, settings=INSERT)

    def reject(self, rows: Sequence[BadRow], file_sha256: str, import_time: datetime) -> None:
        """Keeps bad rows aside."""
        if rows:
            self._client.insert(
                "homeward.import_rejects",
                [[file_sha256, row.line, row.reason, row.excerpt, import_time] for row in rows],
                column_names=["file_sha256", "line", "reason", "excerpt", "import_time"],
                settings=INSERT,
            )

    def remember(self, record: Mapping[str, object]) -> None:
        """Writes down that a file was imported: a row of `homeward.imports`."""
        self._client.insert(
            "homeward.imports", [list(record.values())], column_names=list(record), settings=INSERT
        )

    def options(self, file_sha256: str) -> Mapping[str, str] | None:
        """What the command was told of a file when it was imported before; None if it was not."""
        rows = self._client.query(
            "SELECT options FROM homeward.imports FINAL WHERE file_sha256 = {sha:String}",
            parameters={"sha": file_sha256},
        ).result_rows
        return json.loads(rows[0][0]) if rows else None

    def has_rows(self, file_sha256: str) -> bool:
        """True if rows of a file are there."""
        rows = self._client.query(
            "SELECT 1 FROM homeward.usage WHERE file_sha256 = {sha:String} LIMIT 1",
            parameters={"sha": file_sha256},
        ).result_rows
        return bool(rows)

    def otherwise_split(self, source: str, split: Split) -> list[Covered]:
        """Buckets of the same times that are split by other dimensions, or are no buckets of the file."""
        return self._covered(source, split, _otherwise(split))

    def reaching_beyond(self, source: str, split: Split) -> list[Covered]:
        """Those of `otherwise_split` of which the file has a piece only: without them the rest was lost."""
        beyond = " OR ".join(
            f"({_START} < {span.end_us} AND {_END} > {span.start_us}"
            f" AND ({_START} < {span.start_us} OR {_END} > {span.end_us}))"
            for span in _few(split.cut)
        )
        return self._covered(source, split, f"{_otherwise(split)} AND ({beyond or '0'})")

    def pieces(self, source: str, split: Split) -> list[Piece]:
        """Those of `otherwise_split` that are cut off and lie in a longer bucket of the file."""
        rows = self._client.query(
            f"SELECT {_START}, {_END}, {', '.join(PIECE_DIMENSIONS)} FROM homeward.usage FINAL"  # noqa: S608
            f" WHERE {_piece(split)}",
            parameters=_parameters(source, split),
            settings=_LONG_QUERY,
        ).result_rows
        return [Piece(Span(row[0], row[1]), tuple(row[2:])) for row in rows]

    def remove_otherwise_split(self, source: str, split: Split) -> None:
        """Takes out what `otherwise_split` finds."""
        self._client.command(
            f"DELETE FROM homeward.usage WHERE {_otherwise(split)}",  # noqa: S608
            parameters=_parameters(source, split),
            settings=_LONG_QUERY,
        )

    def remove_stale(self, file_sha256: str, import_time: datetime) -> None:
        """Takes out rows of earlier imports of a file: an older version may have given a row another key."""
        self._client.command(
            "DELETE FROM homeward.usage WHERE file_sha256 = {sha:String}"  # noqa: S608
            f" AND import_time < fromUnixTimestamp64Micro({micros(import_time)}, 'UTC')",
            parameters={"sha": file_sha256},
        )

    def remove_file(self, file_sha256: str) -> None:
        """Takes out the rows of a file, and that it was imported."""
        for table in ("usage", "imports", "import_rejects"):
            self._client.command(
                f"DELETE FROM homeward.{table} WHERE file_sha256 = {{sha:String}}",  # noqa: S608
                parameters={"sha": file_sha256},
            )

    def other_usage(self, source: str, providers: Iterable[str], span: Span) -> list[tuple[str, str, int]]:
        """Other sources with usage of the same providers at the same time: (source, provider, rows)."""
        rows = self._client.query(
            "SELECT source, provider, count() FROM homeward.usage FINAL WHERE kind = 'usage'"  # noqa: S608
            " AND source != {source:String} AND provider IN {providers:Array(String)}"
            f" AND ({_within([span])}) GROUP BY source, provider ORDER BY source, provider",
            parameters={"source": source, "providers": list(providers)},
        ).result_rows
        return [(row[0], row[1], row[2]) for row in rows]

    def rename(self, file_sha256: str, names: Mapping[tuple[str, str], Name]) -> None:
        """Gives groups of a file, by fingerprint and key, other names than their rows have."""
        for (fingerprint, key_name), name in names.items():
            self._client.command(
                "ALTER TABLE homeward.usage UPDATE workload = {workload:String},"
                " task_type = {task_type:String}, evidence = {evidence:String}"
                " WHERE file_sha256 = {sha:String} AND fingerprint = {fingerprint:String}"
                " AND (fingerprint != '' OR key_name = {key:String})",
                parameters={
                    "workload": name.workload,
                    "task_type": name.task_type,
                    "evidence": name.evidence,
                    "sha": file_sha256,
                    "fingerprint": fingerprint,
                    "key": key_name,
                },
                settings={"mutations_sync": 1},
            )

    def _covered(self, source: str, split: Split, where: str) -> list[Covered]:
        rows = self._client.query(
            "SELECT grouping, dateDiff('second', start_time, end_time) AS width_s, count(),"  # noqa: S608
            f" min(start_time), max(end_time) FROM homeward.usage FINAL WHERE {where}"
            " GROUP BY grouping, width_s ORDER BY grouping, width_s",
            parameters=_parameters(source, split),
            settings=_LONG_QUERY,
        ).result_rows
        return [Covered(*row) for row in rows]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Stretches of time that touch or overlap, as one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda item: item.start_us):
        if found and span.start_us <= found[-1].end_us:
            found[-1] = Span(found[-1].start_us, max(span.end_us, found[-1].end_us))
        else:
            found.append(span)
    return found


def family(grouping: str) -> str:
    """The API that counts it for itself; empty for the usual one."""
    return grouping.partition(":")[0] if ":" in grouping else ""


def _otherwise(split: Split) -> str:
    """The condition that a row would count twice beside the file."""
    cut = ", ".join(f"({span.start_us}, {span.end_us})" for span in split.cut)
    mine = [
        *(f"({_aligned(width)} AND ({_within(spans)}))" for width, spans in split.regular),
        *([f"({_START}, {_END}) IN ({cut},)"] if cut else []),
    ]
    return (
        f"source = {{source:String}} AND ({_within(split.spans)})"
        " AND extract(grouping, '^([a-z]+):') IN {families:Array(String)}"
        f" AND (grouping NOT IN {{groupings:Array(String)}} OR NOT ({' OR '.join(mine) or '0'}))"
    )


def _piece(split: Split) -> str:
    """The condition that a row was cut off, and lies in a longer bucket of the file."""
    whole = " OR ".join(map(_aligned, REGULAR_US))
    longer = [
        *(
            f"({_WIDTH} < {width} AND intDiv({_START}, {width}) = intDiv({_END} - 1, {width})"
            f" AND ({_within(spans)}))"
            for width, spans in split.regular
        ),
        *(
            f"({_START} >= {span.start_us} AND {_END} <= {span.end_us}"
            f" AND {_WIDTH} < {span.end_us - span.start_us})"
            for span in split.cut[:_MAX_SPANS]
        ),
    ]
    return (
        f"{_otherwise(split)} AND grouping IN {{groupings:Array(String)}}"
        f" AND NOT ({whole}) AND ({' OR '.join(longer) or '0'})"
    )


def _aligned(width_us: int) -> str:
    return f"({_WIDTH} = {width_us} AND {_START} % {width_us} = 0)"


def _parameters(source: str, split: Split) -> dict[str, object]:
    return {
        "source": source,
        "families": [family(item) for item in split.groupings],
        "groupings": list(split.groupings),
    }


def _few(spans: Sequence[Span]) -> Sequence[Span]:
    return spans if len(spans) <= _MAX_SPANS else [Span(spans[0].start_us, spans[-1].end_us)]


def _within(spans: Sequence[Span]) -> str:
    """The condition that a row overlaps one of the stretches. Numbers only, so nothing to escape."""
    return (
        " OR ".join(
            f"(start_time < fromUnixTimestamp64Micro({span.end_us}, 'UTC')"
            " AND greatest(end_time, start_time + INTERVAL 1 MICROSECOND)"
            f" > fromUnixTimestamp64Micro({span.start_us}, 'UTC'))"
            for span in _few(spans)
        )
        or "0"
    )


def complete(table: pa.Table, source: str, file_sha256: str, import_time: datetime) -> pa.Table:
    """The rows as `homeward.usage` has them.

    Args:
        table: of `columns.SCHEMA`, priced and named.
        source: the format.
        file_sha256: of the file.
        import_time: which of two versions of a fact counts.
    """
    length = table.num_rows
    moment = pa.repeat(pa.scalar(micros(import_time), pa.int64()), length).cast(TIME)
    table = (
        table.drop_columns(["known_by_id", "long_context"])
        .append_column("source", constant(source, length))
        .append_column("file_sha256", constant(file_sha256, length))
        .append_column("import_time", moment)
    )
    # One dictionary for each column: an Arrow stream of several is not read everywhere.
    return table.unify_dictionaries().combine_chunks()
