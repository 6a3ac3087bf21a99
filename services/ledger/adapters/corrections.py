"""ClickHouse as corrections use it: legs at the cost that the book has so far, and the rows that change it.

Legs are read in pages in the order of the table's key, so memory stays flat whatever the scope. What is
read is fixed by an entry of the journal: rows of later entries are passed over, so that the same corrections
can be made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from clickhouse_connect.driver.client import Client

from services.ledger.core import booking
from services.ledger.core.book import TokenClass
from services.ledger.core.booking import Ints, Priced, Words
from services.ledger.core.corrections import US_PER_S, BookedLegs, Corrections, Scope
from services.ledger.core.pools import Closing, Totals

PAGE_LEGS = 50_000
"""Legs that are read, and rows that are inserted, at a time: about 20 MB here."""
LONGEST_LEG_US = 86_400 * US_PER_S
"""A leg that began a day before a period is no longer looked for in it."""

_COUNTS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_PARTS = tuple(f"{name}_cost_nanos" for name in TokenClass)
_WORDS = (
    "workload",
    "key_name",
    "purpose",
    "target",
    "upstream",
    "provider",
    "region",
    "pool",
    "model",
)

_QUERIES = Path(__file__).parents[1] / "queries"
_LEGS, _SUMS, _TIMES, _FIRST, _LATE, _LAST_CLOSED, _CLOSED = (
    (_QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    for name in (
        "correction_legs",
        "correction_sums",
        "pool_times",
        "pool_first",
        "pool_late",
        "pool_last_closed",
        "pool_closed",
    )
)


class Key(NamedTuple):
    """Where a leg stands in the order of the table."""

    workload: str
    start_us: int
    leg_id: str


_NOWHERE = Key("", 0, str(UUID(int=0)))


@dataclass(frozen=True, slots=True)
class Span:
    """Legs that have come late: when the first of them began, and when the last had ended."""

    first_s: int
    last_s: int


class CorrectionStore:
    """What corrections read and write in ClickHouse."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def pages(
        self, scope: Scope, upto_entry: int, after: Key | None = None, through: Key | None = None
    ) -> Iterator[BookedLegs]:
        """The legs of a scope, none of the pages empty.

        Args:
            scope: which legs.
            upto_entry: the last entry whose rows count.
            after: only legs behind this one.
            through: only legs up to this one.
        """
        given = {**scope.to_dict(), "upto": upto_entry, "limit": PAGE_LEGS, **_named("through", through)}
        while True:
            columns = self._columns(_LEGS, given | _named("after", after))
            if not columns:
                return
            page = _booked(columns)
            after = key_of(page, -1)
            yield self._corrected(page, scope, upto_entry)
            if len(page) < PAGE_LEGS:
                return

    def times(self, pool: str, start_us: int, end_us: int, upto_entry: int) -> Iterator[tuple[Ints, Ints]]:
        """Starts and latencies in microseconds of the legs that were under way in a period, by start."""
        asked = {
            "pool": pool,
            "from_us": start_us - LONGEST_LEG_US,
            "start_us": start_us,
            "end_us": end_us,
            "upto": upto_entry,
        }
        with self._client.query_column_block_stream(_TIMES, parameters=asked) as blocks:
            for starts, latencies in blocks:
                yield np.array(starts, np.int64), np.array(latencies, np.int64)

    def first_start_s(self, pool: str, since_s: int, until_s: int, upto_entry: int) -> int | None:
        """When the first leg of a pool began that began in a time, in seconds since 1970."""
        asked = {"pool": pool, "since_s": since_s, "until_s": until_s, "upto": upto_entry}
        [(count, first_s)] = self._client.query(_FIRST, parameters=asked).result_rows
        return int(first_s) if count else None

    def late(
        self, pool: str, after_entry: int, upto_entry: int, before_s: int, period_s: int
    ) -> Sequence[Span]:
        """Legs that entries have booked and that began before a time, by the period in which they began."""
        asked = {
            "pool": pool,
            "after": after_entry,
            "upto": upto_entry,
            "before_s": before_s,
            "period_us": period_s * US_PER_S,
            "longest_us": LONGEST_LEG_US,
        }
        rows = self._client.query(_LATE, parameters=asked).result_rows
        return [Span(int(first_s), int(last_s)) for _, first_s, last_s in rows]

    def last_closed(self, pool: str) -> tuple[int, int] | None:
        """Start and length of the latest period that is closed, in seconds."""
        rows = self._client.query(_LAST_CLOSED, parameters={"pool": pool}).result_rows
        return (int(rows[0][0]), int(rows[0][1])) if rows else None

    def closed(self, pool: str, from_s: int, to_s: int) -> list[tuple[int, int]]:
        """Start and end of the closed periods that a time touches, in seconds since 1970."""
        asked = {"pool": pool, "from_s": from_s, "to_s": to_s}
        rows = self._client.query(_CLOSED, parameters=asked).result_rows
        return [(int(start_s), int(end_s)) for start_s, end_s in rows]

    def insert(
        self, booked: BookedLegs, priced: Priced, made: Corrections, entry: Mapping[str, Any], token: str
    ) -> None:
        """Inserts the rows of some corrections; the same ones inserted again change nothing.

        Args:
            booked: the legs.
            priced: what they are to cost.
            made: what changes.
            entry: `correct_time` (microseconds since 1970), `entry_id` and `batch`, which all rows share.
            token: names this insert among all.
        """
        rows = made.rows
        words = dict(zip(_WORDS, _words(booked), strict=True))
        columns: dict[str, Any] = {
            "leg_id": [booked.leg_ids[row] for row in rows.tolist()],
            "start_time": booked.start_us[rows].tolist(),
            **{name: _texts(column, rows) for name, column in words.items()},
            "cost_nanos": made.parts_nanos.sum(axis=1).tolist(),
            **dict(zip(_PARTS, made.parts_nanos.T.tolist(), strict=True)),
            "found": made.found.tolist(),
            "price_source": _texts(priced.source, rows),
            "price_version": _texts(priced.version, rows),
            **{name: [value] * len(rows) for name, value in entry.items()},
        }
        self._client.insert(
            "homeward.corrections",
            list(columns.values()),
            column_names=list(columns),
            column_oriented=True,
            settings={
                "insert_deduplication_token": token,
                # As for the legs themselves: what sums them up may lack what the table has.
                "deduplicate_blocks_in_dependent_materialized_views": 1,
            },
        )

    def insert_period(
        self,
        pool: str,
        start_s: int,
        period_s: int,
        busy_us: int,
        totals: Totals,
        closing: Closing,
        entry_id: int,
    ) -> None:
        """Inserts the row of a closed period. The row of a later entry takes its place."""
        row: dict[str, Any] = {
            "pool": pool,
            "period_start": datetime.fromtimestamp(start_s, UTC),
            "period_s": period_s,
            "cost_nanos": closing.cost_nanos,
            "leg_cost_nanos": closing.leg_cost_nanos,
            "idle_nanos": closing.idle_nanos,
            "busy_us": busy_us,
            "leg_count": totals.leg_count,
            "unknown_count": totals.unknown_count,
            "input_tokens": totals.input_tokens,
            "output_tokens": totals.output_tokens,
            "input_nanos_per_mtok": closing.rates.input_nanos_per_mtok,
            "output_nanos_per_mtok": closing.rates.output_nanos_per_mtok,
            "entry_id": entry_id,
        }
        self._client.insert("homeward.pool_periods", [list(row.values())], column_names=list(row))

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _corrected(self, page: BookedLegs, scope: Scope, upto_entry: int) -> BookedLegs:
        """The page, with what corrections have changed so far."""
        asked = {"start_us": scope.start_us, "end_us": scope.end_us, "upto": upto_entry}
        ends = _named("first", key_of(page, 0)) | _named("last", key_of(page, -1))
        columns = self._columns(_SUMS, asked | ends)
        if not columns:
            return page
        changed: dict[UUID, int] = {leg_id: row for row, leg_id in enumerate(columns["leg_id"])}
        sums = np.column_stack([np.array(columns[f"{name}_sum"], np.int64) for name in _PARTS])
        places = [(row, changed[leg_id]) for row, leg_id in enumerate(page.leg_ids) if leg_id in changed]
        rows, theirs = np.array(places, np.intp).reshape(-1, 2).T
        page.parts_nanos[rows] += sums[theirs]
        # What is corrected is known: it was, or it was found.
        page.cost_known[rows] = True
        return page

    def _columns(self, query: str, asked: Mapping[str, Any]) -> Mapping[str, Sequence[Any]]:
        """The columns of a query by name; none at all if it has no rows."""
        result = self._client.query(query, parameters=dict(asked), column_oriented=True)
        return dict(zip(result.column_names, result.result_columns, strict=True))


def key_of(page: BookedLegs, row: int) -> Key:
    """Where a leg of a page stands."""
    workload = page.legs.workload
    return Key(workload.texts[int(workload.codes[row])], int(page.start_us[row]), str(page.leg_ids[row]))


def _named(name: str, key: Key | None) -> dict[str, Any]:
    there = key or _NOWHERE
    return {
        f"has_{name}": key is not None,
        f"{name}_workload": there.workload,
        f"{name}_us": there.start_us,
        f"{name}_id": there.leg_id,
    }


def _booked(columns: Mapping[str, Sequence[Any]]) -> BookedLegs:
    words = {name: Words.of(columns[name]) for name in _WORDS}
    start_us = np.array(columns["start_us"], np.int64)

    def table(names: Sequence[str], kind: type[Any]) -> Any:
        return np.column_stack([np.array(columns[name], kind) for name in names])

    return BookedLegs(
        leg_ids=columns["leg_id"],
        start_us=start_us,
        legs=booking.Legs(
            **{
                name: words[name]
                for name in ("workload", "target", "purpose", "upstream", "provider", "model")
            },
            start_unix_s=start_us // US_PER_S,
            counts=table([f"{name}_0" for name in _COUNTS], np.int64),
            known=table([f"{name}_known" for name in _COUNTS], np.bool_),
            billed=np.array(columns["billed"], np.bool_),
        ),
        key_name=words["key_name"],
        region=words["region"],
        pool=words["pool"],
        cost_known=np.array(columns["cost_known"], np.bool_),
        parts_nanos=table([f"{name}_0" for name in _PARTS], np.int64),
    )


def _words(booked: BookedLegs) -> tuple[Words, ...]:
    """In the order of _WORDS."""
    legs = booked.legs
    return (
        legs.workload,
        booked.key_name,
        legs.purpose,
        legs.target,
        legs.upstream,
        legs.provider,
        booked.region,
        booked.pool,
        legs.model,
    )


def _texts(words: Words, rows: Any) -> list[str]:
    return [words.texts[code] for code in words.codes[rows].tolist()]
