"""Pages of buckets of results: how OpenAI and Anthropic both give usage and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from playbook.inventory.json_stream import BrokenJsonError, buckets
from playbook.inventory.reading import Reading
from playbook.inventory.rows import BadRow, UsageRow, row_key
from playbook.inventory.stream import Stream
from playbook.inventory.values import BadValueError, excerpt, time


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of time that results are summed over."""

    start: datetime
    end: datetime


ReadResult = Callable[[int, Bucket, Mapping[str, Any], Reading], "UsageRow | list[UsageRow] | None"]
"""Reads one result; None leaves it out. Raises BadValueError."""


def rows(
    stream: Stream, reading: Reading, times: tuple[str, str], read: ReadResult
) -> Iterator[UsageRow | BadRow]:
    """The rows of all results of a file; `line` is the ordinal of the result.

    Args:
        stream: the file.
        reading: gets what is left out, and why the file ended early.
        times: the names of a bucket's start and end.
        read: reads one result.
    """
    line = 0
    try:
        for item in buckets(stream):
            try:
                bucket, results = _bucket(item, times)
            except BadValueError as error:
                line += 1
                yield BadRow(line, str(error), excerpt(item, times) if isinstance(item, dict) else "")
                continue
            # A page that stands twice in a file is the same page; a bucket's results are all of them.
            said: Counter[bytes] = Counter()
            for result in results:
                line += 1
                try:
                    if not isinstance(result, dict):
                        raise BadValueError("a result is no JSON object")
                    found = read(line, bucket, result, reading)
                except BadValueError as error:
                    yield BadRow(
                        line, str(error), excerpt(result, result) if isinstance(result, dict) else ""
                    )
                    continue
                for row in [found] if isinstance(found, UsageRow) else found or ():
                    yield numbered(row, said)
    except BrokenJsonError as error:
        reading.problem = stream.problem or str(error)
        yield BadRow(line + 1, reading.problem, "")
    reading.problem = reading.problem or stream.problem


def numbered(row: UsageRow, said: Counter[bytes]) -> UsageRow:
    """The row with a key of its own: OpenAI gives a bucket several results of the same dimensions at times.

    Args:
        row: of the bucket.
        said: how often each key was said of the bucket; counts this one.
    """
    times = said[row.row_key]
    said[row.row_key] += 1
    return replace(row, row_key=row_key(row.row_key.hex(), times)) if times else row


def bucket_of(item: Mapping[str, Any], times: tuple[str, str]) -> Bucket:
    """The bucket whose times stand in these fields.

    Raises:
        BadValueError: they are no stretch of time.
    """
    start, end = (time(item.get(name), name) for name in times)
    if end <= start:
        raise BadValueError(f"{times[1]} is not after {times[0]}")
    return Bucket(start, end)


def _bucket(item: object, times: tuple[str, str]) -> tuple[Bucket, list[Any]]:
    if not isinstance(item, dict):
        raise BadValueError("a bucket is no JSON object")
    bucket = bucket_of(item, times)
    results = item.get("results")
    if not isinstance(results, list):
        # What the API called them before 2025, and what an error's page lacks.
        results = item.get("result")
    if not isinstance(results, list):
        raise BadValueError("a bucket has no results")
    return bucket, results
