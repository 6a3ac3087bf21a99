"""Triplets from a file, as an auditor has them: CSV or Parquet, one row a sampled request."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.shadow.core.triplets import MAX_EPOCH, Triplet

REQUIRED = ("request_time", "agreement_sovereign", "agreement_noise")
OPTIONAL = ("arrival_time", "cluster", "stratum", "epoch")
GOLD = ("gold_sovereign", "gold_cloud")
"""How far the sovereign and the cloud's answer agree with a gold answer; both empty where there is none."""
PARQUET_MAGIC = b"PAR1"
_UNIT_US = {"s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
_DURATION = re.compile(r"^(\d+)([smhd])$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TripletError(Exception):
    """A file that holds no triplets; the message says where and why."""


def duration_us(text: str) -> int:
    """`30s`, `15m`, `1h`, `1d` in microseconds.

    Raises:
        ValueError: it is none of these.
    """
    found = _DURATION.match(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no length of time: write 30s, 15m, 1h or 1d")
    return int(found[1]) * _UNIT_US[found[2]]


def read_triplets(
    path: Path,
    advance: Callable[[int], None] = lambda _: None,
    gold: Callable[[Triplet], None] = lambda _: None,
) -> Iterator[Triplet]:
    """The triplets of a file.

    A missing arrival_time column means that all arrived at once; an empty cell, that nothing ever did.
    Numbers count as the decimals that they are written as.

    Args:
        path: CSV with a header, or Parquet.
        advance: is told how many rows were read, now and then.
        gold: is given each triplet with a gold answer, with the agreements with that in place of its own.

    Raises:
        TripletError: the file, a column or a cell is wrong.
    """
    try:
        with path.open("rb") as file:
            parquet = file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        rows = _parquet(path) if parquet else _csv(path)
        for number, (line, row) in enumerate(rows, start=1):
            triplet, with_gold = _triplet(path, line, row)
            if with_gold is not None:
                gold(with_gold)
            yield triplet
            if number % 10_000 == 0:
                advance(number)
    except OSError as error:
        raise TripletError(f"{path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise TripletError(f"{path}: neither CSV nor Parquet: {error}") from None


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        _check(path, reader.fieldnames or ())
        names = reader.fieldnames or ()
        for row in reader:
            # A cell that is not there is no empty cell: a line that was cut off must not count as a failure.
            if None in row or None in row.values():
                found = next((name for name in names if row[name] is None), "after the last column")
                raise TripletError(
                    f"{path}: line {reader.line_num}: {found}: not as many cells as the header has"
                )
            yield reader.line_num, row


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with pq.ParquetFile(path) as file:
        _check(path, file.schema_arrow.names)
        names = [name for name in (*REQUIRED, *OPTIONAL, *GOLD) if name in file.schema_arrow.names]
        line = 0
        for batch in file.iter_batches(columns=names):
            for row in _as_written(batch).to_pylist():
                line += 1
                yield line, row


def _as_written(batch: pa.RecordBatch) -> pa.Table:
    """With the cells that Python has no type for as a CSV of the same rows would have them."""
    table = pa.Table.from_batches([batch])
    for place, column in enumerate(table.schema):
        cells = table.column(place)
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            # Python's times have no nanoseconds.
            cells = cells.cast(pa.timestamp("us", column.type.tz), safe=False)
        elif pa.types.is_float32(column.type):
            # 0.7 would become 0.699999988: another bin.
            cells = pc.if_else(pc.is_nan(cells), None, cells.cast(pa.string()))
        table = table.set_column(place, column.name, cells)
    return table


def _check(path: Path, names: Any) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise TripletError(
            f"{path}: no column {', '.join(missing)}; needed are {', '.join(REQUIRED)},"
            f" and {', '.join((*OPTIONAL, *GOLD))} are read too"
        )


def _triplet(path: Path, line: int, row: Mapping[str, Any]) -> tuple[Triplet, Triplet | None]:
    """A row's triplet, and the same with its gold answer, if it has one."""
    column = "request_time"
    try:
        request_us = _time(row[column])
        if request_us is None:
            raise ValueError("it is empty")
        column = "arrival_time"
        arrival_us = _time(row[column]) if column in row else request_us
        column = "epoch"
        epoch = _epoch(row.get(column))
        agreements = []
        for name in ("agreement_sovereign", "agreement_noise", *GOLD):
            column = name
            agreements.append(_agreement(row.get(name)))
        sovereign, noise, gold_sovereign, gold_cloud = agreements
        if (gold_sovereign is None) != (gold_cloud is None):
            raise ValueError(f"{' and '.join(GOLD)} are both given or both empty")
    except (TypeError, ValueError, ArithmeticError) as error:
        raise TripletError(f"{path}: line {line}: {column}: {row.get(column)!r}: {error}") from None
    triplet = Triplet(
        request_unix_us=request_us,
        arrival_unix_us=arrival_us,
        cluster=_label(row.get("cluster")),
        stratum=_label(row.get("stratum")),
        epoch=epoch,
        agreement_sovereign=sovereign,
        agreement_noise=noise,
    )
    if gold_sovereign is None:
        return triplet, None
    return triplet, replace(
        triplet,
        arrival_unix_us=request_us,
        agreement_sovereign=gold_sovereign,
        agreement_noise=gold_cloud,
    )


def _time(value: Any) -> int | None:
    if value is None or value == "":
        return None
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    if time.tzinfo is None:
        # RFC 3339 wants an offset; times of ClickHouse and Parquet often have none, and are UTC.
        time = time.replace(tzinfo=UTC)
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds


def _is_empty(value: Any) -> bool:
    """Whether a cell says nothing: a number that is not there is NaN in what pandas writes."""
    return value is None or value in ("", b"") or (isinstance(value, float) and math.isnan(value))


def _label(value: Any) -> str:
    if _is_empty(value):
        return ""
    return value.hex() if isinstance(value, bytes) else str(value)


def _epoch(value: Any) -> int:
    if _is_empty(value):
        return 1
    epoch = Fraction(Decimal(str(value).strip()))
    if epoch.denominator != 1 or not 1 <= epoch <= MAX_EPOCH:
        raise ValueError(f"epochs count from 1 to {MAX_EPOCH}, in whole numbers")
    return int(epoch)


def _agreement(value: Any) -> Fraction | None:
    if _is_empty(value):
        return None
    exact = Fraction(Decimal(str(value).strip()))
    if not 0 <= exact <= 1:
        raise ValueError("agreement lies in 0 to 1")
    return exact
