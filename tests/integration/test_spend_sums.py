"""The sums that analysts read hold each leg and each correction once, whatever is sent or run again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.httputil import default_pool_manager

from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import MIGRATIONS, connect, insert_block, migrate, statements
from tests.support.stack import SECRETS, Stack

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEND = "0005_spend.sql"
VIEWS = ("spend_by_hour_of_legs", "latency_by_hour_of_legs")
TABLES = ("legs", "corrections", "spend_by_hour", "latency_by_hour")

# Over the end of a month, so that a batch has two partitions; the second leg's cost is unknown.
LEGS = """
SELECT
    generateUUIDv4(number) AS leg_id,
    toDateTime64('2026-10-31 23:59:59', 6, 'UTC') + number AS start_time,
    'ticket-triage' AS workload,
    'ok' AS outcome,
    if(number = 1, NULL, toInt64(7)) AS cost_nanos,
    toUInt64(100) AS latency_us,
    toUInt64({entry_id}) AS entry_id
FROM numbers(3)
"""
COUNTS = """
SELECT
    (SELECT (count(), countIf(isNull(cost_nanos)), sum(cost_nanos)) FROM homeward.leg_costs),
    (SELECT (sum(legs), sum(unknown_legs), sum(cost_nanos)) FROM homeward.spend_by_hour),
    (SELECT sum(legs) FROM homeward.latency_by_hour)
"""
Counts = tuple[tuple[int, int, int], tuple[int, int, int], int]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ClickHouse without a ledger."""
    async with Stack(tmp_path_factory.mktemp("sums")) as running:
        await running.start("clickhouse")
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


@contextmanager
def ledgers_client(server: Stack) -> Iterator[Client]:
    """A client as the ledger makes one."""
    url = f"http://127.0.0.1:{server.ports['clickhouse']}"
    client = connect(ClickHouse(url=url, password=SECRETS.clickhouse_password))
    try:
        yield client
    finally:
        client.close()


async def with_client(server: Stack, work: Callable[[Client], Any]) -> Any:
    """What `work` gives for an empty book."""

    def run() -> Any:
        with ledgers_client(server) as client:
            migrate(client)
            for table in TABLES:
                client.command(f"TRUNCATE TABLE homeward.{table}")
            return work(client)

    return await asyncio.to_thread(run)


def counts(client: Client) -> Counts:
    """Legs, unknown ones and nano-dollars: of the rows, and of the sums; and legs whose latency is known."""
    rows, sums, timed = client.query(COUNTS).result_rows[0]
    return tuple(rows), tuple(sums), timed


def send(client: Client, batch: str) -> None:
    """Sends a batch of three legs as the ledger does."""
    insert_block(client, client.raw_query(LEGS.format(entry_id=1) + "FORMAT Native"), batch)


def correct(client: Client, batch: str) -> None:
    """Finds the cost of the unknown leg, and raises that of another, as the ledger does."""
    client.command(
        "INSERT INTO homeward.corrections (leg_id, start_time, workload, cost_nanos, found, entry_id)"
        " SELECT leg_id, start_time, workload, 100, isNull(cost_nanos), 2 FROM homeward.legs"
        " ORDER BY start_time LIMIT 2",
        settings={
            "insert_deduplication_token": batch,
            "deduplicate_blocks_in_dependent_materialized_views": 1,
        },
    )


async def test_a_batch_that_comes_again_counts_once(server: Stack) -> None:
    def work(client: Client) -> list[Counts]:
        send(client, "a-1")
        first = counts(client)
        # Blocks that are alike, under another token, are others.
        for batch in ("a-1", "a-2", "a-2", "a-1"):
            send(client, batch)
        return [first, counts(client)]

    assert await with_client(server, work) == [((3, 1, 14), (3, 1, 14), 3), ((6, 2, 28), (6, 2, 28), 6)]


@pytest.mark.parametrize("missed", [VIEWS[:1], VIEWS[1:], VIEWS])
async def test_a_batch_that_reached_only_the_table_reaches_the_sums_when_it_comes_again(
    server: Stack, missed: tuple[str, ...]
) -> None:
    def work(client: Client) -> list[Counts]:
        send(client, "a-1")
        for view in missed:
            client.command(f"DETACH TABLE homeward.{view}")
        send(client, "a-2")
        torn = counts(client)
        for view in missed:
            client.command(f"ATTACH TABLE homeward.{view}")
        for _ in range(2):
            send(client, "a-2")
        return [torn, counts(client)]

    torn, whole = await with_client(server, work)
    assert torn == (
        (6, 2, 28),
        (3, 1, 14) if VIEWS[0] in missed else (6, 2, 28),
        3 if VIEWS[1] in missed else 6,
    )
    assert whole == ((6, 2, 28), (6, 2, 28), 6)


async def test_a_batch_whose_sums_fail_is_refused_and_whole_when_it_comes_again(server: Stack) -> None:
    def work(client: Client) -> list[Counts]:
        client.command(
            "ALTER TABLE homeward.latency_by_hour ADD CONSTRAINT full_disk CHECK throwIf(legs > 0) = 0"
        )
        try:
            with pytest.raises(DatabaseError, match="throwIf"):
                send(client, "a-1")
            torn = counts(client)
        finally:
            client.command("ALTER TABLE homeward.latency_by_hour DROP CONSTRAINT full_disk")
        send(client, "a-1")
        return [torn, counts(client)]

    torn, whole = await with_client(server, work)
    assert torn[2] == 0
    assert whole == ((3, 1, 14), (3, 1, 14), 3)


async def test_corrections_change_the_sums_once(server: Stack) -> None:
    def work(client: Client) -> list[Counts]:
        send(client, "a-1")
        client.command("DETACH TABLE homeward.spend_by_hour_of_corrections")
        correct(client, "c-1")
        torn = counts(client)
        client.command("ATTACH TABLE homeward.spend_by_hour_of_corrections")
        for _ in range(2):
            correct(client, "c-1")
        return [torn, counts(client)]

    torn, whole = await with_client(server, work)
    assert torn == ((3, 0, 214), (3, 1, 14), 3)
    assert whole == ((3, 0, 214), (3, 0, 214), 3)


async def test_a_migration_that_is_cut_off_and_run_again_takes_over_old_legs_once(
    server: Stack, tmp_path: Path
) -> None:
    for file in MIGRATIONS.glob("000[1-4]_*.sql"):
        shutil.copy(file, tmp_path)
    spend = statements((MIGRATIONS / SPEND).read_text())
    after_insert = 1 + next(number for number, text in enumerate(spend) if text.startswith("INSERT"))

    def work(client: Client) -> list[Counts]:
        client.command("DROP DATABASE homeward SYNC")
        migrate(client, tmp_path)
        client.command(
            "INSERT INTO homeward.legs"
            " (leg_id, start_time, workload, outcome, cost_nanos, latency_us, entry_id)"
            + LEGS.format(entry_id=0)
        )
        for statement in spend[:after_insert]:
            client.command(statement)
        torn = counts(client)
        assert SPEND.removesuffix(".sql") in migrate(client)
        taken_over = counts(client)
        # A second ledger that began to migrate at the same time goes through it while the first one books.
        send(client, "a-1")
        for statement in spend:
            client.command(statement)
        return [torn, taken_over, counts(client)]

    assert await with_client(server, work) == [
        ((3, 1, 14), (3, 1, 14), 0),
        ((3, 1, 14), (3, 1, 14), 3),
        ((6, 2, 28), (6, 2, 28), 6),
    ]


async def test_the_sums_of_old_legs_are_made_as_those_of_new_ones() -> None:
    """The statements that take over old legs and those of the views differ in which legs they take."""
    spend = statements((MIGRATIONS / SPEND).read_text())
    for table in ("spend_by_hour", "latency_by_hour"):
        (old,) = [text for text in spend if text.startswith(f"INSERT INTO homeward.{table}")]
        (new,) = [text for text in spend if f"homeward.{table}_of_legs TO" in text]
        of_old, of_new = (text[text.index("SELECT") :] for text in (old, new))
        of_old = of_old[: of_old.index("ORDER BY")].replace("entry_id = 0", "entry_id > 0")
        of_old = of_old.replace(",\n    toUInt64(0) AS corrections,\n    toInt64(0) AS corrected_nanos", "")
        assert of_old.split() == of_new.split()
