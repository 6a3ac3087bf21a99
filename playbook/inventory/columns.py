"""Rows as columns: what goes to ClickHouse in one piece, and what prices are computed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from playbook.inventory.rows import UsageRow
from playbook.inventory.values import micros

TEXT = pa.dictionary(pa.int32(), pa.string())
TIME = pa.timestamp("us", "UTC")
KEY = pa.binary(16)
COUNTS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
"""In the order of `book.TokenClass`."""
_TYPES: dict[str, pa.DataType] = {
    "line": pa.int64(),
    "start_time": TIME,
    "end_time": TIME,
    "batch": pa.bool_(),
    "requests": pa.int64(),
    **dict.fromkeys(COUNTS, pa.int64()),
    "billed_nanos": pa.int64(),
    "quantity": pa.decimal128(38, 15),
    "row_key": KEY,
    "known_by_id": pa.bool_(),
    "long_context": pa.bool_(),
}
SCHEMA = pa.schema([(field.name, _TYPES.get(field.name, TEXT)) for field in fields(UsageRow)])
"""The fields of UsageRow."""
_NAMES = tuple(SCHEMA.names)


def table_of(rows: Sequence[UsageRow]) -> pa.Table:
    """Rows as a table of SCHEMA."""
    columns: dict[str, pa.Array] = {}
    for name in _NAMES:
        values: list[Any] = [getattr(row, name) for row in rows]
        kind = SCHEMA.field(name).type
        if kind == TEXT:
            columns[name] = pa.array(values, pa.string()).dictionary_encode()
        elif kind == TIME:
            columns[name] = pa.array([micros(value) for value in values], pa.int64()).cast(TIME)
        else:
            columns[name] = pa.array(values, kind)
    return pa.table(columns, schema=SCHEMA)


def rows_of(table: pa.Table) -> Iterator[UsageRow]:
    """The rows of a table of SCHEMA."""
    columns = [table.column(name).to_pylist() for name in _NAMES]
    for values in zip(*columns, strict=True):
        yield UsageRow(*map(_value, values))


def constant(value: str, length: int) -> pa.Array:
    """A column that has one text throughout."""
    return pa.DictionaryArray.from_arrays(pa.nulls(length, pa.int32()).fill_null(0), pa.array([value]))


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, Decimal):
        return value.normalize()
    return value
