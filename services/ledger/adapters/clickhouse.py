"""ClickHouse as the ledger uses it: numbered migrations, and legs in batches that count once."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from services.common import clickhouse
from services.common.settings import ClickHouse

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


class MigrationError(Exception):
    """A migration can't be applied; the message says which and why."""


def connect(settings: ClickHouse) -> Client:
    """A client of the services' user.

    Raises:
        clickhouse_connect.driver.exceptions.Error, OSError: the server can't be reached or refuses.
    """
    return clickhouse.connect(settings, connect_s=CONNECT_TIMEOUT_S, answer_s=INSERT_TIMEOUT_S, durable=True)


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


def insert_block(client: Client, block: bytes, batch: str) -> None:
    """Inserts the rows of one batch of legs; the same batch inserted again changes nothing.

    Args:
        client: of `connect`.
        block: the rows in the Native format.
        batch: the name by which they are known.
    """
    client.raw_insert(
        "homeward.legs",
        insert_block=block,
        fmt="Native",
        settings={
            "insert_deduplication_token": batch,
            # A view that lacks rows which the table has (something was killed in between) gets them now.
            "deduplicate_blocks_in_dependent_materialized_views": 1,
        },
    )
