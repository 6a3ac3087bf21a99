"""The statements for a cluster, read by the real ClickHouse; and two shards, which act as one server does.

There is no Keeper here: what needs one (`ON CLUSTER`, replicas) is parsed, and taken out before it is run.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3 import PoolManager

from deploy.clickhouse.cluster.__main__ import migrations
from deploy.local.clickhouse import embedded
from deploy.local.ports import free_ports
from services.ledger.adapters.clickhouse import MIGRATIONS, migrate
from tests.support.stack import SECRETS, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = sorted(file.name for file in MIGRATIONS.glob("*.sql"))
VIEWS = (
    *("leg_costs", "spend_daily", "spend_by_workload", "sovereign_vs_cloud", "latency_percentiles", "funnel"),
    *("unknown_costs", "idle_by_day", "first_legs", "evidence_by_day", "abstention_by_day"),
    *("shadow_funnel", "verdicts", "triplet_scores"),
)
SHARD = (
    "<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host><port>{port}</port>"
    f"<user>homeward</user><password>{SECRETS.clickhouse_password}</password></replica></shard>"
)
INSERT_SETTINGS = {
    "distributed_foreground_insert": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}

LEGS = """
INSERT INTO homeward.legs
    (leg_id, request_id, start_time, workload, evidence, purpose, target, pool, sample_id, outcome,
    cost_nanos, latency_us, ttft_us, input_tokens, entry_id)
SELECT
    reinterpretAsUUID(sipHash128(number)) AS id,
    id,
    toDateTime64('2026-10-31 22:00:00', 6, 'UTC') + number * 60,
    concat('work-', toString(number % 3)),
    'declared',
    if(number % 7 = 0, 'shadow', 'production'),
    if(number % 5 = 0, 'sovereign', 'cloud'),
    if(number % 5 = 0, 'rack', ''),
    if(number % 7 = 0, leftPad(toString(number % 20), 32, '0'), ''),
    'ok',
    if(number % 5 = 0, NULL, toInt64(number)),
    1000 + number,
    if(number % 2 = 0, NULL, toUInt64(number)),
    number,
    1
FROM numbers(600)
"""
CORRECTIONS = """
INSERT INTO homeward.corrections
    (leg_id, start_time, workload, purpose, target, pool, cost_nanos, found, entry_id)
SELECT leg_id, start_time, workload, purpose, target, pool, 1000, true, 2
FROM homeward.legs
WHERE pool = 'rack' AND start_time < '2026-11-01 06:00:00'
ORDER BY leg_id
"""
PERIODS = """
INSERT INTO homeward.pool_periods
    (pool, period_start, period_s, cost_nanos, leg_cost_nanos, idle_nanos, entry_id)
SELECT
    'rack', toDateTime('2026-10-31 22:00:00', 'UTC') + number * 3600, 3600,
    90000, {paid}, 90000 - {paid}, {id}
FROM numbers(8)
"""
TRIPLETS = """
INSERT INTO homeward.triplets
    (sample_id, lane, experiment_id, epoch, workload, request_time, arrival_time,
    sovereign_millionths, noise_millionths, reason)
SELECT
    leftPad(toString(intDiv(number, 2)), 32, '0'),
    if(number % 2 = 0, '', 'cloud'),
    reinterpretAsUUID(sipHash128(number % 3)),
    1,
    concat('work-', toString(number % 3)),
    toDateTime64('2026-10-31 22:00:00', 6, 'UTC') + number * 60 AS asked,
    if(number % 11 = 0, NULL, asked + 1),
    if(number % 5 = 0, NULL, toUInt32(number)),
    1000000,
    if(number % 5 = 0, 'timeout', '')
FROM numbers(300)
"""
COUNTS = """
INSERT INTO homeward.sample_counts
    (experiment_id, epoch, minute, step, reason, workload, count)
SELECT
    reinterpretAsUUID(sipHash128(number % 3)),
    1,
    toDateTime('2026-10-31 22:00:00', 'UTC') + number * 60,
    ['eligible', 'sampled', 'sent', 'shed', 'lost'][number % 5 + 1],
    if(number % 5 > 2, 'away', ''),
    concat('work-', toString(number % 3)),
    number + {more}
FROM numbers(300)
"""
WINDOWS = """
INSERT INTO homeward.verdict_windows
    (experiment_id, epoch, lane, start_time, workload, n, log_k, verdict, margin, alpha)
SELECT
    reinterpretAsUUID(sipHash128(number % 3)),
    1,
    ['', 'cloud'][number % 2 + 1],
    toDateTime64('2026-10-31 22:00:00', 6, 'UTC') + number * 600,
    concat('work-', toString(number % 3)),
    number,
    number / 4,
    if(number > 20, 'READY', 'COLLECTING'),
    0.25,
    0.05
FROM numbers(30)
"""
BATCHES = (
    LEGS,
    CORRECTIONS,
    PERIODS.format(paid=5, id=2),
    PERIODS.format(paid=70_000, id=3),
    TRIPLETS,
    COUNTS.format(more=0),
    COUNTS.format(more=5),
    WINDOWS,
)


@pytest.fixture(scope="module")
async def shards(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Client]]:
    """Clients of two servers that know each other as the cluster `pair`, and of a third by itself."""
    http, tcp = free_ports(3), free_ports(2)
    cluster = f"<pair>{''.join(SHARD.format(port=port) for port in tcp)}</pair>"
    folders = [tmp_path_factory.mktemp("server") for _ in http]
    processes, pool = [], get_pool_manager()
    for folder, port, native in zip(folders, http, (*tcp, None), strict=True):
        if folder is not folders[0]:
            # The pages of ClickStack, which take seconds.
            shutil.copytree(folders[0] / "user_files", folder / "user_files")
        server = await asyncio.to_thread(embedded.prepare, folder, port, SECRETS)
        text = server.config_file.read_text()
        together = f"<remote_servers>{cluster}</remote_servers></clickhouse>"
        server.config_file.write_text(text.replace("</clickhouse>", together))
        arguments = [] if native is None else ["--tcp-port", str(native)]
        processes.append(await asyncio.create_subprocess_exec(*server.command(), *arguments))
    clients = [await connected(port, pool) for port in http]
    yield clients
    for client in clients:
        client.close()
    pool.clear()
    # A server's stop would wait for the others, as for any client.
    for process in processes:
        process.kill()
    await asyncio.gather(*(process.wait() for process in processes))


async def connected(port: int, pool: PoolManager) -> Client:
    """A client of the services' user, as soon as the server answers."""
    made: list[Client] = []

    def connect() -> bool:
        try:
            client = clickhouse_connect.get_client(
                pool_mgr=pool,
                dsn=f"http://127.0.0.1:{port}",
                username="homeward",
                password=SECRETS.clickhouse_password,
                autogenerate_session_id=False,
            )
        except (ClickHouseError, OSError):
            return False
        made.append(client)
        return True

    async def answers() -> bool:
        return await asyncio.to_thread(connect)

    await until(answers, "ClickHouse answers")
    return made[0]


@pytest.fixture(scope="module")
async def filled(shards: list[Client]) -> list[Client]:
    """The same rows in the two shards and in the server by itself; each batch was sent more than once."""
    await asyncio.to_thread(fill, shards)
    return shards


def fill(servers: Sequence[Client]) -> None:
    """Makes the tables, and books."""
    *pair, alone = servers
    for statements in migrations("pair").values():
        for statement in statements:
            # Once for the whole cluster, or on each server what ON CLUSTER would do there.
            for client in pair[:1] if statement.startswith("INSERT") else pair:
                client.command(without_keeper(statement))
    migrate(alone)
    for client in (*pair, *pair, alone):
        for number, insert in enumerate(BATCHES):
            settings = {**INSERT_SETTINGS, "insert_deduplication_token": f"batch-{number}"}
            client.command(insert, settings=settings)


def without_keeper(statement: str) -> str:
    """The statement for servers that have no Keeper."""
    statement = statement.replace(" ON CLUSTER 'pair'", "")
    statement = statement.replace(
        "replicated_deduplication_window_seconds = 604800", "index_granularity = 8192"
    )
    statement = statement.replace(
        "replicated_deduplication_window =", "non_replicated_deduplication_window ="
    )

    def engine(found: re.Match[str]) -> str:
        return f"{found[1]}({found[2]})" if found[2] else found[1]

    return re.sub(r"Replicated(\w*MergeTree)\('[^']*', '\{replica\}'(?:, ([^)]*))?\)", engine, statement)


async def answers(servers: Sequence[Client], ask: Callable[[Client], Any]) -> list[Any]:
    """What each server answers."""
    return [await asyncio.to_thread(ask, client) for client in servers]


@pytest.mark.parametrize("file", FILES)
async def test_the_real_clickhouse_reads_every_statement(shards: list[Client], file: str) -> None:
    for statement in migrations()[file]:
        tree = await asyncio.to_thread(shards[0].command, f"EXPLAIN AST {statement}")
        assert str(tree).startswith(("CreateQuery", "AlterQuery", "InsertQuery"))
        (shown,) = (
            await asyncio.to_thread(shards[0].query, "SELECT formatQuery({sql:String})", {"sql": statement})
        ).result_rows
        assert statement.startswith("INSERT") or "ON CLUSTER `{cluster}`" in shown[0]


async def test_what_is_no_statement_is_not_read(shards: list[Client]) -> None:
    broken = migrations()[FILES[0]][1].replace("ENGINE", "ENGINES")
    with pytest.raises(DatabaseError, match="SYNTAX_ERROR"):
        await asyncio.to_thread(shards[0].command, f"EXPLAIN AST {broken}")


async def test_rows_lie_on_both_shards_each_once(filled: list[Client]) -> None:
    def counts(client: Client) -> Any:
        return client.query("SELECT count(), uniqExact(leg_id) FROM homeward.legs_local").result_rows[0]

    (first, distinct), (second, distinct_too) = await answers(filled[:2], counts)
    assert (first, second) == (distinct, distinct_too)
    assert first + second == 600
    assert min(first, second) > 200


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_over_two_shards_shows_what_one_server_shows(filled: list[Client], view: str) -> None:
    def rows(client: Client) -> Any:
        # A sum of floating-point numbers depends on their order.
        found = client.query(f"SELECT * FROM homeward.{view} ORDER BY ALL").result_rows
        return [tuple(round(item, 9) if isinstance(item, float) else item for item in row) for row in found]

    first, second, alone = await answers(filled, rows)
    assert alone
    assert first == alone
    assert second == alone


async def test_a_ledger_finds_all_migrations_applied(filled: list[Client]) -> None:
    assert await answers(filled[:2], migrate) == [[], []]


async def test_run_again_they_change_nothing(filled: list[Client], tmp_path: Path) -> None:
    def again(client: Client) -> Any:
        for statements in migrations("pair").values():
            for statement in statements:
                client.command(without_keeper(statement))
        sums = (
            "SELECT count(), (SELECT sum(legs) FROM homeward.spend_by_hour) FROM homeward.schema_migrations"
        )
        return client.query(sums).result_rows[0]

    assert await answers(filled[:2], again) == [(len(FILES), 600), (len(FILES), 600)]
