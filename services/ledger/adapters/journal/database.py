"""The journal's database: SQLite in WAL mode, or PostgreSQL, which many ledgers may share.

What is written in one `writing` is written whole or not at all, and is durable when it ends. Each hash
chain has a head, a row that `head` locks until the transaction ends: appends are one after the other, over
all ledgers, and become visible in the order of their ids.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sql
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, make_url

from services.common.errors import DomainError, Reason

metadata = sql.MetaData()

_heads = sql.Table(
    "chain_head",
    metadata,
    sql.Column("chain", sql.Text, primary_key=True),
    sql.Column("last_id", sql.BigInteger, nullable=False),
    sql.Column("last_sha256", sql.LargeBinary(32), nullable=False),
)

WAIT_S = 10
"""How long a transaction waits for another's lock, or for a free connection."""
_HANGING_S = 60
"""How long a transaction may do nothing."""
_CONNECTIONS = 8
"""Of one process at most: ten ledgers have room in PostgreSQL's 100."""
_CREATING = 0x686F6D65_77617264
"""The advisory lock of those who make tables: "homeward"."""
_AWAY = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)
"""What the database raises when it, and not the statement, is at fault."""


class JournalAddressError(ValueError):
    """The journal's address is none of `sqlite:///FILE` and `postgresql://…`."""


class BrokenChainError(Exception):
    """The journal does not hold what was written to it; the message names the first place."""


class Database:
    """One process's connections to the journal. Threads may share it."""

    def __init__(self, url: str) -> None:
        """Opens the database, and makes the tables that are missing: those of the modules imported so far.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

        Raises:
            JournalAddressError: the address can't be understood.
            DomainError: STORAGE_UNAVAILABLE; it can't be reached, opened or written.
        """
        self._address = _address(url)
        self._engine = sql.create_engine(
            self._address,
            # An error's text would carry the values of the rows.
            hide_parameters=True,
            pool_pre_ping=self.shared,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=WAIT_S,
            connect_args=self._connecting(),
        )
        # SQLite's writers wait by polling, which is unfair to the patient; threads of one process queue here.
        self._writer: threading.Lock | None = None
        if self.shared:
            sql.event.listen(self._engine, "connect", _careful)
        else:
            self._writer = threading.Lock()
            sql.event.listen(self._engine, "connect", _durable)
            sql.event.listen(self._engine, "begin", _begin)
        try:
            self._make_tables()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Database({self._where!r})"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is durable when the block ends, and undone if it raises. Not to be nested.

        Raises:
            DomainError: STORAGE_UNAVAILABLE. If it comes at the end of the block, what was written may be
                there or not: look before writing it again.
        """
        connection = self._engine.connect
        options: dict[str, Any] = {"homeward_writing": True}
        if self.shared:
            # Who waited for a head must see what its last holder wrote, whatever the server's default.
            options["isolation_level"] = "READ COMMITTED"
        with self._turn(), self._telling(), connection().execution_options(**options) as db, db.begin():
            yield db

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        options = {"isolation_level": "REPEATABLE READ"} if self.shared else {}
        connection = self._engine.connect
        with self._telling(), connection().execution_options(**options) as db, db.begin():
            yield db

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    @property
    def shared(self) -> bool:
        """True if many ledgers may have it: PostgreSQL."""
        return self._address.get_backend_name() == "postgresql"

    @property
    def _where(self) -> str:
        # A query may have a password too.
        plain = self._address.set(drivername=self._address.get_backend_name(), query={})
        return plain.render_as_string(hide_password=True)

    def _connecting(self) -> dict[str, Any]:
        if self.shared:
            return {"connect_timeout": WAIT_S, "application_name": "homeward-ledger"}
        return {"timeout": WAIT_S}

    def _make_tables(self) -> None:
        with self.reading() as db:
            there = set(sql.inspect(db).get_table_names())
        if metadata.tables.keys() <= there:
            return
        with self.writing() as db:
            # Ledgers that start together would all find a table missing, and all but one fail to make it.
            if self.shared:
                db.execute(sql.select(sql.func.pg_advisory_xact_lock(_CREATING)))
            metadata.create_all(db)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._writer is None:
            yield
            return
        if not self._writer.acquire(timeout=WAIT_S):
            raise self._away(f"another transaction has been writing for {WAIT_S} s")
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            raise self._away(str(error.orig if isinstance(error, exc.DBAPIError) else error)) from error
        except exc.DatabaseError as error:
            # The plain class, which sqlite3 raises for a file that is no database or a broken one.
            if type(error) is not exc.DatabaseError:
                raise
            raise self._away(str(error.orig)) from error

    def _away(self, detail: str) -> DomainError:
        first = detail.strip().splitlines()[0] if detail.strip() else "no answer"
        for secret in (self._address.password, self._address.query.get("password")):
            if secret:
                first = first.replace(str(secret), "***")
        return DomainError(
            Reason.STORAGE_UNAVAILABLE,
            f"the journal at {self._where} can't be used now ({first}); look at the database, then try again",
            store="journal",
            detail=first,
        )


def head(db: Connection, chain: str) -> tuple[int, bytes]:
    """The id and hash of the last link of a chain, (0, b"") before the first.

    It is locked until the transaction ends: SQLite has one writer as it is; PostgreSQL locks the row.
    """
    query = _head_of(chain).with_for_update()
    row = db.execute(query).first()
    if row is None and db.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert

        # A row that is not there can't be locked.
        first = insert(_heads).values(chain=chain, last_id=0, last_sha256=b"")
        db.execute(first.on_conflict_do_nothing())
        row = db.execute(query).first()
    return (row.last_id, row.last_sha256) if row is not None else (0, b"")


def seen_head(db: Connection, chain: str) -> tuple[int, bytes]:
    """As `head`, for readers: it locks nothing."""
    row = db.execute(_head_of(chain)).first()
    return (row.last_id, row.last_sha256) if row is not None else (0, b"")


def move_head(db: Connection, chain: str, last_id: int, last_sha256: bytes) -> None:
    """Notes the new last link of a chain whose head this transaction has locked."""
    values = {"last_id": last_id, "last_sha256": last_sha256}
    moved = db.execute(sql.update(_heads).where(_heads.c.chain == chain).values(values)).rowcount
    if not moved:
        db.execute(sql.insert(_heads).values(chain=chain, **values))


def _head_of(chain: str) -> sql.Select[tuple[int, bytes]]:
    return sql.select(_heads.c.last_id, _heads.c.last_sha256).where(_heads.c.chain == chain)


def _address(url: str) -> URL:
    # The parsers' own errors may quote the address, and the password with it.
    try:
        address = make_url(url)
    except (exc.ArgumentError, ValueError):
        address = None
    if address is not None and address.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return address.set(drivername="postgresql+psycopg")
    # In memory it would not be a journal.
    if (
        address is not None
        and address.drivername == "sqlite"
        and address.database not in ("", None, ":memory:")
    ):
        return address
    raise JournalAddressError(
        "the journal's address must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME, with special"
        " characters of the password written as %XX"
    )


def _durable(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN is deferred, and two writers that both began by reading can't both go on.
    connection.isolation_level = None
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")


def _use_wal(connection: Any) -> None:
    # A new file is turned over to WAL by the one who has it alone, and SQLite does not wait for that.
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("homeward_writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _careful(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        # A ledger that hangs in a transaction must not hold the head, and so all ledgers, for ever.
        cursor.execute(f"SET lock_timeout = '{WAIT_S}s'")
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{_HANGING_S}s'")
        # Acknowledged means durable, whatever the server's default; stronger settings than `on` stay.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
    connection.commit()
