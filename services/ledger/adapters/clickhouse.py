"""ClickHouse as the ledger uses it: numbered migrations, and legs in batches that count once."""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from homeward.common.v1 import leg_pb2

from services.common.settings import ClickHouse
from services.common.words import Evidence, Outcome, Purpose, Target, TaskType, UsageSource, label
from services.ledger.core.pricing import Price

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parents[1] / "migrations"
CONNECT_TIMEOUT_S = 3
INSERT_TIMEOUT_S = 60

_APPLIED = """
CREATE TABLE IF NOT EXISTS homeward.schema_migrations
(
    number UInt32,
    name String,
    sha256 String,
    apply_time DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree ORDER BY number
"""

_EVIDENCE, _TASK_TYPE, _PURPOSE, _TARGET, _OUTCOME, _SOURCE = (
    {item.value: label(item) for item in words}
    for words in (Evidence, TaskType, Purpose, Target, Outcome, UsageSource)
)

_COLUMNS: tuple[tuple[str, Callable[[leg_pb2.Leg], Any]], ...] = (
    ("leg_id", lambda leg: uuid.UUID(bytes=leg.leg_id)),
    ("request_id", lambda leg: uuid.UUID(bytes=leg.request_id)),
    ("trace_id", lambda leg: leg.trace_id.hex()),
    ("span_id", lambda leg: leg.span_id.hex()),
    ("start_time", lambda leg: leg.start_time.ToMicroseconds()),
    ("workload", lambda leg: leg.workload),
    ("evidence", lambda leg: _word(_EVIDENCE, leg.evidence)),
    ("task_type", lambda leg: _word(_TASK_TYPE, leg.task_type)),
    ("key_name", lambda leg: leg.key_name),
    ("purpose", lambda leg: _word(_PURPOSE, leg.purpose)),
    ("target", lambda leg: _word(_TARGET, leg.target)),
    ("upstream", lambda leg: leg.upstream),
    ("provider", lambda leg: leg.provider),
    ("region", lambda leg: leg.region),
    ("model_requested", lambda leg: leg.model_requested),
    ("model", lambda leg: leg.model),
    ("api", lambda leg: leg.api),
    ("streamed", lambda leg: leg.streamed),
    ("input_tokens", lambda leg: _optional(leg.usage, "input_tokens")),
    ("cached_input_tokens", lambda leg: _optional(leg.usage, "cached_input_tokens")),
    ("cache_write_tokens", lambda leg: _optional(leg.usage, "cache_write_tokens")),
    ("output_tokens", lambda leg: _optional(leg.usage, "output_tokens")),
    ("reasoning_tokens", lambda leg: _optional(leg.usage, "reasoning_tokens")),
    ("usage_source", lambda leg: _word(_SOURCE, leg.usage.source)),
    ("latency_us", lambda leg: leg.latency_us),
    ("ttft_us", lambda leg: _optional(leg, "ttft_us")),
    ("outcome", lambda leg: _word(_OUTCOME, leg.outcome)),
    ("http_status", lambda leg: leg.http_status),
    ("error_reason", lambda leg: leg.error_reason),
    ("attempts", lambda leg: leg.attempts),
    ("policy_version", lambda leg: leg.policy_version),
    ("sample_id", lambda leg: leg.sample_id.hex()),
)
_PRICE_COLUMNS = ("cost_nanos", "price_source", "price_version")
COLUMN_NAMES = (*(name for name, _ in _COLUMNS), *_PRICE_COLUMNS, "batch")


class MigrationError(Exception):
    """A migration can't be applied; the message says which and why."""


def connect(settings: ClickHouse) -> Client:
    """A client of the services' user.

    Raises:
        clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses.
    """
    return clickhouse_connect.get_client(
        dsn=settings.url,
        username=settings.user,
        password=settings.password,
        connect_timeout=CONNECT_TIMEOUT_S,
        send_receive_timeout=INSERT_TIMEOUT_S,
        autogenerate_session_id=False,
        # Asynchronous inserts, the default of 26.x, would acknowledge before the token is checked.
        settings={"async_insert": 0},
    )


def migrate(client: Client, folder: Path = MIGRATIONS) -> list[str]:
    """Applies the migrations that have not been applied, in the order of their numbers.

    Each statement can be run again, so a migration that was cut off is simply repeated.

    Returns:
        The names of those that were applied now.

    Raises:
        MigrationError: an applied one has changed since, or a statement fails.
    """
    client.command("CREATE DATABASE IF NOT EXISTS homeward")
    client.command(_APPLIED)
    rows = client.query("SELECT number, any(sha256) FROM homeward.schema_migrations GROUP BY number")
    applied: dict[int, str] = {row[0]: row[1] for row in rows.result_rows}
    done: list[str] = []
    for file in sorted(folder.glob("[0-9]*.sql")):
        number = int(file.name.split("_")[0])
        text = file.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        if number in applied:
            if applied[number] != digest:
                raise MigrationError(f"{file.name} was changed after it was applied; add a new one instead")
            continue
        for statement in statements(text):
            try:
                client.command(statement)
            except DatabaseError as error:
                raise MigrationError(f"{file.name}: {error}") from None
        client.insert(
            "homeward.schema_migrations",
            [[number, file.stem, digest]],
            column_names=["number", "name", "sha256"],
        )
        done.append(file.stem)
    return done


def statements(text: str) -> list[str]:
    """The statements of a migration: each ends in a semicolon at the end of a line."""
    bare = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
    return [part.strip() for part in re.split(r";\s*$", bare, flags=re.MULTILINE) if part.strip()]


def insert_legs(client: Client, legs: Sequence[leg_pb2.Leg], prices: Sequence[Price], batch: str) -> None:
    """Inserts one batch; the same batch inserted again changes nothing."""
    columns: list[list[Any]] = [[read(leg) for leg in legs] for _, read in _COLUMNS]
    columns.append([price.cost_nanos for price in prices])
    columns.append([price.source for price in prices])
    columns.append([price.version for price in prices])
    columns.append([batch] * len(legs))
    client.insert(
        "homeward.legs",
        columns,
        column_names=COLUMN_NAMES,
        column_oriented=True,
        settings={"insert_deduplication_token": batch},
    )


def _word(words: Mapping[int, str], number: int) -> str:
    # A number from a newer router must not stop the book.
    return words.get(number, "")


def _optional(message: Any, field: str) -> int | None:
    return getattr(message, field) if message.HasField(field) else None
