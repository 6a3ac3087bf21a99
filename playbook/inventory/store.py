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
_MAX_SPANS = 200
"""Stretches of time that a query names one by one; beyond, the whole from first to last."""


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
class Split:
    """How a file's buckets divide time and usage."""

    groupings: tuple[str, ...]
    """One for each API that counts for itself: `model,project`, `embeddings:model`."""
    widths_s: tuple[int, ...]
    spans: tuple[Span, ...]
    """What they cover, in order."""

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
        """Buckets of the same times that are split by other dimensions or are of another width."""
        rows = self._client.query(
            "SELECT grouping, dateDiff('second', start_time, end_time) AS width_s, count(),"  # noqa: S608
            f" min(start_time), max(end_time) FROM homeward.usage FINAL WHERE {_otherwise(split)}"
            " GROUP BY grouping, width_s ORDER BY grouping, width_s",
            parameters=_parameters(source, split),
        ).result_rows
        return [Covered(*row) for row in rows]

    def remove_otherwise_split(self, source: str, split: Split) -> None:
        """Takes out what `otherwise_split` finds."""
        self._client.command(
            f"DELETE FROM homeward.usage WHERE {_otherwise(split)}",  # noqa: S608
            parameters=_parameters(source, split),
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
    return (
        f"source = {{source:String}} AND ({_within(split.spans)})"
        " AND extract(grouping, '^([a-z]+):') IN {families:Array(String)}"
        " AND (grouping NOT IN {groupings:Array(String)}"
        " OR dateDiff('second', start_time, end_time) NOT IN {widths:Array(Int64)})"
    )


def _parameters(source: str, split: Split) -> dict[str, object]:
    return {
        "source": source,
        "families": [family(item) for item in split.groupings],
        "groupings": list(split.groupings),
        "widths": list(split.widths_s),
    }


def _within(spans: Sequence[Span]) -> str:
    """The condition that a row overlaps one of the stretches. Numbers only, so nothing to escape."""
    if len(spans) > _MAX_SPANS:
        spans = [Span(spans[0].start_us, spans[-1].end_us)]
    return (
        " OR ".join(
            f"(start_time < fromUnixTimestamp64Micro({span.end_us}, 'UTC')"
            " AND greatest(end_time, start_time + INTERVAL 1 MICROSECOND)"
            f" > fromUnixTimestamp64Micro({span.start_us}, 'UTC'))"
            for span in spans
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
