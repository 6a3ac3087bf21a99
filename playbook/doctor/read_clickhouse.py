"""Asks ClickHouse, over HTTP: what is needed of it is a handful of numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
from yarl import URL

from playbook.doctor.facts import ClickHouse, Disk, clock
from services.common.settings import ClickHouse as Settings

QUERY_S = 3.0
"""Longest wait for one answer; none of these reads more than the server's own lists."""
COUNTED_ONCE = ("legs", "corrections", "spend_by_hour", "latency_by_hour")
"""The tables whose inserts are recognised when they come again."""
_AUTHENTICATION_FAILED = 516
_UNKNOWN_USER = 192
_REPLICATED_WINDOW = 1000
"""What a replicated table has unless its settings say another number."""
_TOKENS = ("insert_deduplication_token", "deduplicate_blocks_in_dependent_materialized_views")


class QueryError(Exception):
    """The server refuses a query; the message is its own first line."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


async def read_clickhouse(
    writer: Settings, analyst: Settings | None, now_ns: Callable[[], int]
) -> ClickHouse:
    """All that is checked of the server.

    Args:
        writer: where it is, and the services' user.
        analyst: the user that reads; None if none is known.
        now_ns: this machine's clock.
    """
    found: dict[str, Any] = {"url": writer.url, "user": writer.user}
    timeout = aiohttp.ClientTimeout(total=QUERY_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        server = _Server(session, writer)
        try:
            sent_ns = now_ns()
            ((version, micros),) = await server.rows(
                "SELECT version(), toUnixTimestamp64Micro(now64(6, 'UTC'))"
            )
            found["version"], found["clock"] = version, clock(sent_ns, int(micros) * 1000, now_ns())
        except QueryError as error:
            refused = error.code in (_AUTHENTICATION_FAILED, _UNKNOWN_USER)
            return ClickHouse(writer.url, writer.user, problem=str(error), refused=refused)
        steps = (_migrations, _disks, _once, _parts, _mutations, _tokens)
        reads = _analyst(server if analyst is None else _Server(session, analyst))
        *parts, reader = await asyncio.gather(*(step(server) for step in steps), reads)
        for part in parts:
            found.update(part)
        # Where a command has one user only, it is the one that reads, unless it may write.
        if analyst is not None or reader.get("analyst_writes") is False:
            found.update(reader)
    return ClickHouse(**found)


class _Server:
    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session = session
        self._url = URL(settings.url).with_query({"default_format": "JSONCompact"})
        self._headers = {"X-ClickHouse-User": settings.user, "X-ClickHouse-Key": settings.password}
        self.user = settings.user

    async def rows(self, query: str) -> list[list[Any]]:
        """The rows of a query.

        Raises:
            QueryError: there are none, and why.
        """
        try:
            async with self._session.post(self._url, data=query.encode(), headers=self._headers) as response:
                body = await response.read()
                if response.status == 200:
                    rows: list[list[Any]] = orjson.loads(body)["data"]
                    return rows
                code = response.headers.get("X-ClickHouse-Exception-Code", "0")
                message = body.decode("utf-8", "replace").strip().splitlines()
                raise QueryError(
                    (message or [f"HTTP {response.status}"])[0][:200], int(code) if code.isdigit() else 0
                )
        except TimeoutError:
            raise QueryError(f"no answer within {QUERY_S:g} s") from None
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise QueryError(f"nothing answers ({type(error).__name__})") from None
        except (aiohttp.ClientError, ValueError, KeyError, TypeError):
            raise QueryError("something else answers there, no ClickHouse") from None


async def _migrations(server: _Server) -> dict[str, Any]:
    query = "SELECT number, any(sha256) FROM homeward.schema_migrations GROUP BY number"
    try:
        return {"migrations": {int(number): digest for number, digest in await server.rows(query)}}
    except QueryError as error:
        return {"migrations_problem": str(error)}


async def _disks(server: _Server) -> dict[str, Any]:
    # An object store has no size of its own.
    query = (
        "SELECT name, path, free_space, total_space FROM system.disks WHERE type = 'Local' OR is_remote = 0"
    )
    try:
        rows = await server.rows(query)
    except QueryError as error:
        return {"disks_problem": str(error)}
    return {"disks": [Disk(name, path, int(free), int(total)) for name, path, free, total in rows]}


async def _once(server: _Server) -> dict[str, Any]:
    query = (
        "SELECT name, engine, extract(engine_full, 'replicated_deduplication_window = (\\\\d+)')"
        " FROM system.tables WHERE database = 'homeward'"
    )
    try:
        rows = await server.rows(query)
    except QueryError:
        return {}
    return {"windows": windows_of(rows)}


def windows_of(rows: list[list[Any]]) -> dict[str, int]:
    """How many batches each table that must count a batch once remembers.

    Args:
        rows: name, engine, and the window that its settings name, of all tables.
    """
    known = {name: (engine, window) for name, engine, window in rows}
    windows = {}
    for name in COUNTED_ONCE:
        engine, window = known.get(name, ("", ""))
        if engine == "Distributed":
            # On a cluster the rows lie in X_local, which X is over.
            engine, window = known.get(f"{name}_local", ("", ""))
        if engine:
            usual = _REPLICATED_WINDOW if engine.startswith(("Replicated", "Shared")) else 0
            windows[name] = int(window or usual)
    return windows


async def _parts(server: _Server) -> dict[str, Any]:
    query = (
        "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts"
        " WHERE active AND database IN ('homeward', 'otel') GROUP BY database, table, partition_id)"
    )
    return await _number(server, query, "most_parts")


async def _mutations(server: _Server) -> dict[str, Any]:
    query = (
        "SELECT count() FROM system.mutations WHERE NOT is_done AND latest_fail_reason != ''"
        " AND database IN ('homeward', 'otel')"
    )
    return await _number(server, query, "stuck_mutations")


async def _tokens(server: _Server) -> dict[str, Any]:
    names = ", ".join(f"'{name}'" for name in _TOKENS)
    try:
        query = f"SELECT count() FROM system.settings WHERE name IN ({names})"  # noqa: S608  # names of ours
        ((count,),) = await server.rows(query)
    except QueryError:
        return {}
    return {"tokens": int(count) == len(_TOKENS)}


async def _analyst(server: _Server) -> dict[str, Any]:
    found: dict[str, Any] = {"analyst": server.user}
    try:
        await server.rows("SELECT 1 FROM homeward.legs LIMIT 1")
    except QueryError as error:
        return {**found, "analyst_problem": str(error)}
    try:
        # It is asked whether it may: nothing is written.
        ((may,),) = await server.rows("CHECK GRANT INSERT ON homeward.legs")
        return {**found, "analyst_writes": bool(int(may))}
    except QueryError:
        return found


async def _number(server: _Server, query: str, name: str) -> dict[str, Any]:
    try:
        ((number,),) = await server.rows(query)
    except QueryError:
        return {}
    return {name: int(number)}
