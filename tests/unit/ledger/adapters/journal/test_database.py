"""The journal's database: durable, whole or not at all, and silent about its password."""

from __future__ import annotations

import sqlite3
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy.engine import Connection

from deploy.local.ports import free_ports
from services.common.errors import DomainError, Reason
from services.ledger.adapters.journal.database import (
    Database,
    JournalAddressError,
    head,
    metadata,
    move_head,
    seen_head,
)
from tests.support.postgres import PASSWORD, Postgres

SECRET = "hunter-2"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as made:
        yield made


def settings_of(database: Database, *names: str) -> list[Any]:
    with database.writing() as db:
        ask = "SHOW" if db.dialect.name == "postgresql" else "PRAGMA"
        return [db.exec_driver_sql(f"{ask} {name}").scalar_one() for name in names]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "journal.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        f"mysql://homeward:{SECRET}@127.0.0.1/journal",
        f"postgresql+psycopg2://homeward:{SECRET}@127.0.0.1/journal",
        f"postgresql://homeward:{SECRET}@127.0.0.1:port/journal",
        f"://homeward:{SECRET}@",
    ],
)
def test_an_address_that_is_none_is_refused_without_quoting_it(address: str) -> None:
    with pytest.raises(JournalAddressError) as refused:
        Database(address)
    said = "".join(traceback.format_exception(refused.value))
    assert "postgresql://USER:PASSWORD@HOST/NAME" in str(refused.value)
    assert SECRET not in said


def nobody_listens(_: Postgres, __: Path) -> str:
    return f"postgresql://homeward:{SECRET}@127.0.0.1:{free_ports(1)[0]}/journal"


def no_such_host(_: Postgres, __: Path) -> str:
    return f"postgresql://homeward:{SECRET}@nowhere.invalid/journal"


def wrong_password(server: Postgres, _: Path) -> str:
    return f"postgresql://homeward:{SECRET}@127.0.0.1:{server.port}/postgres"


def wrong_password_in_the_query(server: Postgres, _: Path) -> str:
    return f"postgresql://homeward@127.0.0.1:{server.port}/postgres?password={SECRET}"


def no_such_database(server: Postgres, _: Path) -> str:
    return server.url.replace("/postgres", "/elsewhere")


@pytest.mark.postgres
@pytest.mark.parametrize(
    "wrong", [nobody_listens, no_such_host, wrong_password, wrong_password_in_the_query, no_such_database]
)
def test_a_server_that_gives_no_journal_is_told_without_its_password(
    postgres: Postgres, tmp_path: Path, wrong: Callable[[Postgres, Path], str]
) -> None:
    with pytest.raises(DomainError) as away:
        Database(wrong(postgres, tmp_path))
    said = "".join(traceback.format_exception(away.value)) + repr(away.value.metadata)
    assert away.value.reason is Reason.STORAGE_UNAVAILABLE
    assert away.value.metadata["store"] == "journal"
    assert "postgresql://homeward" in away.value.message
    assert SECRET not in said
    assert PASSWORD not in said


def test_an_error_that_would_say_the_password_does_not() -> None:
    """Here it is a word that the error has anyway."""
    with pytest.raises(DomainError) as away:
        Database(f"postgresql://homeward:refused@127.0.0.1:{free_ports(1)[0]}/journal")
    assert "Connection ***" in away.value.metadata["detail"]
    assert "refused" not in away.value.message


@pytest.mark.parametrize("wrong", ["a folder", "no folder", "no database", "a folder that is a file"])
def test_a_file_that_is_no_journal_is_told(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "journal.sqlite"
    if wrong == "a folder":
        file.mkdir()
    elif wrong == "no folder":
        file = tmp_path / "nowhere" / "journal.sqlite"
    elif wrong == "no database":
        file.write_text("a letter to the auditors " * 100)
    else:
        file.write_text("")
        file = file / "journal.sqlite"
    with pytest.raises(DomainError) as away:
        Database(f"sqlite:///{file}")
    assert away.value.reason is Reason.STORAGE_UNAVAILABLE
    assert str(file) in away.value.message


def test_its_picture_has_no_password(database_url: str, database: Database) -> None:
    assert "s3cret" not in repr(database)
    assert repr(database).startswith(
        "Database('sqlite:" if database_url.startswith("s") else "Database('post"
    )


def test_what_is_written_is_on_the_disk(database_url: str, database: Database) -> None:
    if database_url.startswith("sqlite"):
        assert settings_of(database, "journal_mode", "synchronous") == ["wal", 2]
    else:
        assert settings_of(database, "synchronous_commit", "transaction_isolation") == [
            "on",
            "read committed",
        ]


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("servers", "ours"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")]
)
def test_a_server_that_is_careless_by_default_is_not_with_the_journal(
    postgres: Postgres, servers: str, ours: str
) -> None:
    url = postgres.place()
    name = f"role_{servers}"
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'x'")
        connection.execute(f"ALTER ROLE {name} SET synchronous_commit = {servers}")
        connection.execute(f"ALTER ROLE {name} SET default_transaction_isolation = 'serializable'")
    before, after = url.split("@", 1)
    with closing(Database(f"{before.rsplit('//', 1)[0]}//{name}:x@{after}")) as database:
        assert settings_of(database, "synchronous_commit", "transaction_isolation") == [
            ours,
            "read committed",
        ]


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def write_and_fail() -> None:
        with database.writing() as db:
            head(db, "chain")
            move_head(db, "chain", 1, b"1" * 32)
            raise RuntimeError("later")

    with pytest.raises(RuntimeError, match="later"):
        write_and_fail()
    with database.reading() as db:
        assert seen_head(db, "chain") == (0, b"")


def test_a_reader_sees_one_state(database: Database) -> None:
    with database.writing() as db:
        move_head(db, "chain", 1, b"1")
    with database.reading() as db:
        assert seen_head(db, "chain") == (1, b"1")
        with database.writing() as other:
            head(other, "chain")
            move_head(other, "chain", 2, b"2")
        assert seen_head(db, "chain") == (1, b"1")
    with database.reading() as db:
        assert seen_head(db, "chain") == (2, b"2")


def test_heads_of_several_databases_move_one_after_the_other(database_url: str) -> None:
    """Each reads the head, and moves it by one: none is lost, though all begin at the first link."""
    failed: list[BaseException] = []
    begin = threading.Barrier(4)

    def work() -> None:
        try:
            with closing(Database(database_url)) as database:
                begin.wait(30)
                for _ in range(10):
                    with database.writing() as db:
                        last_id, before = head(db, "chain")
                        move_head(db, "chain", last_id + 1, before[-31:] + b"x")
        except BaseException as error:
            failed.append(error)

    together(work)
    assert failed == []
    with closing(Database(database_url)) as database, database.reading() as db:
        assert seen_head(db, "chain") == (40, b"x" * 32)


def test_ledgers_that_start_together_make_the_tables_once(new_journal: Callable[[], str]) -> None:
    for _ in range(5):
        url = new_journal()
        failed: list[BaseException] = []
        begin = threading.Barrier(4)

        def work(url: str = url, begin: threading.Barrier = begin, failed: list[Any] = failed) -> None:
            try:
                begin.wait(30)
                Database(url).close()
            except BaseException as error:
                failed.append(error)

        together(work)
        assert failed == []
        with closing(Database(url)) as database, database.reading() as db:
            assert set(sql.inspect(db).get_table_names()) == set(metadata.tables)


@pytest.mark.postgres
def test_a_role_that_may_only_read_opens_a_journal_that_is_there(postgres: Postgres) -> None:
    url = postgres.place()
    Database(url).close()
    schema = url.rsplit("%3D", 1)[1]
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE auditor LOGIN PASSWORD 'x'")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO auditor")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO auditor")
    address = f"postgresql://auditor:x@127.0.0.1:{postgres.port}/postgres?options=-csearch_path%3D{schema}"
    with closing(Database(address)) as database:
        with database.reading() as db:
            assert seen_head(db, "chain") == (0, b"")
        with pytest.raises(sql.exc.ProgrammingError), database.writing() as db:
            move_head(db, "chain", 1, b"1")


@pytest.mark.postgres
def test_a_connection_that_the_server_has_cut_is_told_once_and_made_anew(postgres: Postgres) -> None:
    def cut(db: Connection) -> None:
        pid = db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with postgres.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    def write_while_it_is_cut() -> None:
        with database.writing() as db:
            cut(db)
            head(db, "chain")

    with closing(Database(postgres.place())) as database:
        with pytest.raises(DomainError) as away:
            write_while_it_is_cut()
        assert away.value.reason is Reason.STORAGE_UNAVAILABLE
        with database.writing() as db:
            assert head(db, "chain") == (0, b"")
            idle = db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        # One that was cut while nobody used it is not even noticed.
        with postgres.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [idle])
        with database.writing() as db:
            assert head(db, "chain") == (0, b"")


@pytest.mark.postgres
def test_a_process_has_few_connections_whatever_its_threads(postgres: Postgres) -> None:
    url = postgres.place()
    most = 0
    watching = threading.Lock()
    with closing(Database(url)) as database:

        def work() -> None:
            nonlocal most
            for _ in range(5):
                with database.reading() as db:
                    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'homeward-ledger'"
                    found = db.exec_driver_sql(query).scalar_one()
                with watching:
                    most = max(most, found)

        together(work, count=20)
    assert 2 <= most <= 8


def test_a_writer_that_hangs_stops_others_only_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.adapters.journal.database.WAIT_S", 0.2)
    file = tmp_path / "journal.sqlite"
    with (
        closing(Database(f"sqlite:///{file}")) as one,
        closing(Database(f"sqlite:///{file}")) as other,
        one.writing() as db,
    ):
        move_head(db, "chain", 1, b"1")
        for database in (one, other):
            with pytest.raises(DomainError) as away, database.writing():
                pass
            assert away.value.reason is Reason.STORAGE_UNAVAILABLE
        with other.reading() as reader:
            assert seen_head(reader, "chain") == (0, b"")
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT last_id FROM chain_head").fetchall() == [(1,)]


def together(work: Callable[[], None], count: int = 4) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
