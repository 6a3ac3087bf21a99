"""The entries: each batch once, one chain, balanced, under any order, duplication and crash."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from services.ledger.adapters.journal.database import BrokenChainError, Database
from services.ledger.adapters.journal.entries import Entries, Entry
from services.ledger.core.book import Draft, Kind, Posting, UnbalancedError
from tests.support.journal import drafts, simple_draft, tamper

NOW_US = 1_700_000_000_000_000
few = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def opened(url: str) -> Iterator[Entries]:
    with closing(Database(url)) as database:
        yield Entries(database)


@pytest.fixture
def entries(database_url: str) -> Iterator[Entries]:
    with opened(database_url) as made:
        yield made


def append(entries: Entries, batch: str, **changed: Any) -> Entry:
    return entries.append(simple_draft(batch, **changed), now_unix_us=NOW_US)


def problems(entries: Entries) -> dict[int, str]:
    return {item.entry_id: item.problem for item in entries.check() if item.problem is not None}


@few
@given(draft=drafts())
def test_an_entry_is_read_as_it_was_appended(new_journal: Callable[[], str], draft: Draft) -> None:
    with opened(new_journal()) as entries:
        made = entries.append(draft, now_unix_us=NOW_US)
        assert made.draft == draft
        assert (made.entry_id, made.book_unix_us, made.confirmed) == (1, NOW_US, False)
        assert entries.find(draft.batch) == made
        assert entries.read(0, 10) == [made]
        assert problems(entries) == {}


def test_a_detail_is_given_as_it_will_be_read(entries: Entries) -> None:
    draft = replace(simple_draft("a"), detail={"rates": (1, 2), "period": {"start": 5}})
    made = entries.append(draft, now_unix_us=NOW_US)
    assert made.draft.detail == {"rates": [1, 2], "period": {"start": 5}}
    assert entries.find("a") == made


@few
@given(
    appends=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 3)), max_size=20),
    confirms=st.lists(st.integers(1, 6), max_size=6),
)
def test_in_any_order_each_batch_is_there_once_in_one_chain_that_balances(
    new_journal: Callable[[], str], appends: list[tuple[int, int, int]], confirms: list[int]
) -> None:
    url = new_journal()
    with opened(url) as one, opened(url) as two, opened(url) as three:
        first: dict[str, Entry] = {}
        for who, number, cost in appends:
            batch = f"batch-{number}"
            # The same batch may come with another cost, if prices have changed since; the first counts.
            made = append((one, two, three)[who], batch, cost_nanos=cost)
            assert made == first.setdefault(batch, made)
        for entry_id in confirms:
            if entry_id <= len(first):
                two.confirm(entry_id)
        found = one.read(0, 100)
        assert [entry.entry_id for entry in found] == list(range(1, len(first) + 1))
        assert [replace(entry, confirmed=False) for entry in found] == list(first.values())
        assert sum(posting.amount_nanos for entry in found for posting in entry.draft.postings) == 0
        checked = list(three.check())
        assert [item.entry for item in checked] == found
        assert {item.problem for item in checked} <= {None}
        waiting = [entry for entry in found if not entry.confirmed]
        assert {entry.entry_id for entry in found} - {entry.entry_id for entry in waiting} == {
            entry_id for entry_id in confirms if entry_id <= len(first)
        }
        assert three.unconfirmed(Kind.LEGS) == waiting
        assert three.whole_up_to() == (waiting[0].entry_id - 1 if waiting else len(found))


def test_threads_that_append_at_once_make_one_chain(database_url: str) -> None:
    """Half the batches are every thread's, half its own; one pair of threads shares its connections."""
    with opened(database_url) as one, opened(database_url) as two, opened(database_url) as three:
        failed: list[BaseException] = []
        begin = threading.Barrier(4)

        def work(entries: Entries, name: str) -> None:
            try:
                begin.wait(30)
                for number in range(12):
                    append(entries, f"shared-{number}")
                    entries.confirm(append(entries, f"{name}-{number}").entry_id)
            except BaseException as error:
                failed.append(error)

        threads = [
            threading.Thread(target=work, args=(entries, name))
            for entries, name in ((one, "a"), (one, "b"), (two, "c"), (three, "d"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        found = [entry.draft.batch for entry in one.read(0, 1000)]
        assert sorted(found) == sorted(
            f"{name}-{number}" for name in ("shared", "a", "b", "c", "d") for number in range(12)
        )
        assert problems(two) == {}


TAMPERINGS = [
    ("UPDATE entry SET kind = 'repricing' WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET kind = 'gift' WHERE entry_id = 2", {2: "can't be read"}),
    ("UPDATE entry SET batch = 'another' WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET book_unix_us = book_unix_us + 1 WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET leg_count = leg_count + 1 WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET unknown_count = 0 WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET cost_nanos = cost_nanos - 1 WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET lines = replace(lines, 'triage', 'others') WHERE entry_id = 2", {2: "not what was"}),
    ("UPDATE entry SET lines = '[]' WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET lines = lines || ' ' WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET lines = '[' WHERE entry_id = 2", {2: "can't be read"}),
    ("UPDATE entry SET lines = '[[1]]' WHERE entry_id = 2", {2: "can't be read"}),
    ("UPDATE entry SET lines = '5' WHERE entry_id = 2", {2: "can't be read"}),
    ("UPDATE entry SET detail = '{}' WHERE entry_id = 2", {2: "not what was written"}),
    ("UPDATE entry SET detail = '' WHERE entry_id = 2", {2: "can't be read"}),
    (
        "UPDATE entry SET entry_sha256 = (SELECT entry_sha256 FROM entry AS o WHERE o.entry_id = 1)"
        " WHERE entry_id = 2",
        {2: "not what was written", 3: "not after the entry"},
    ),
    ("UPDATE entry SET entry_id = 9 WHERE entry_id = 4", {4: "postings are", 5: "5 to 8", 9: "can't be"}),
    (
        "UPDATE entry SET entry_id = 0 WHERE entry_id = 1",
        {0: "before the first", 1: "postings are", 2: "can't be checked"},
    ),
    ("DELETE FROM entry WHERE entry_id = 1", {1: "its postings are", 2: "can't be checked"}),
    ("DELETE FROM entry WHERE entry_id = 2", {2: "its postings are", 3: "can't be checked"}),
    ("DELETE FROM entry WHERE entry_id = 4", {4: "not there"}),
    ("DELETE FROM entry", {1: "its postings are", 2: "its postings", 3: "its postings", 4: "its postings"}),
    ("UPDATE posting SET amount_nanos = amount_nanos + 1 WHERE entry_id = 2", {2: "not what was written"}),
    (
        "UPDATE posting SET account = 'provider/another' WHERE entry_id = 2 AND account = 'provider/openai'",
        {2: "not what was written"},
    ),
    ("DELETE FROM posting WHERE entry_id = 2", {2: "not what was written"}),
    ("DELETE FROM posting WHERE entry_id = 2 AND account = 'pool/home'", {2: "not what was written"}),
    (
        "UPDATE posting SET entry_id = 9 WHERE entry_id = 2",
        {2: "not what", 5: "not there", 9: "postings are"},
    ),
    ("INSERT INTO posting VALUES (3, 'idle/x', 0)", {3: "not what was written"}),
    ("INSERT INTO posting VALUES (-1, 'idle/x', 5)", {-1: "before the first"}),
    ("UPDATE chain_head SET last_id = 3", {4: "should be 3"}),
    ("UPDATE chain_head SET last_id = 5", {5: "not there"}),
    ("DELETE FROM chain_head", {4: "should be 0"}),
    (
        "UPDATE chain_head SET last_sha256 = (SELECT entry_sha256 FROM entry WHERE entry_id = 1)",
        {4: "should be 4"},
    ),
]


@pytest.mark.parametrize(("harm", "named"), TAMPERINGS)
def test_what_somebody_changed_is_named(database_url: str, harm: str, named: dict[int, str]) -> None:
    with opened(database_url) as entries:
        for number in range(4):
            append(entries, f"batch-{number}", cost_nanos=100 + number)
        assert problems(entries) == {}
        tamper(database_url, harm)
        found = problems(entries)
        assert found.keys() == named.keys()
        for entry_id, part in named.items():
            assert part in found[entry_id]


@pytest.mark.parametrize(
    "columns",
    [("kind",), ("lines", "detail", "leg_count", "unknown_count", "cost_nanos"), ("entry_sha256",), None],
)
def test_entries_that_were_swapped_are_named(database_url: str, columns: tuple[str, ...] | None) -> None:
    with opened(database_url) as entries:
        append(entries, "a", cost_nanos=5)
        entries.append(replace(simple_draft("b", kind=Kind.REPRICING), detail={"x": 1}), now_unix_us=NOW_US)
        append(entries, "c")
        if columns is None:
            swap = "UPDATE {} SET entry_id = CASE entry_id WHEN 1 THEN -2 ELSE -1 END WHERE entry_id < 3"
            back = "UPDATE {} SET entry_id = -entry_id WHERE entry_id < 0"
            tamper(
                database_url, *(text.format(name) for name in ("entry", "posting") for text in (swap, back))
            )
        else:
            other = "(SELECT {0} FROM copy WHERE copy.entry_id = 3 - entry.entry_id)"
            values = ", ".join(f"{name} = {other.format(name)}" for name in columns)
            swap = f"UPDATE entry SET {values} WHERE entry_id < 3"
            tamper(database_url, "CREATE TABLE copy AS SELECT * FROM entry", swap)
        assert problems(entries).keys() >= {1, 2}


def test_one_who_knows_how_to_hash_is_found_at_the_next_entry_or_at_the_head(
    new_journal: Callable[[], str],
) -> None:
    url = new_journal()
    with opened(new_journal()) as forge:
        append(forge, "a")
        made = append(forge, "b", cost_nanos=1)
    sha256 = (
        f"x'{made.entry_sha256.hex()}'" if url.startswith("sqlite") else rf"'\x{made.entry_sha256.hex()}'"
    )
    with opened(url) as entries:
        for batch in "abc":
            append(entries, batch)
        tamper(
            url,
            f"UPDATE entry SET cost_nanos = {made.draft.cost_nanos}, entry_sha256 = {sha256},"
            " lines = replace(lines, '1000003', '1') WHERE entry_id = 2",
            *(
                f"UPDATE posting SET amount_nanos = {item.amount_nanos}"
                f" WHERE entry_id = 2 AND account = '{item.account}'"
                for item in made.draft.postings
            ),
        )
        assert problems(entries).keys() == {3}
        tamper(url, "DELETE FROM posting WHERE entry_id = 3", "DELETE FROM entry WHERE entry_id = 3")
        assert problems(entries).keys() == {3}
        tamper(url, "UPDATE chain_head SET last_id = 2")
        assert problems(entries).keys() == {2}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_a_chain_of_several_pages_is_checked_to_its_end(
    database_url: str, entries: Entries, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("services.ledger.adapters.journal.checking._PAGE", 2)
    for number in range(count):
        append(entries, str(number))
    checked = list(entries.check())
    assert [(item.entry_id, item.problem) for item in checked] == [(n + 1, None) for n in range(count)]
    for entry_id in range(1, count + 1):
        harm = f"SET amount_nanos = amount_nanos + 1 WHERE entry_id = {entry_id}"
        tamper(database_url, f"UPDATE posting {harm} AND account = 'pool/home'")
        assert problems(entries).keys() == set(range(1, entry_id + 1))


IMPOSSIBLE = [
    (replace(simple_draft("a"), postings=(Posting("provider/openai", -1),)), "differ by -1"),
    (replace(simple_draft("a"), postings=()), "those that its lines give"),
    (replace(simple_draft("a"), postings=tuple(reversed(simple_draft("a").postings))), "those that"),
    (replace(simple_draft("a"), lines=tuple(reversed(simple_draft("a").lines))), "order"),
    (
        replace(simple_draft("a"), lines=(replace(simple_draft("a").lines[0], unknown_count=2),)),
        "more legs of unknown cost",
    ),
    (simple_draft("a", cost_nanos=2**63), "64 bits"),
]


@pytest.mark.parametrize(("draft", "why"), IMPOSSIBLE)
def test_what_can_be_no_entry_is_refused(entries: Entries, draft: Draft, why: str) -> None:
    with pytest.raises(UnbalancedError, match=f"batch a: .*{why}"):
        entries.append(draft, now_unix_us=NOW_US)
    assert entries.read(0, 1) == []


@pytest.mark.parametrize(("draft", "why"), IMPOSSIBLE[:-1])
def test_what_can_be_no_entry_is_named_though_its_hash_is_right(
    entries: Entries, monkeypatch: pytest.MonkeyPatch, draft: Draft, why: str
) -> None:
    with monkeypatch.context() as careless:
        careless.setattr("services.ledger.adapters.journal.entries.problem_of", lambda _: None)
        entries.append(draft, now_unix_us=NOW_US)
    # The table gives postings by account, so those that were in another order have another hash.
    expected = "not what was written" if why == "those that" else why
    assert expected in problems(entries)[1]


def test_an_entry_that_finds_out_may_have_fewer_unknown_than_none(entries: Entries) -> None:
    draft = simple_draft("a", kind=Kind.REPRICING)
    found_out = replace(
        draft, lines=tuple(replace(line, leg_count=0, unknown_count=-1) for line in draft.lines)
    )
    assert entries.append(found_out, now_unix_us=NOW_US).draft.unknown_count == -2


def test_a_detail_that_is_no_json_is_refused_whole(entries: Entries) -> None:
    with pytest.raises(ValueError, match="JSON"):
        entries.append(replace(simple_draft("a"), detail={"x": float("nan")}), now_unix_us=NOW_US)
    assert entries.read(0, 1) == []


def _note(db: Connection) -> None:
    db.execute(sql.text("CREATE TABLE IF NOT EXISTS note (what TEXT)"))
    db.execute(sql.text("INSERT INTO note VALUES ('also')"))


def _notes(url: str) -> int:
    with closing(Database(url)) as database, database.reading() as db:
        return int(db.execute(sql.text("SELECT count(*) FROM note")).scalar_one())


def test_what_belongs_to_an_entry_is_written_with_it_and_once(database_url: str, entries: Entries) -> None:
    for _ in range(2):
        entries.append(simple_draft("a"), now_unix_us=NOW_US, also=_note)
    assert _notes(database_url) == 1


def test_a_transaction_whose_second_half_fails_leaves_nothing(database_url: str, entries: Entries) -> None:
    entries.append(simple_draft("a"), now_unix_us=NOW_US, also=_note)

    def fail(db: Connection) -> None:
        _note(db)
        raise RuntimeError("budgets")

    with pytest.raises(RuntimeError, match="budgets"):
        entries.append(simple_draft("b"), now_unix_us=NOW_US, also=fail)
    assert entries.find("b") is None
    assert _notes(database_url) == 1
    assert append(entries, "c").entry_id == 2
    assert problems(entries) == {}


def test_entries_of_a_kind_wait_until_they_are_confirmed(entries: Entries) -> None:
    assert entries.whole_up_to() == 0
    kinds = (Kind.LEGS, Kind.REPRICING, Kind.LEGS, Kind.POOL_PERIOD)
    made = [append(entries, str(number), kind=kind) for number, kind in enumerate(kinds)]
    assert entries.unconfirmed(Kind.LEGS) == [made[0], made[2]]
    for confirmed, whole in ((3, 0), (1, 1), (2, 3), (2, 3), (4, 4)):
        entries.confirm(confirmed)
        assert entries.whole_up_to() == whole
    assert [entries.unconfirmed(kind) for kind in Kind] == [[], [], []]
    with pytest.raises(BrokenChainError, match="entry 5 is not there"):
        entries.confirm(5)


def test_entries_are_read_in_pages(entries: Entries) -> None:
    made = [append(entries, str(number)) for number in range(5)]
    assert entries.read(0, 2) == made[:2]
    assert entries.read(2, 2) == made[2:4]
    assert entries.read(5, 2) == []
    assert entries.find("no such batch") is None


def test_an_entry_that_cannot_be_read_is_named(database_url: str, entries: Entries) -> None:
    append(entries, "a")
    tamper(database_url, "UPDATE entry SET lines = '[1]'")
    for read in (lambda: entries.find("a"), lambda: entries.read(0, 5), lambda: append(entries, "a")):
        with pytest.raises(BrokenChainError, match="entry 1 can't be read"):
            read()


APPEND_FOR_EVER = """
import os, sys
from itertools import count
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from tests.support.journal import simple_draft
entries, end = Entries(Database(sys.argv[1])), int(sys.argv[2])
for number in count():
    def also(db):
        if number == end:
            os._exit(7)
    entries.append(simple_draft(f"{os.getpid()}-{number}"), now_unix_us=number, also=also)
    print(f"{os.getpid()}-{number}", flush=True)
"""


def _appending(url: str, end: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", APPEND_FOR_EVER, url, str(end)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("end", ["in the transaction", "kill -9"])
def test_a_process_that_dies_leaves_a_whole_chain_with_all_that_it_was_told_of(
    database_url: str, entries: Entries, end: str
) -> None:
    append(entries, "before")
    with _appending(database_url, 5 if end == "in the transaction" else -1) as process:
        assert process.stdout is not None
        if end == "in the transaction":
            acknowledged = process.stdout.read().split()
            assert process.wait() == 7
            assert len(acknowledged) == 5
        else:
            acknowledged = [process.stdout.readline().strip() for _ in range(20)]
            process.send_signal(signal.SIGKILL)
            acknowledged += process.stdout.read().split()
            assert process.wait() == -signal.SIGKILL
    append(entries, "after")
    found = [entry.draft.batch for entry in entries.read(0, 10_000)]
    assert found[0] == "before"
    assert found[-1] == "after"
    assert found[1 : len(acknowledged) + 1] == acknowledged
    # At most the one whose acknowledgement got lost.
    assert len(found) - 2 - len(acknowledged) in ((0,) if end == "in the transaction" else (0, 1))
    assert problems(entries) == {}


def test_while_one_holds_the_head_others_wait_and_readers_do_not(database_url: str, entries: Entries) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        inside.set()
        assert leave.wait(30)

    slow = threading.Thread(
        target=lambda: entries.append(simple_draft("slow"), now_unix_us=NOW_US, also=hold)
    )
    slow.start()
    assert inside.wait(30)
    try:
        with opened(database_url) as other:
            assert other.read(0, 10) == []
            assert other.whole_up_to() == 0
            quick = threading.Thread(target=append, args=(other, "quick"))
            quick.start()
            leave.set()
            quick.join()
            assert [entry.draft.batch for entry in other.read(0, 10)] == ["slow", "quick"]
    finally:
        leave.set()
        slow.join()
