"""Columns as ClickHouse's Native format has them, made of whole arrays.

A block is its number of columns and rows, and then each column: name, type, values. Twenty thousand legs take
27 ms of CPU this way, and 44 ms from lists with clickhouse-connect, which would have to be made first. The
format: https://clickhouse.com/docs/interfaces/formats/Native, and for LowCardinality the server's
`SerializationLowCardinality.cpp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.ledger.core.booking import Flags, Words

Array: TypeAlias = NDArray[Any]

_SHARED_DICTIONARIES = (1).to_bytes(8, "little")
"""The version of the LowCardinality format."""
_OWN_KEYS = 1 << 9 | 1 << 10
"""The block brings all keys of its dictionary."""
_CODE_TYPES = (np.uint8, np.uint16, np.uint32)
_NUMBERS: dict[str, np.dtype[Any]] = {
    "UInt16": np.dtype("<u2"),
    "UInt64": np.dtype("<u8"),
    "Int64": np.dtype("<i8"),
    "Bool": np.dtype("u1"),
    "DateTime64(6, 'UTC')": np.dtype("<i8"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a block."""

    name: str
    type_name: str
    data: bytes


def block(columns: Sequence[Column], rows: int) -> bytes:
    """One block of columns that have the same number of rows."""
    parts = [_size(len(columns)), _size(rows)]
    for column in columns:
        parts += (_text(column.name), _text(column.type_name), column.data)
    return b"".join(parts)


def numbers(name: str, type_name: str, values: Array) -> Column:
    """A column of numbers, or of times in microseconds since the epoch."""
    return Column(name, type_name, values.astype(_NUMBERS[type_name], copy=False).tobytes())


def nullable(name: str, type_name: str, values: Array, known: Flags) -> Column:
    """A column of numbers that is NULL where it is not known."""
    whole = values.astype(_NUMBERS[type_name], copy=False)
    return Column(name, f"Nullable({type_name})", (~known).astype("u1").tobytes() + whole.tobytes())


def uuids(name: str, values: Iterable[bytes]) -> Column:
    """A column of UUIDs of 16 bytes each."""
    # Two numbers of 64 bits, the higher first, each with its lowest byte first.
    return Column(name, "UUID", np.frombuffer(b"".join(values), ">u8").astype("<u8").tobytes())


def hexadecimal(name: str, values: Sequence[bytes], size: int) -> Column:
    """A column of texts: the hexadecimal digits of values that have all `size` bytes."""
    rows = np.empty((len(values), 1 + 2 * size), dtype=np.uint8)
    rows[:, 0] = 2 * size
    rows[:, 1:] = np.frombuffer(b"".join(values).hex().encode(), np.uint8).reshape(len(values), 2 * size)
    return Column(name, "String", rows.tobytes())


def texts(name: str, values: Iterable[str]) -> Column:
    """A column of texts."""
    return Column(name, "String", b"".join(map(_text, values)))


def same(name: str, value: str, rows: int) -> Column:
    """A column with the same text in each row."""
    return Column(name, "String", _text(value) * rows)


def words(name: str, values: Words) -> Column:
    """A column of texts of which there are few different ones."""
    code_type = next(item for item in _CODE_TYPES if len(values.texts) <= np.iinfo(item).max)
    flags = _OWN_KEYS | _CODE_TYPES.index(code_type)
    return Column(
        name,
        "LowCardinality(String)",
        b"".join(
            (
                _SHARED_DICTIONARIES,
                flags.to_bytes(8, "little"),
                len(values.texts).to_bytes(8, "little"),
                *map(_text, values.texts),
                len(values.codes).to_bytes(8, "little"),
                values.codes.astype(code_type).tobytes(),
            )
        ),
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return _size(len(data)) + data


def _size(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_SMALL = [bytes((number,)) for number in range(0x80)]
