"""What ledgers on one PostgreSQL have booked: each leg by one entry, and known for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest

from services.ledger.adapters.journal.claims import CLEAN_AFTER, BookedElsewhereError, Claims
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from tests.support.journal import simple_draft, tamper
from tests.support.postgres import Postgres

pytestmark = pytest.mark.postgres
KEEP_S = 600


@pytest.fixture
def place(postgres: Postgres) -> str:
    return postgres.place()


@pytest.fixture
def database(place: str) -> Iterator[Database]:
    with closing(Database(place)) as made:
        yield made


def legs(count: int) -> list[bytes]:
    return [os.urandom(16) for _ in range(count)]


def book(database: Database, batch: str, leg_ids: list[bytes], claims: Claims | None = None) -> None:
    made = claims or Claims(database, KEEP_S)
    Entries(database).append(simple_draft(batch), now_unix_us=1, also=lambda db: made.claim(db, leg_ids))


def test_a_leg_is_claimed_with_its_entry_or_not_at_all(database: Database) -> None:
    booked, more = legs(3), legs(2)
    book(database, "one", booked)
    claims = Claims(database, KEEP_S)
    assert claims.taken([*more, *booked[1:]]) == set(booked[1:])
    with pytest.raises(BookedElsewhereError):
        book(database, "two", [*more, booked[0]])
    assert Entries(database).find("two") is None
    assert claims.taken(more) == set()
    book(database, "two", more)
    assert claims.taken([*more, *booked]) == {*more, *booked}


def test_of_ledgers_that_book_the_same_legs_at_once_one_does(place: str, database: Database) -> None:
    others = [Database(place) for _ in range(3)]
    shared, begin = legs(200), Barrier(4)

    def booked(opened: Database) -> bool:
        # Each in another order: none may wait for the others in a circle.
        mine = sorted(shared, key=lambda leg_id: os.urandom(4))
        begin.wait(30)
        try:
            book(opened, os.urandom(8).hex(), mine)
        except BookedElsewhereError:
            return False
        return True

    try:
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(booked, [database, *others]))
    finally:
        for opened in others:
            opened.close()
    assert sorted(done) == [False, False, False, True]
    assert len(Entries(database).read(0, 10)) == 1


def test_a_journal_of_an_older_version_gets_the_table(place: str, database: Database) -> None:
    book(database, "one", legs(1))
    tamper(place, "DROP TABLE leg_claim")
    with closing(Database(place)) as again:
        book(again, "two", mine := legs(1))
        assert Claims(again, KEEP_S).taken(mine) == set(mine)


def test_old_claims_go_by_and_by_and_young_ones_stay(place: str, database: Database) -> None:
    old, young, claims = legs(4), legs(4), Claims(database, KEEP_S)
    book(database, "old", old, claims)
    tamper(place, f"UPDATE leg_claim SET claim_unix_s = claim_unix_s - {KEEP_S + 60}")
    book(database, "young", young, claims)
    claims.clean()
    assert claims.taken(old) == set(old), "too few were claimed to look"
    book(database, "many", legs(CLEAN_AFTER), claims)
    claims.clean()
    assert claims.taken([*old, *young]) == set(young)


def test_a_clock_that_jumps_lets_few_claims_go(place: str, database: Database) -> None:
    mine, claims = legs(3 * CLEAN_AFTER), Claims(database, KEEP_S)
    book(database, "before", mine)
    tamper(place, f"UPDATE leg_claim SET claim_unix_s = claim_unix_s - {KEEP_S + 60}")
    book(database, "after", legs(CLEAN_AFTER), claims)
    claims.clean()
    assert len(claims.taken(mine)) == CLEAN_AFTER
