"""Triplets out of the book, into a file that `homeward shadow replay` reads."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from clickhouse_connect.driver.client import Client

QUERIES = Path(__file__).parent / "queries"
PAGE_ROWS = 100_000
"""Triplets of one query: some 20 MB of the analysts' 256."""
_MILLION = Decimal(10**6)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECIMAL = pa.decimal128(7, 6)
_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("request_time", _TIME),
        ("arrival_time", _TIME),
        ("cluster", pa.string()),
        ("stratum", pa.string()),
        ("epoch", pa.uint32()),
        ("agreement_sovereign", _DECIMAL),
        ("agreement_noise", _DECIMAL),
    ]
)
"""As docs/verdict.md defines the file."""


class NothingToExportError(Exception):
    """The book has no such triplets; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What is in the file."""

    experiment_id: uuid.UUID
    epochs: tuple[int, ...]
    rows: int


def export(
    client: Client,
    workload: str,
    epoch: int | None,
    file: Path,
    lane: str = "",
    advance: Callable[[int], None] = lambda _: None,
) -> Exported:
    """Writes the triplets of a workload's newest experiment, by epoch and time of the request.

    What shadow has finished and not sent yet is missing: some seconds, if ClickHouse is up.

    Args:
        client: of an analyst.
        workload: whose.
        epoch: None: all epochs.
        file: Parquet if its name ends in `.parquet`, else CSV. It is there only when it is whole.
        lane: empty for the comparison, `cloud` or `degraded` for the controls, `after` for what was sampled
            since the workload is at home.
        advance: is told how many rows were written, now and then.

    Raises:
        NothingToExportError: the book has no such triplets.
        clickhouse_connect.driver.exceptions.Error: the book can't be read.
        OSError: the file can't be written, or the book not be reached.
    """
    found = client.query(_sql("shadow_experiments"), {"workload": workload, "lane": lane}).result_rows
    epochs = tuple(item[1] for item in found if epoch is None or item[1] == epoch)
    if not epochs:
        lacks = "" if epoch is None or not found else f" in epoch {epoch}; there are {_listed(found)}"
        raise NothingToExportError(
            f"the book has no triplets of {workload!r}{f' in the lane {lane!r}' if lane else ''}{lacks}"
        )
    experiment_id: uuid.UUID = found[0][0]
    part = file.with_name(f"{file.name}.part")
    rows = 0
    try:
        with _written(part, parquet=file.suffix == ".parquet") as write:
            for number in epochs:
                for page in _pages(client, experiment_id, number, lane):
                    write(page)
                    rows += len(page)
                    advance(rows)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return Exported(experiment_id, epochs, rows)


def _pages(
    client: Client, experiment_id: uuid.UUID, epoch: int, lane: str
) -> Iterator[Sequence[Mapping[str, Any]]]:
    known: dict[str, Any] = {"experiment_id": experiment_id, "epoch": epoch, "lane": lane, "rows": PAGE_ROWS}
    after_unix_us, after_id = 0, ""
    while True:
        place = {"after_unix_us": after_unix_us, "after_id": after_id}
        page = client.query(_sql("triplets"), {**known, **place}).result_rows
        if page:
            yield [_cells(epoch, row) for row in page]
            after_unix_us, after_id = page[-1][:2]
        if len(page) < PAGE_ROWS:
            return


def _cells(epoch: int, row: Sequence[Any]) -> Mapping[str, Any]:
    request_unix_us, _, arrival_unix_us, cluster, stratum, sovereign, noise = row
    return {
        "request_time": _time(request_unix_us),
        "arrival_time": None if arrival_unix_us is None else _time(arrival_unix_us),
        "cluster": cluster,
        "stratum": stratum,
        "epoch": epoch,
        "agreement_sovereign": None if sovereign is None else sovereign / _MILLION,
        "agreement_noise": None if noise is None else noise / _MILLION,
    }


_Write = Callable[[Sequence[Mapping[str, Any]]], None]


def _written(file: Path, *, parquet: bool) -> AbstractContextManager[_Write]:
    return _parquet(file) if parquet else _csv(file)


@contextmanager
def _csv(file: Path) -> Iterator[_Write]:
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(SCHEMA.names)

        def write(page: Sequence[Mapping[str, Any]]) -> None:
            writer.writerows([_text(row[name]) for name in SCHEMA.names] for row in page)

        yield write


@contextmanager
def _parquet(file: Path) -> Iterator[_Write]:
    with pq.ParquetWriter(file, SCHEMA) as writer:
        yield lambda page: writer.write_table(pa.Table.from_pylist(list(page), SCHEMA))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _time(unix_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=unix_us)


def _listed(found: Sequence[Sequence[Any]]) -> str:
    return ", ".join(str(item[1]) for item in found)


def _sql(name: str) -> str:
    return (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
