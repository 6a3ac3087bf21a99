"""Turns a statement of a migration into the statements that make the same on a cluster.

A table `X` becomes `X_local`, replicated, on each shard, and a Distributed table `X` over all of them: who
reads and writes keeps the names. Materialised views go from local to local table, since what is inserted into
`X` arrives in `X_local`. Other views stay as they are, over the Distributed tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

DEFAULT_CLUSTER = "{cluster}"
"""The server's own macro, as `{shard}` and `{replica}` are."""

SHARDING = {
    "homeward.schema_migrations": "number",
    "homeward.legs": "sipHash64(leg_id)",
    "homeward.corrections": "sipHash64(leg_id)",
    "homeward.pool_periods": "sipHash64(pool, period_start)",
    "homeward.spend_by_hour": "sipHash64(workload, hour)",
    "homeward.latency_by_hour": "sipHash64(workload, hour)",
    "homeward.observations": "sipHash64(request_id)",
    "homeward.usage": "sipHash64(row_key)",
    "homeward.imports": "sipHash64(file_sha256)",
    "homeward.import_rejects": "sipHash64(file_sha256)",
    "homeward.triplets": "sipHash64(sample_id)",
    "homeward.sample_counts": "sipHash64(experiment_id, minute)",
    "homeward.verdict_windows": "sipHash64(experiment_id)",
    "otel.otel_traces": "sipHash64(TraceId)",
    "otel.otel_traces_trace_id_ts": "sipHash64(TraceId)",
}
"""Which shard a row goes to: an expression of its own columns, never chance. A batch that is sent again then
falls apart into the same pieces on the same shards, where its token is known; and a row of a
ReplacingMergeTree comes to the one that it replaces. Legs and corrections are joined on their shard."""

REMEMBER_S = 7 * 24 * 3600
"""For how long a shard knows the tokens of batches: as long as the ledger's spool remembers legs
(`ledger.remember_s`), and longer than a ClickHouse may be away. The server's own default is an hour."""

_NAME = r"\w+\.\w+"
_ENGINE = re.compile(r"\bENGINE = (\w*MergeTree)(?:\(([^)]*)\))?")
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = (\d+)")
_LAST_COMMENT = re.compile(r"\nCOMMENT '(?:[^'\\]|''|\\.)*'$")
_COLUMN_CHANGE = re.compile(r"(ADD|DROP|MODIFY|RENAME|COMMENT|ALTER|CLEAR) COLUMN\b")
_OTHER_CHANGE = re.compile(r"\b(INDEX|PROJECTION|CONSTRAINT|MODIFY (SETTING|TTL|ORDER BY))\b")
_JOIN = re.compile(rf"\bFROM ({_NAME})(?: AS \w+)?\s+(?:\w+ )*JOIN\s*(\()")

_DATABASE = re.compile(r"CREATE DATABASE IF NOT EXISTS \w+")
_TABLE = re.compile(rf"CREATE TABLE IF NOT EXISTS ({_NAME})")
_ALTER = re.compile(rf"ALTER TABLE ({_NAME})")
_MATERIALIZED = re.compile(rf"CREATE MATERIALIZED VIEW IF NOT EXISTS ({_NAME})\s+TO ({_NAME})\s+AS\b")
_VIEW = re.compile(rf"CREATE OR REPLACE VIEW ({_NAME})")
_INSERT = re.compile(rf"INSERT INTO ({_NAME})")


class UnknownStatementError(Exception):
    """There is no rule for a statement; the message says what to add."""


def render(statement: str, cluster: str = DEFAULT_CLUSTER) -> list[str]:
    """The statements for a cluster, in the order in which they must be run, on any one of its servers.

    Args:
        statement: of a migration, without the semicolon.
        cluster: its name in the servers' `remote_servers`.

    Raises:
        UnknownStatementError: it is of a kind for which there is no rule, or its table has no sharding key.
    """
    on = f" ON CLUSTER '{cluster}'"
    if found := _DATABASE.match(statement):
        return [statement[: found.end()] + on + statement[found.end() :]]
    if found := _TABLE.match(statement):
        return [
            _local(found[1], statement[found.end() :], on),
            _distributed(found[1], statement, on, cluster),
        ]
    if found := _ALTER.match(statement):
        change = statement[found.end() :]
        names = [f"{found[1]}_local"]
        # A Distributed table has columns, and nothing else of a MergeTree.
        if _COLUMN_CHANGE.match(change.lstrip()):
            if _OTHER_CHANGE.search(change):
                raise UnknownStatementError(f"{_head(statement)} changes more than columns; split it in two")
            names.append(found[1])
        return [f"ALTER TABLE {name}{on}{change}" for name in names]
    if found := _MATERIALIZED.match(statement):
        query = _to_local(statement[found.end() :])
        return [f"CREATE MATERIALIZED VIEW IF NOT EXISTS {found[1]}{on}\nTO {found[2]}_local\nAS{query}"]
    if found := _VIEW.match(statement):
        return [f"{statement[: found.end()]}{on}{_joined(statement[found.end() :])}"]
    if _INSERT.match(statement):
        # Else the rows may still wait on this server when the next statement, or a ledger, counts on them.
        join = ", " if "\nSETTINGS " in statement else "\nSETTINGS "
        return [f"{statement}{join}distributed_foreground_insert = 1"]
    raise UnknownStatementError(f"no rule for {_head(statement)}; add one to {__name__}")


def _local(table: str, definition: str, on: str) -> str:
    if len(_ENGINE.findall(definition)) != 1:
        raise UnknownStatementError(f"{table} is no MergeTree; add a rule to {__name__}")
    database, name = table.split(".")

    def replicated(found: re.Match[str]) -> str:
        arguments = f", {found[2]}" if found[2] else ""
        path = f"/clickhouse/tables/{{shard}}/{database}/{name}"
        return f"ENGINE = Replicated{found[1]}('{path}', '{{replica}}'{arguments})"

    definition = _ENGINE.sub(replicated, definition)
    definition = _WINDOW.sub(
        rf"replicated_deduplication_window = \1, replicated_deduplication_window_seconds = {REMEMBER_S}",
        definition,
    )
    return f"CREATE TABLE IF NOT EXISTS {table}_local{on}{definition}"


def _distributed(table: str, statement: str, on: str, cluster: str) -> str:
    if table not in SHARDING:
        raise UnknownStatementError(f"{table} has no sharding key; add one to SHARDING of {__name__}")
    database, name = table.split(".")
    comment = _LAST_COMMENT.search(statement)
    return (
        f"CREATE TABLE IF NOT EXISTS {table}{on} AS {table}_local\n"
        f"ENGINE = Distributed('{cluster}', '{database}', '{name}_local', {SHARDING[table]})"
        f"{comment[0] if comment else ''}"
    )


def _to_local(query: str) -> str:
    return re.sub(rf"\b(FROM|JOIN) ({_NAME})", r"\1 \2_local", query)


def _joined(query: str) -> str:
    """The query of a view with what it joins to a Distributed table taken from the same shard.

    A server refuses such a join otherwise (`distributed_product_mode`). It is right where both tables have
    the same sharding key and are joined by it.
    """
    for found in _JOIN.finditer(query):
        start = found.start(2)
        end = start + _closing(query[start:])
        for table in re.findall(rf"\bFROM ({_NAME})", query[start:end]):
            if SHARDING.get(table) != SHARDING.get(found[1]):
                raise UnknownStatementError(
                    f"{found[1]} and {table} lie on different shards; join them otherwise"
                )
        return query[:start] + _to_local(query[start:end]) + _joined(query[end:])
    return query


def _closing(text: str) -> int:
    """The place after the parenthesis that closes the first one."""
    depth = 0
    for token in _parentheses(text):
        depth += 1 if token[0] == "(" else -1
        if depth == 0:
            return token.end()
    raise UnknownStatementError(f"no closing parenthesis in {_head(text)}")


def _parentheses(text: str) -> Iterator[re.Match[str]]:
    # Those within quotes are none.
    return (token for token in re.finditer(r"[()]|'(?:[^'\\]|''|\\.)*'", text) if token[0] in "()")


def _head(statement: str) -> str:
    return " ".join(statement.split()[:6]) + " …"
