"""The user `analyst` reads the book and traces, within its limits, and does nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest
from clickhouse_connect.driver.httputil import default_pool_manager

from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import connect, migrate
from tests.support.stack import SECRETS, Stack

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB, GIB = 1 << 20, 1 << 30
LIMITS = {
    "max_memory_usage": 512 * MIB,
    "max_memory_usage_for_user": 512 * MIB,
    "max_temporary_data_on_disk_size_for_user": 4 * GIB,
    "max_execution_time": 60,
    "max_bytes_to_read": 100 * GIB,
    "max_result_rows": 1_000_000,
    "max_result_bytes": 256 * MIB,
    "max_concurrent_queries_for_user": 32,
    "max_untracked_memory": 4 * MIB,
}
"""The most that the user may set. `docs/analysts.md` has all but the last, which guards the first."""
DESCRIPTIONS = {
    *(
        "aggregate_function_combinators",
        "collations",
        "columns",
        "completions",
        "contributors",
        "current_roles",
    ),
    *("data_skipping_indices", "data_type_families", "database_engines", "databases", "dictionary_layouts"),
    *("disk_types", "enabled_roles", "formats", "functions", "licenses", "one", "parts", "privileges"),
    *("quota_usage", "settings", "table_engines", "table_functions", "tables", "time_zones"),
}
"""The system's tables that it may read: what there is in SQL, and what it may see itself."""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ClickHouse with the tables."""
    async with Stack(tmp_path_factory.mktemp("analyst")) as running:
        await running.start("clickhouse")

        def make() -> None:
            url = f"http://127.0.0.1:{running.ports['clickhouse']}"
            client = connect(ClickHouse(url=url, password=SECRETS.clickhouse_password))
            migrate(client)
            client.close()

        await asyncio.to_thread(make)
        yield running
        # ClickHouse's stop waits for the connections that the clients' shared pool keeps.
        default_pool_manager().clear()


async def ask(server: Stack, sql: str, user: str = "analyst", **settings: str | int) -> str:
    """What the server answers, an error too."""
    passwords = {"analyst": SECRETS.analyst_password, "homeward": SECRETS.clickhouse_password}
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": passwords[user]}
    url = f"http://127.0.0.1:{server.ports['clickhouse']}/"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, params=settings, data=sql) as response,
    ):
        return await response.text()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO homeward.legs (batch) VALUES ('mine')",
        "ALTER TABLE homeward.legs DELETE WHERE 1",
        "TRUNCATE TABLE homeward.legs",
        "DROP VIEW homeward.spend_daily",
        "OPTIMIZE TABLE homeward.legs FINAL",
        "CREATE TABLE homeward.mine (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE mine (a Int8)",
        "CREATE USER mine",
        "GRANT INSERT ON homeward.* TO analyst",
        "ALTER USER analyst SETTINGS max_memory_usage = 0",
        "KILL QUERY WHERE 1",
        "SYSTEM SHUTDOWN",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString, 'a String')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/file', LineAsString, 'a String')",
        "SELECT * FROM remote('127.0.0.1', 'homeward', 'legs')",
        "SELECT * FROM file('clickstack/manifest.json', LineAsString, 'a String')",
        "SELECT * FROM executable('mine', LineAsString, 'a String')",
    ],
)
async def test_it_changes_nothing_and_reaches_nothing_else(server: Stack, sql: str) -> None:
    assert "(ACCESS_DENIED)" in await ask(server, sql)


async def test_it_reads_the_book_and_traces_and_what_describes_them(server: Stack) -> None:
    names = await ask(server, "SELECT database || '.' || name FROM system.tables", "homeward")
    readable = {name for name in names.split() if not await ask(server, f"SELECT * FROM {name} LIMIT 0")}
    own = {name for name in names.split() if name.startswith(("homeward.", "otel."))}
    assert "homeward.leg_costs" in own
    assert readable == own | {f"system.{name}" for name in DESCRIPTIONS}


async def test_what_clickstack_sets_is_allowed(server: Stack) -> None:
    """Its pages send these with some of their queries (ClickHouse 26.7)."""
    settings: dict[str, str | int] = {"max_rows_to_read": 0, "max_execution_time": 15}
    settings |= {"timeout_overflow_mode": "break", "read_overflow_mode": "break"}
    assert await ask(server, "SELECT count() FROM homeward.legs", **settings) == "0\n"


@pytest.mark.parametrize("setting", LIMITS)
async def test_a_limit_may_be_lowered_and_not_raised(server: Stack, setting: str) -> None:
    question = f"SELECT getSetting('{setting}')"
    assert float(await ask(server, question)) == LIMITS[setting]
    lower = LIMITS[setting] // 2
    assert float(await ask(server, question, **{setting: lower})) == lower
    # Zero is no limit, except for memory that is not counted: there it is the strictest.
    values = [LIMITS[setting] + 1] if setting == "max_untracked_memory" else [LIMITS[setting] + 1, 0]
    for value in values:
        assert "(SETTING_CONSTRAINT_VIOLATION)" in await ask(server, question, **{setting: value})
        assert "(SETTING_CONSTRAINT_VIOLATION)" in await ask(
            server, f"{question} SETTINGS {setting} = {value}"
        )


async def test_another_profile_lifts_nothing(server: Stack) -> None:
    session = uuid.uuid4().hex
    for profile in ("default", "writer", "holder"):
        await ask(server, f"SET profile = '{profile}'", session_id=session)
        for setting, limit in LIMITS.items():
            sql = f"SET {setting} = {limit + 1}"
            assert "(SETTING_CONSTRAINT_VIOLATION)" in await ask(server, sql, session_id=session)
            assert float(await ask(server, f"SELECT getSetting('{setting}')", session_id=session)) == limit
        assert "(READONLY)" in await ask(server, "SET readonly = 0", session_id=session)


@pytest.mark.parametrize(
    ("sql", "settings", "error"),
    [
        # Lowered, so that the test does not take as long as the limits allow.
        (
            "SELECT uniqExact(number) FROM numbers(100000000)",
            {"max_memory_usage": 50 * MIB},
            "MEMORY_LIMIT_EXCEEDED",
        ),
        (
            "SELECT uniqExact(number) FROM numbers(100000000)",
            {"max_memory_usage_for_user": 50 * MIB},
            "MEMORY_LIMIT_EXCEEDED",
        ),
        (
            "SELECT sum(sipHash64(number, number + 1)) FROM numbers(2000000000)",
            {"max_execution_time": 1},
            "TIMEOUT_EXCEEDED",
        ),
        ("SELECT sum(number) FROM numbers(10000000)", {"max_bytes_to_read": MIB}, "TOO_MANY_BYTES"),
        ("SELECT number FROM numbers(1100000)", {"wait_end_of_query": 1}, "TOO_MANY_ROWS_OR_BYTES"),
        ("SELECT number FROM numbers(5000)", {"max_result_bytes": 1000}, "TOO_MANY_ROWS_OR_BYTES"),
    ],
)
async def test_a_query_that_goes_beyond_a_limit_ends(
    server: Stack, sql: str, settings: dict[str, int], error: str
) -> None:
    assert f"({error})" in (await ask(server, sql, **settings))[-500:]
