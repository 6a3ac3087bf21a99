"""The values of a CSV of requests: whole columns at once where all are plainly right, else row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from playbook.inventory.columns import COUNTS
from playbook.inventory.csv_chunks import Chunk, Header
from playbook.inventory.rows import END_TIME, FIRST_TIME, MAX_TOKENS, BadRow
from playbook.inventory.values import NULLS, BadValueError, count, excerpt, less, micros, nanos, text, time

TEXTS = ("model", "provider", "project", "key", "user", "tier")
_NUMBERS = ("input", "uncached", "output", "cached", "cache_read", "cache_written", "reasoning", "requests")
_TRUE, _FALSE = frozenset({"true", "1", "yes", "t"}), frozenset({"false", "0", "no", "f", "", "null", "none"})
_FIRST_US, _END_US = micros(FIRST_TIME), micros(END_TIME)
_SHOWN = ("time", *_NUMBERS, "batch", "cost")
_SPLIT_ROWS = 1024
_NULLTEXTS = pa.array(
    sorted({word for null in NULLS - {"nan"} for word in (null, null.upper(), null.title())})
)
_NO_IDS = pa.array(sorted(NULLS))

Ints = npt.NDArray[np.int64]


class _RowWise(Exception):  # a signal, not an error
    """Some value needs a look at its row."""


@dataclass(slots=True)
class Columns:
    """Values of rows, parsed."""

    lines: Ints
    micros: Ints
    numbers: dict[str, pa.Array]
    """int64, null where the row says nothing."""
    texts: dict[str, pa.Array]
    """Dictionaries; absent columns are absent."""
    batch: pa.Array
    ids: list[str] | None
    billed: pa.Array


def parsed(chunk: Chunk, places: Mapping[str, int], form: Header, bad: list[BadRow]) -> Iterator[Columns]:
    """The values of a piece of a file, in stretches; bad rows are added to `bad`.

    Args:
        chunk: the piece.
        places: places of the columns that are read, by field.
        form: the header, for what is said of bad rows.
        bad: gets the bad rows.
    """
    length = len(chunk.lines)
    if not length:
        return
    columns = {field: chunk.columns[place] for field, place in places.items()}
    blank = np.ones(length, np.bool_)
    for column in columns.values():
        blank &= pc.equal(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    lines = chunk.lines
    if blank.any():
        kept = pa.array(~blank)
        columns = {field: column.filter(kept) for field, column in columns.items()}
        lines = lines[~blank]
    yield from _stretch(columns, lines, places, form, bad)


def _stretch(
    columns: Mapping[str, pa.Array],
    lines: Ints,
    places: Mapping[str, int],
    form: Header,
    bad: list[BadRow],
) -> Iterator[Columns]:
    """Whole columns where all values are good, ever smaller stretches where not."""
    if not len(lines):
        return
    try:
        yield _fast(columns, lines)
        return
    except (_RowWise, BadValueError, pa.ArrowException):
        pass
    if len(lines) <= _SPLIT_ROWS:
        yield _slow(columns, lines, places, form, bad)
        return
    step = max(_SPLIT_ROWS, len(lines) // 16)
    for start in range(0, len(lines), step):
        part = {field: column.slice(start, step) for field, column in columns.items()}
        yield from _stretch(part, lines[start : start + step], places, form, bad)


def _fast(columns: Mapping[str, pa.Array], lines: Ints) -> Columns:
    """Whole columns.

    Raises:
        _RowWise, pyarrow.ArrowException: some value is not plainly right.
    """
    texts = {field: column.cast(pa.string()) for field, column in columns.items()}
    times = _times(texts["time"])
    numbers = _disjoint({field: _counts(texts[field]) for field in _NUMBERS if field in texts}, len(lines))
    words = {field: _names(texts[field], field) for field in TEXTS if field in texts}
    batch = _flags(texts["batch"]) if "batch" in texts else pa.nulls(len(lines), pa.bool_()).fill_null(False)
    if "cost" in texts:
        billed = pa.array([nanos(value, "cost") for value in texts["cost"].to_pylist()], pa.int64())
    else:
        billed = pa.nulls(len(lines), pa.int64())
    ids = _ids(texts["id"]) if "id" in texts else None
    return Columns(lines, times, numbers, words, batch, ids, billed)


def _times(column: pa.Array) -> Ints:
    if pc.all(pc.match_substring_regex(column, r"^[0-9]{9,19}$")).as_py():
        numbers: Ints = column.cast(pa.int64()).to_numpy()
        # What is chosen of a product fits; what is not chosen may wrap.
        result = np.where(numbers < 10**11, numbers * 10**6, numbers)
        result = np.where((numbers >= 10**11) & (numbers < 10**14), numbers * 1000, result)
        result = np.where(numbers >= 10**17, numbers // 1000, result)
    else:
        try:
            moments = column.cast(pa.timestamp("ns"))
        except pa.ArrowInvalid:
            moments = column.cast(pa.timestamp("ns", "UTC"))
        result = moments.cast(pa.int64()).to_numpy() // 1000
    if result.min() < _FIRST_US or result.max() >= _END_US:
        raise _RowWise
    return result


def _counts(column: pa.Array) -> pa.Array:
    try:
        values = column.cast(pa.int64())
    except pa.ArrowInvalid:
        empty = pc.is_in(column, value_set=_NULLTEXTS)
        values = pc.if_else(empty, pa.scalar(None, pa.string()), column).cast(pa.int64())
    bounds = pc.min_max(values).as_py()
    if bounds["min"] is not None and (bounds["min"] < 0 or bounds["max"] > MAX_TOKENS):
        raise _RowWise
    return values


def _disjoint(given: Mapping[str, pa.Array], length: int) -> dict[str, pa.Array]:
    """The counts in their classes, from those of an export, where some include others."""

    def zeros(field: str) -> pa.Array:
        return (
            pc.fill_null(given[field], 0) if field in given else pa.repeat(pa.scalar(0, pa.int64()), length)
        )

    nothing = pa.nulls(length, pa.int64())
    cached, reasoning = zeros("cached"), zeros("reasoning")
    whole, uncached = given.get("input", nothing), given.get("uncached", nothing)
    fresh = pc.coalesce(uncached, pc.subtract(whole, cached))
    output = pc.subtract(given.get("output", nothing), reasoning)
    for values in (fresh, output):
        if (pc.min(values).as_py() or 0) < 0:
            raise _RowWise
    if pc.any(pc.and_(fresh.is_null(), output.is_null())).as_py():
        raise _RowWise
    return {
        "input_tokens": fresh,
        "cached_input_tokens": pc.add(cached, zeros("cache_read")),
        "cache_write_tokens": zeros("cache_written"),
        "output_tokens": output,
        "reasoning_tokens": reasoning,
        "requests": pc.fill_null(given["requests"], 1)
        if "requests" in given
        else pa.repeat(pa.scalar(1, pa.int64()), length),
    }


def _names(column: pa.Array, field: str) -> pa.Array:
    coded = column.dictionary_encode()
    try:
        words = [text(word, field) for word in coded.dictionary.to_pylist()]
    except BadValueError:
        raise _RowWise from None
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(words, pa.string()))


def _ids(column: pa.Array) -> list[str]:
    """The ids as they are written, empty where there is none."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    found: list[str] = pc.if_else(pc.is_in(words, value_set=_NO_IDS), "", column).to_pylist()
    return found


def _flags(column: pa.Array) -> pa.Array:
    coded = column.dictionary_encode()
    try:
        words = [_flag(word) for word in coded.dictionary.to_pylist()]
    except BadValueError:
        raise _RowWise from None
    return pa.array(words, pa.bool_()).take(coded.indices)


def _flag(word: str) -> bool:
    word = word.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValueError("batch is neither true nor false")


def _slow(
    columns: Mapping[str, pa.Array],
    lines: Ints,
    places: Mapping[str, int],
    form: Header,
    bad: list[BadRow],
) -> Columns:
    """Row by row: what is bad is kept aside."""
    fields = list(columns)
    kept: list[dict[str, Any]] = []
    kept_lines: list[int] = []
    for line, raw in zip(
        lines.tolist(), zip(*(columns[f].to_pylist() for f in fields), strict=True), strict=True
    ):
        row = dict(zip(fields, raw, strict=True))
        try:
            kept.append(_row(row))
            kept_lines.append(line)
        except BadValueError as error:
            shown = {form.names[places[field]]: row[field] for field in _SHOWN if field in row}
            bad.append(BadRow(line, str(error), excerpt(shown, shown)))
    numbers = {
        name: pa.array([row["numbers"][name] for row in kept], pa.int64()) for name in (*COUNTS, "requests")
    }
    return Columns(
        np.array(kept_lines, np.int64),
        np.array([row["time"] for row in kept], np.int64),
        numbers,
        {
            field: pa.array([row[field] for row in kept], pa.string()).dictionary_encode()
            for field in TEXTS
            if field in columns
        },
        pa.array([row["batch"] for row in kept], pa.bool_()),
        _ids(pa.array([row["id"] for row in kept], pa.string())) if "id" in columns else None,
        pa.array([row["cost"] for row in kept], pa.int64()),
    )


def _row(raw: Mapping[str, bytes]) -> dict[str, Any]:
    """The values of one row.

    Raises:
        BadValueError: one of them is wrong.
    """
    try:
        given = {field: value.decode() for field, value in raw.items()}
    except UnicodeDecodeError:
        raise BadValueError("the row is no UTF-8 text") from None
    counts = {field: count(given.get(field), _LABELS[field]) for field in _NUMBERS}
    cached, reasoning = counts["cached"] or 0, counts["reasoning"] or 0
    fresh = counts["uncached"]
    if fresh is None:
        fresh = less(counts["input"], (cached,), "input tokens")
    output = less(counts["output"], (reasoning,), "output tokens")
    if fresh is None and output is None:
        raise BadValueError("token counts are missing")
    requests = counts["requests"]
    return {
        "time": micros(time(given["time"], "time")),
        "numbers": {
            "input_tokens": fresh,
            "cached_input_tokens": cached + (counts["cache_read"] or 0),
            "cache_write_tokens": counts["cache_written"] or 0,
            "output_tokens": output,
            "reasoning_tokens": reasoning,
            "requests": 1 if requests is None else requests,
        },
        "batch": _flag(given.get("batch", "")),
        "cost": nanos(given.get("cost"), "cost"),
        "id": given.get("id", ""),
        **{field: text(given.get(field), field) for field in TEXTS},
    }


_LABELS = {field: field.replace("_", " ") + ("" if field == "requests" else " tokens") for field in _NUMBERS}
