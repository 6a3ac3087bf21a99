"""Whoever tampers with the book, `homeward ledger verify` names the place."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from playbook.commands.ledger import dollars
from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import connect
from tests.support.booking import Callers, assert_whole, journal_count, ledger_stack, run_verify, verified
from tests.support.stack import SECRETS, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

DAYS = 10
"""In one month or two: each has its own parts in ClickHouse."""
LEGS = 3_000
TABLES = ("legs", "corrections", "pool_periods", "spend_by_hour")


@dataclass(frozen=True, slots=True)
class Book:
    """A book that nobody writes to any more, and a way back to it."""

    stack: Stack
    client: Client
    """Of the user who may write."""
    journal: Path
    kept: Path
    names: dict[str, str]
    """What the statements of the tests may refer to."""


@pytest.fixture(scope="module")
async def book(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Book]:
    """Two rounds of legs, the pool's periods closed, and the ledger stopped."""
    folder = tmp_path_factory.mktemp("verify")
    async with ledger_stack(folder) as stack:
        callers = Callers(stack, days=DAYS)
        await callers.book(LEGS)
        await assert_whole(stack, callers.sent)
        await callers.book(LEGS)
        await assert_whole(stack, callers.sent)
        await periods_closed(stack)
        await stack.stop("ledger")
        settings = ClickHouse(
            url=f"http://127.0.0.1:{stack.ports['clickhouse']}", password=SECRETS.clickhouse_password
        )
        with closing(await asyncio.to_thread(connect, settings)) as client:
            journal = folder / "ledger" / "journal.sqlite"
            names = await asyncio.to_thread(keep, client, journal)
            yield Book(stack, client, journal, folder / "kept.sqlite", names)


async def periods_closed(stack: Stack) -> None:
    """Waits until the pool's periods are closed: those of all legs that were booked before the first was."""
    query = "SELECT max(period_start) >= now() - 7200 FROM homeward.pool_periods"

    async def closed() -> bool:
        return bool((await stack.query(query))[0][0]) and journal_count(stack, "NOT confirmed") == 0

    await until(closed, "the pool's periods are closed")


def keep(client: Client, journal: Path) -> dict[str, str]:
    """Copies all, and finds legs to tamper with."""
    for table in TABLES:
        client.command(f"CREATE TABLE homeward.kept_{table} AS homeward.{table}")
        for part in partitions(client, table):
            client.command(
                f"ALTER TABLE homeward.kept_{table} ATTACH PARTITION ID '{part}' FROM homeward.{table}"
            )
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(journal, journal.parents[1] / "kept.sqlite")

    def one(query: str) -> dict[str, Any]:
        return next(iter(client.query(query).named_results()))

    leg = one(
        "SELECT * FROM homeward.legs WHERE cost_nanos > 0 AND output_cost_nanos > 0 AND entry_id = 1"
        " AND workload = 'summaries' AND purpose = 'production' ORDER BY leg_id LIMIT 1"
    )
    twins = one(
        "SELECT arraySort(groupArray(leg_id)) AS ids FROM homeward.legs WHERE cost_nanos > 0"
        " GROUP BY entry_id, workload, purpose, target, provider, cost_nanos, input_cost_nanos,"
        " cached_input_cost_nanos, cache_write_cost_nanos, output_cost_nanos, toDate(start_time)"
        " HAVING count() > 1 ORDER BY ids LIMIT 1"
    )["ids"]
    unknown = one(
        "SELECT * FROM homeward.legs WHERE isNull(cost_nanos) AND pool = '' ORDER BY leg_id LIMIT 1"
    )
    corrected = one("SELECT * FROM homeward.corrections WHERE cost_nanos > 0 ORDER BY leg_id LIMIT 1")
    return {
        "leg": f"'{leg['leg_id']}'",
        "batch": leg["batch"],
        "unknown": f"'{unknown['leg_id']}'",
        "corrected": f"'{corrected['leg_id']}'",
        "correction": corrected["batch"],
        "one": f"'{twins[0]}'",
        "one_bare": str(twins[0]),
        "twin": f"'{twins[1]}'",
    }


def partitions(client: Client, table: str) -> list[str]:
    """The ids of a table's partitions."""
    rows = client.query(f"SELECT DISTINCT _partition_id FROM homeward.{table}").result_rows
    return [row[0] for row in rows]


def restore_rows(book: Book) -> None:
    """Undoes what was done to rows. No view sees it."""
    for table in TABLES:
        for part in set(partitions(book.client, table)) | set(partitions(book.client, f"kept_{table}")):
            book.client.command(
                f"ALTER TABLE homeward.{table} REPLACE PARTITION ID '{part}' FROM homeward.kept_{table}"
            )


def restore_journal(book: Book) -> None:
    """Undoes what was done to the journal."""
    for suffix in ("-wal", "-shm"):
        book.journal.with_name(book.journal.name + suffix).unlink(missing_ok=True)
    shutil.copy(book.kept, book.journal)


@pytest.fixture
def rows(book: Book) -> Iterator[Book]:
    """The book, whose rows are restored afterwards."""
    yield book
    restore_rows(book)


@pytest.fixture
def journal(book: Book) -> Iterator[Book]:
    """The book, whose journal is restored afterwards."""
    yield book
    restore_journal(book)


ROWS: dict[str, tuple[str, str]] = {
    "a row is deleted": (
        "ALTER TABLE homeward.legs DELETE WHERE leg_id = {leg}",
        "entry 1, batch {batch}, summaries × cloud × production × provider/homeward-stand-in: legs:",
    ),
    "a row is doubled": (
        "INSERT INTO homeward.legs SELECT * FROM homeward.legs WHERE leg_id = {leg}",
        "entry 1, batch {batch}, summaries × cloud × production × provider/homeward-stand-in: legs:",
    ),
    "a row is cheaper": (
        "ALTER TABLE homeward.legs UPDATE cost_nanos = cost_nanos - 1,"
        " output_cost_nanos = output_cost_nanos - 1 WHERE leg_id = {leg}",
        "homeward-stand-in: cost of output in nano-dollars:",
    ),
    "only the cost of a row is changed": (
        "ALTER TABLE homeward.legs UPDATE cost_nanos = 0 WHERE leg_id = {leg}",
        "legs whose six costs do not add up to their cost: 0 in the journal, 1 in ClickHouse",
    ),
    "a cost moves from one class of tokens to another": (
        "ALTER TABLE homeward.legs UPDATE input_cost_nanos = input_cost_nanos + 1,"
        " output_cost_nanos = output_cost_nanos - 1 WHERE leg_id = {leg}",
        "cost of input in nano-dollars:",
    ),
    "an unknown cost becomes zero": (
        "ALTER TABLE homeward.legs UPDATE cost_nanos = 0, input_cost_nanos = 0, cached_input_cost_nanos = 0,"
        " cache_write_cost_nanos = 0, output_cost_nanos = 0, reasoning_cost_nanos = 0, request_cost_nanos = 0"
        " WHERE leg_id = {unknown}",
        "legs of unknown cost:",
    ),
    "a row goes to another purpose": (
        "ALTER TABLE homeward.legs UPDATE purpose = 'shadow' WHERE leg_id = {leg}",
        "summaries × cloud × production × provider/homeward-stand-in: legs:",
    ),
    "a row goes to another provider": (
        "ALTER TABLE homeward.legs UPDATE provider = 'openai' WHERE leg_id = {leg}",
        "summaries × cloud × production × provider/homeward-stand-in: legs:",
    ),
    "a row goes to another entry": (
        "ALTER TABLE homeward.legs UPDATE entry_id = 2 WHERE leg_id = {leg}",
        "entry 1, batch {batch}, summaries × cloud × production",
    ),
    "a row goes to another batch": (
        "ALTER TABLE homeward.legs UPDATE batch = 'another' WHERE leg_id = {leg}",
        "entry 1, batch {batch}: ClickHouse has 1 leg of this entry under the batch 'another'",
    ),
    "a row is put in the place of another": (
        "INSERT INTO homeward.legs SELECT * FROM homeward.legs WHERE leg_id = {one};"
        "ALTER TABLE homeward.legs DELETE WHERE leg_id = {twin}",
        "leg {one_bare}, which began 20",
    ),
    "a row is booked again as older than the journal": (
        "INSERT INTO homeward.legs SELECT * REPLACE (0 AS entry_id) FROM homeward.legs WHERE leg_id = {leg}",
        "is 2 times in ClickHouse, by entry 0 and 1",
    ),
    "a batch that nobody booked is added": (
        "INSERT INTO homeward.legs SELECT * REPLACE (generateUUIDv4() AS leg_id, 9999 AS entry_id,"
        " 'invented' AS batch) FROM homeward.legs WHERE workload = 'summaries'",
        "entry 9999, batch invented: ClickHouse has",
    ),
    "a whole batch is deleted": (
        "ALTER TABLE homeward.legs DELETE WHERE entry_id = 1",
        "entry 1, batch {batch}, ",
    ),
    "a correction is deleted": (
        "ALTER TABLE homeward.corrections DELETE WHERE leg_id = {corrected}",
        "batch {correction}, ",
    ),
    "a correction is doubled": (
        "INSERT INTO homeward.corrections SELECT * FROM homeward.corrections WHERE leg_id = {corrected}",
        "batch {correction}, ",
    ),
    "a correction finds more than before": (
        "ALTER TABLE homeward.corrections UPDATE cost_nanos = cost_nanos + 1, input_cost_nanos ="
        " input_cost_nanos + 1 WHERE leg_id = {corrected}",
        "pool/rack: cost of input in nano-dollars:",
    ),
    "idle time is hidden": (
        "INSERT INTO homeward.pool_periods SELECT * REPLACE (0 AS idle_nanos) FROM homeward.pool_periods",
        "cost of its idle time in nano-dollars:",
    ),
    "a period is deleted": (
        "ALTER TABLE homeward.pool_periods DELETE WHERE pool = 'rack'",
        "ClickHouse does not have it as this entry closed it",
    ),
    "the analysts' sums are changed": (
        "INSERT INTO homeward.spend_by_hour (hour, workload, provider, cost_nanos)"
        " SELECT hour, workload, provider, 1 FROM homeward.spend_by_hour WHERE pool = '' LIMIT 1",
        "provider/homeward-stand-in: cost in nano-dollars:",
    ),
}


@pytest.mark.parametrize("what", ROWS)
async def test_tampering_with_rows_is_named(rows: Book, what: str) -> None:
    statements, told = ROWS[what]

    def tamper() -> None:
        for statement in statements.format(**rows.names).split(";"):
            rows.client.command(statement, settings={"mutations_sync": 1})

    await asyncio.to_thread(tamper)
    await is_named(rows, told)


JOURNAL: dict[str, tuple[str, str]] = {
    "an entry's lines are changed": (
        "UPDATE entry SET lines = replace(lines, 'summaries', 'summarles') WHERE entry_id = 1",
        "entry 1, batch {batch}: in the journal, ",
    ),
    "an entry's cost is changed": (
        "UPDATE entry SET cost_nanos = cost_nanos + 1 WHERE entry_id = 2",
        "entry 2, batch ",
    ),
    "what an entry follows from is changed": (
        "UPDATE entry SET detail = '{{}}' WHERE entry_id = 1",
        "entry 1, batch {batch}: in the journal, ",
    ),
    "an entry is booked at another time": (
        "UPDATE entry SET book_unix_us = book_unix_us + 1 WHERE entry_id = 1",
        "entry 1, batch {batch}: in the journal, ",
    ),
    "a posting is changed": (
        "UPDATE posting SET amount_nanos = amount_nanos + 1 WHERE rowid ="
        " (SELECT min(rowid) FROM posting WHERE entry_id = 1)",
        "entry 1, batch {batch}: in the journal, ",
    ),
    "two postings are changed so that they balance": (
        "UPDATE posting SET amount_nanos = amount_nanos"
        " + CASE WHEN account LIKE 'expense/%' THEN 1 ELSE -1 END"
        " WHERE rowid IN (SELECT rowid FROM posting WHERE entry_id = 1 AND account LIKE 'expense/%' LIMIT 1)"
        " OR rowid IN (SELECT rowid FROM posting WHERE entry_id = 1 AND account LIKE 'provider/%' LIMIT 1)",
        "entry 1, batch {batch}: in the journal, ",
    ),
    "a posting is deleted": (
        "DELETE FROM posting WHERE rowid = (SELECT max(rowid) FROM posting WHERE entry_id = 2)",
        "entry 2, batch ",
    ),
    "an entry is deleted": (
        "DELETE FROM posting WHERE entry_id = 2; DELETE FROM entry WHERE entry_id = 2",
        "entry 2: in the journal, ",
    ),
    "the last entry is deleted": (
        "DELETE FROM posting WHERE entry_id = (SELECT max(entry_id) FROM entry);"
        " DELETE FROM entry WHERE entry_id = (SELECT max(entry_id) FROM entry)",
        "in the journal, ",
    ),
    "the last entry is deleted and the chain shortened": (
        "DELETE FROM posting WHERE entry_id = (SELECT max(entry_id) FROM entry);"
        " DELETE FROM entry WHERE entry_id = (SELECT max(entry_id) FROM entry);"
        " UPDATE chain_head SET last_id = (SELECT max(entry_id) FROM entry),"
        " last_sha256 = (SELECT entry_sha256 FROM entry ORDER BY entry_id DESC LIMIT 1)"
        " WHERE chain = 'entry'",
        "the journal has no such entry",
    ),
    "two entries change places": (
        "UPDATE entry SET entry_id = -1 WHERE entry_id = 1; UPDATE entry SET entry_id = 1 WHERE entry_id = 2;"
        " UPDATE entry SET entry_id = 2 WHERE entry_id = -1",
        "entry 1, batch ",
    ),
}


@pytest.mark.parametrize("what", JOURNAL)
async def test_tampering_with_the_journal_is_named(journal: Book, what: str) -> None:
    statements, told = JOURNAL[what]
    with closing(sqlite3.connect(journal.journal)) as db:
        db.executescript(statements.format(**journal.names))
    await is_named(journal, told)


async def is_named(book: Book, told: str) -> None:
    """Checks that verify ends with code 1 and names the place."""
    found = await verified(book.stack)
    assert not found["whole"]
    assert found["exit_code"] == 1
    assert told.format(**book.names) in found["difference"]["message"]


async def test_a_noted_hash_must_still_be_there(journal: Book) -> None:
    with closing(sqlite3.connect(journal.journal)) as db:
        hashes = [row[0].hex() for row in db.execute("SELECT entry_sha256 FROM entry ORDER BY entry_id")]
    for noted in hashes:
        assert (await verified(journal.stack, "--noted", noted))["whole"]
    other = await verified(journal.stack, "--noted", "00" * 32)
    assert "no entry has the hash 0000" in other["difference"]["message"]
    assert other["exit_code"] == 1


async def test_people_are_told_what_is_owed_and_what_to_do(book: Book) -> None:
    told = await verified(book.stack)
    done = await asyncio.to_thread(run_verify, book.stack)
    assert done.exit_code == 0
    assert told["head_sha256"] in done.stdout
    assert dollars(told["owed_nanos"]["pool/rack"]) in done.stdout
    assert dollars(told["idle_nanos"]["rack"]) in done.stdout
    assert "The book is whole." in done.stdout
    assert "Next: `homeward ledger unknown`" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


async def test_a_journal_that_is_not_there_is_told_and_not_made(journal: Book) -> None:
    journal.journal.unlink()
    done = await asyncio.to_thread(run_verify, journal.stack)
    assert done.exit_code == 1
    assert "can't be used now" in done.stderr
    assert not journal.journal.exists()


async def test_the_book_is_whole_before_and_after(rows: Book, journal: Book) -> None:
    assert (await verified(rows.stack))["whole"]
    await asyncio.to_thread(restore_rows, rows)
    await asyncio.to_thread(restore_journal, journal)
    assert (await verified(rows.stack))["whole"]


async def test_what_is_on_the_way_is_no_failure(rows: Book, journal: Book) -> None:
    with closing(sqlite3.connect(journal.journal)) as db:
        db.execute("UPDATE entry SET confirmed = 0 WHERE entry_id = 1")
        db.commit()
    found = await verified(rows.stack)
    assert (found["whole"], found["on_the_way_entries"]) == (True, 1)
    await asyncio.to_thread(
        rows.client.command,
        "ALTER TABLE homeward.legs DELETE WHERE entry_id = 1 AND cityHash64(leg_id) % 2 = 0",
        settings={"mutations_sync": 1},
    )
    # What is missing is on the way; the sums of what was there are no longer right.
    assert "homeward.spend_by_hour" in (await verified(rows.stack))["difference"]["message"]
