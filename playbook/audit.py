"""The proof that the book is whole: the journal against itself, and against every row in ClickHouse.

Both sides are read in ranges of entries, so that memory does not grow with the book. The ledger may go on
meanwhile: an entry is in the journal before its rows are in ClickHouse, so what ClickHouse has and the
journal has not is never on the way, and what the journal has confirmed is never missing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from clickhouse_connect.driver.client import Client

from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.journal.rows import Entry
from services.ledger.core import book
from services.ledger.core.audit import Difference, Rows, first_difference, idle_nanos
from services.ledger.core.audit_pools import Period, Periods
from services.ledger.core.book import Kind, Line

QUERIES = Path(__file__).parent / "queries"
RANGE_ENTRIES = 2_000
"""Entries that are compared at a time: each has a line for every workload, target, purpose and creditor."""
BEYOND = 1_000
"""Batches after the journal's end that are looked up at the most."""

READINGS = 5
"""How often sums that differ from their rows are read: those of legs that come in just now may."""
BETWEEN_READINGS_S = 0.5

Progress = Callable[[int], None]


@dataclass(slots=True)
class Audit:
    """What was found; whole if there is no difference."""

    entries: int = 0
    legs: int = 0
    unknown_legs: int = 0
    """Of them, those whose cost is still unknown."""
    on_the_way_entries: int = 0
    """In the journal, and not yet confirmed to be in ClickHouse."""
    on_the_way_legs: int = 0
    before_legs: int = 0
    """Rows older than the journal: no entry has them, and nothing proves them."""
    owed_nanos: Counter[str] = field(default_factory=Counter)
    """Nano-dollars by creditor, as its account is called."""
    idle_nanos: Counter[str] = field(default_factory=Counter)
    """Of what pools are owed, nano-dollars for hours in which nothing was served, by pool."""
    head_sha256: str = ""
    """Hash of the last entry: who has noted it can prove later that nothing before it has changed."""
    difference: Difference | None = None

    @property
    def whole(self) -> bool:
        """Nothing differs."""
        return self.difference is None


def audit(
    entries: Entries, client: Client, progress: Progress = lambda _: None, *, noted_sha256: str = ""
) -> Audit:
    """Reads all and compares it, up to the first place that differs.

    Args:
        entries: the journal's.
        client: of ClickHouse; reading is enough.
        progress: called with the number of the last entry that was compared.
        noted_sha256: the hash, in hexadecimal, that some entry must have; empty: none.

    Raises:
        DomainError: STORAGE_UNAVAILABLE; the journal can't be read.
        clickhouse_connect.driver.exceptions.Error, OSError: ClickHouse can't.
    """
    found, periods = Audit(), Periods()
    noted = bytes.fromhex(noted_sha256)
    noted_seen = False
    after_id = 0
    for chunk, problem in _chunks(entries):
        if chunk:
            upto_id = chunk[-1].entry_id
            found.difference = _compare(chunk, _rows(client, after_id, upto_id), periods, found)
            after_id = upto_id
            noted_seen = noted_seen or any(entry.entry_sha256 == noted for entry in chunk)
            progress(after_id)
        found.difference = found.difference or problem
        if found.difference is not None:
            return found
    if noted and not noted_seen:
        what = f"no entry has the hash {noted_sha256}: it is not the journal of which it was noted"
        found.difference = Difference(what)
        return found
    found.difference = (
        _beyond(entries, client, after_id)
        or _periods(entries, client, after_id, periods)
        or _months(client, found)
    )
    return found


def _chunks(entries: Entries) -> Iterator[tuple[Sequence[Entry], Difference | None]]:
    """Entries in ranges; a range ends before the first that is wrong in itself."""
    chunk: list[Entry] = []
    for checked in entries.check():
        if checked.entry is None or checked.problem is not None:
            batch = "" if checked.entry is None else checked.entry.draft.batch
            yield chunk, Difference(f"in the journal, {checked.problem}", checked.entry_id, batch)
            return
        chunk.append(checked.entry)
        if len(chunk) == RANGE_ENTRIES:
            yield chunk, None
            chunk = []
    yield chunk, None


def _compare(
    chunk: Sequence[Entry], rows: Mapping[Kind, Mapping[int, list[Rows]]], periods: Periods, found: Audit
) -> Difference | None:
    """The first difference of a range; its figures go to `periods` and `found`."""
    tables = {entry.entry_id: _table(entry.draft.kind) for entry in chunk}
    strays = {
        number: lines
        for table, of_table in rows.items()
        for number, lines in of_table.items()
        if tables.get(number) is not table
    }
    for entry in chunk:
        there = rows[tables[entry.entry_id]].get(entry.entry_id, [])
        problem = first_difference(entry.entry_id, entry.draft, there, confirmed=entry.confirmed)
        if problem is None and entry.entry_id in strays:
            what = f"it books {entry.draft.kind}, but ClickHouse has rows of another kind under its number"
            problem = Difference(what, entry.entry_id, entry.draft.batch)
        problem = problem or periods.add(entry.entry_id, entry.draft, confirmed=entry.confirmed)
        if problem is not None:
            return problem
        _count(entry, found)
    for number in sorted(strays):
        return _unknown(number, strays[number][0].batch, sum(row.line.leg_count for row in strays[number]))
    return None


def _count(entry: Entry, found: Audit) -> None:
    draft = entry.draft
    found.entries += 1
    found.legs += draft.leg_count if draft.kind is Kind.LEGS else 0
    found.unknown_legs += draft.unknown_count
    if not entry.confirmed:
        found.on_the_way_entries += 1
        found.on_the_way_legs += draft.leg_count if draft.kind is Kind.LEGS else 0
    for posting in draft.postings:
        if posting.account.startswith(("provider/", "pool/")):
            found.owed_nanos[posting.account] -= posting.amount_nanos
    found.idle_nanos.update(idle_nanos(draft))
    found.head_sha256 = entry.entry_sha256.hex()


def _rows(client: Client, after_id: int, upto_id: int) -> dict[Kind, dict[int, list[Rows]]]:
    """ClickHouse's lines of a range, by table and entry."""
    return {
        kind: _lines(client, name, after_id, upto_id)
        for kind, name in ((Kind.LEGS, "batches_legs"), (Kind.REPRICING, "batches_corrections"))
    }


def _table(kind: Kind) -> Kind:
    """The kind whose table has the rows."""
    return Kind.LEGS if kind is Kind.LEGS else Kind.REPRICING


def _lines(client: Client, name: str, after_id: int, upto_id: int) -> dict[int, list[Rows]]:
    found: dict[int, list[Rows]] = {}
    for row in _query(client, name, after=after_id, upto=upto_id):
        creditor = book.pool(row["pool"]) if row["pool"] else book.provider(row["owed_to"])
        line = Line(
            row["workload"],
            row["target"],
            row["purpose"],
            creditor,
            row["leg_count"],
            row["unknown_count"],
            (row["part_0"], row["part_1"], row["part_2"], row["part_3"], row["part_4"], row["part_5"]),
        )
        rows = Rows(row["batch"], line, row["cost"], row["unsplit_count"])
        found.setdefault(row["entry_id"], []).append(rows)
    return found


def _beyond(entries: Entries, client: Client, after_id: int) -> Difference | None:
    """A batch in ClickHouse after the last entry that was read, and that no newer one has."""
    for row in _query(client, "batches_beyond", after=after_id, limit=BEYOND):
        entry = entries.find(row["batch"])
        if entry is None or entry.entry_id != row["entry_id"]:
            return _unknown(row["entry_id"], row["batch"], row["leg_count"])
    return None


def _periods(entries: Entries, client: Client, after_id: int, periods: Periods) -> Difference | None:
    rows = {
        (row["pool"], row["start_unix_s"]): Period(
            row["entry_id"], row["cost_nanos"], row["leg_cost_nanos"], row["idle_nanos"]
        )
        for row in _query(client, "batches_periods")
    }
    # What was booked since: its rows may be there or not.
    while newer := entries.read(after_id, RANGE_ENTRIES):
        for entry in newer:
            problem = periods.add(entry.entry_id, entry.draft, confirmed=False)
            if problem is not None:
                return problem
        after_id = newer[-1].entry_id
    return periods.first_difference(rows)


def _months(client: Client, found: Audit) -> Difference | None:
    """What is wrong over all entries: a leg that is there twice, or sums that are not those of the rows."""
    for month in _query(client, "batches_months"):
        found.before_legs += month["before_count"]
        problem = _twice(client, month["month"]) or _summed(client, month["month"])
        if problem is not None:
            return problem
    return None


def _twice(client: Client, month: int) -> Difference | None:
    for row in _query(client, "batches_twice", month=month):
        numbers = sorted({row["first_entry_id"], row["last_entry_id"]})
        name = f"{'a correction of ' if row['correction'] else ''}leg {row['leg_id']}"
        what = (
            f"{name}, which began {row['start_time']:%Y-%m-%d %H:%M:%S}, is {row['times']} times in"
            f" ClickHouse, by entry {' and '.join(map(str, numbers))}"
        )
        return Difference(what, numbers[0], figure="legs", book=1, clickhouse=row["times"])
    return None


def _summed(client: Client, month: int) -> Difference | None:
    """Where homeward.spend_by_hour is not the sum of the rows.

    ClickHouse shows an insert's rows a moment before their sums, so what counts is a difference that stands.
    """
    before: list[dict[str, Any]] = []
    for reading in range(READINGS):
        if reading:
            time.sleep(BETWEEN_READINGS_S)
        now = _query(client, "batches_spend", month=month)
        for row in now:
            if row in before:
                return _sum_difference(row)
        if not now:
            return None
        before = now
    return None


def _sum_difference(row: Mapping[str, Any]) -> Difference:
    creditor = book.pool(row["pool"]) if row["pool"] else book.provider(row["owed_to"])
    figures = (("legs", "legs"), ("legs of unknown cost", "unknown"), ("cost in nano-dollars", "cost"))
    figure, column = next(item for item in figures if row[item[1]] != row[f"summed_{item[1]}"])
    rows, summed = row[column], row[f"summed_{column}"]
    what = (
        f"{row['day']}, {creditor}: {figure}: {rows:,} in homeward.legs and homeward.corrections,"
        f" {summed:,} in homeward.spend_by_hour"
    )
    return Difference(what, figure=figure, book=rows, clickhouse=summed)


def _unknown(entry_id: int, batch: str, leg_count: int) -> Difference:
    what = f"ClickHouse has {leg_count:,} rows of it, and the journal has no such entry"
    return Difference(what, entry_id, batch, clickhouse=leg_count)


def _query(client: Client, name: str, **parameters: Any) -> list[dict[str, Any]]:
    text = (QUERIES / f"{name}.sql").read_text(encoding="utf-8")
    return list(client.query(text, parameters=parameters).named_results())


def creditor_name(account: str) -> str:
    """A creditor's account as people call it."""
    kind, _, name = account.partition("/")
    return f"{unquote(name) or '(unnamed)'} ({kind})"
