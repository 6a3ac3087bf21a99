"""The queue on disk: nothing is lost, nothing leaves twice, whatever happens in between."""

import itertools
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.common.outbox import Batch, Outbox, OutboxFullError, Put

OUTBOX_ID = bytes(range(16))


def open_outbox(path: Path, *, max_rows: int = 1000, remember_s: int = 60) -> Outbox:
    return Outbox(path, max_rows=max_rows, remember_s=remember_s, outbox_id=OUTBOX_ID)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


def items(*names: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), f"payload of {name}".encode()) for name in names]


def payloads(*names: str) -> list[bytes]:
    return [payload for _, payload in items(*names)]


def drain(outbox: Outbox, max_rows: int = 7) -> list[bytes]:
    out: list[bytes] = []
    while batch := outbox.next_batch(max_rows):
        out += batch.payloads
        outbox.acknowledge(batch.number, 0)
    return out


class OutboxAgainstAList(RuleBasedStateMachine):
    """Does the same to an outbox and to a plain list, and compares."""

    remember_s = 60
    max_rows = 12

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.sqlite"
        self.opened: list[Outbox] = []
        self.queue: list[tuple[int, bytes]] = []
        self.sealed: Batch | None = None
        self.last_number = 0
        self.remembered: set[int] = set()
        self.serial = itertools.count()
        self.open()

    def open(self) -> None:
        self.outbox = open_outbox(self.path, max_rows=self.max_rows, remember_s=self.remember_s)
        self.opened.append(self.outbox)

    def teardown(self) -> None:
        waiting = [payload for _, payload in self.queue]
        assert drain(self.outbox) == waiting
        assert self.outbox.waiting == 0
        for outbox in self.opened:
            outbox.close()
        self.folder.cleanup()

    @rule(groups=st.lists(st.lists(st.integers(0, 20), max_size=6), max_size=3))
    def put_groups(self, groups: list[list[int]]) -> None:
        # A payload of its own for every row shows which of two with the same id was kept.
        rows = [[(number, b"%d:%d" % (next(self.serial), number)) for number in ids] for ids in groups]
        done = self.outbox.put_groups(
            [[(bytes([number]), payload) for number, payload in group] for group in rows], 0
        )
        assert len(done) == len(groups)
        for group, put in zip(rows, done, strict=True):
            known = {number for number, _ in self.queue} | self.remembered
            new: dict[int, bytes] = {}
            for number, payload in group:
                if number not in known:
                    new.setdefault(number, payload)
            if isinstance(put, OutboxFullError):
                assert len(self.queue) + len(group) > self.max_rows
            else:
                assert len(self.queue) + len(new) <= self.max_rows
                assert put == Put(new=len(new), duplicate=len(group) - len(new))
                self.queue += new.items()

    @rule(max_rows=st.integers(1, 6))
    def look(self, max_rows: int) -> None:
        batch = self.outbox.next_batch(max_rows)
        if self.sealed is not None:
            assert batch == self.sealed
        elif not self.queue:
            assert batch is None
        else:
            self.last_number += 1
            expected = [payload for _, payload in self.queue[:max_rows]]
            assert batch == Batch(self.last_number, OUTBOX_ID, expected)
            self.sealed = batch

    @precondition(lambda self: self.sealed is not None)
    @rule()
    def acknowledge(self) -> None:
        assert self.sealed is not None
        self.outbox.acknowledge(self.sealed.number, 0)
        gone, self.queue = self.queue[: len(self.sealed.payloads)], self.queue[len(self.sealed.payloads) :]
        if self.remember_s:
            self.remembered |= {number for number, _ in gone}
        self.sealed = None

    @rule(back=st.integers(0, 3))
    def acknowledge_what_is_not_sealed(self, back: int) -> None:
        numbers = {self.last_number - back, self.last_number + 1}
        for number in numbers - {self.sealed.number if self.sealed else None}:
            self.outbox.acknowledge(number, 0)

    @rule()
    def reopen_after_close(self) -> None:
        self.opened.pop().close()
        self.open()

    @rule()
    def reopen_as_after_a_kill(self) -> None:
        self.open()

    @invariant()
    def the_count_is_right(self) -> None:
        assert self.outbox.waiting == len(self.queue)


class ForgetfulOutboxAgainstAList(OutboxAgainstAList):
    remember_s = 0


TestOutbox = OutboxAgainstAList.TestCase
TestForgetfulOutbox = ForgetfulOutboxAgainstAList.TestCase
for case in (TestOutbox, TestForgetfulOutbox):
    case.settings = settings(max_examples=60, stateful_step_count=30)


def test_a_call_that_does_not_fit_is_refused_and_nothing_of_it_is_taken(path: Path) -> None:
    outbox = open_outbox(path, max_rows=3)
    outbox.put(items("a", "b"), 0)
    with pytest.raises(OutboxFullError, match="2 rows wait, the limit is 3"):
        outbox.put(items("c", "d"), 0)
    assert outbox.waiting == 2
    assert outbox.put(items("c"), 0) == Put(new=1, duplicate=0)
    assert drain(outbox) == payloads("a", "b", "c")


def test_a_group_that_does_not_fit_is_refused_without_the_others(path: Path) -> None:
    outbox = open_outbox(path, max_rows=3)
    first, second, third = outbox.put_groups([items("a", "b"), items("c", "d"), items("e")], 0)
    assert first == Put(new=2, duplicate=0)
    assert isinstance(second, OutboxFullError)
    assert third == Put(new=1, duplicate=0)
    assert drain(outbox) == payloads("a", "b", "e")


def test_a_full_outbox_takes_rows_again_when_some_have_left(path: Path) -> None:
    outbox = open_outbox(path, max_rows=2)
    outbox.put(items("a", "b"), 0)
    batch = outbox.next_batch(1)
    assert batch is not None
    outbox.acknowledge(batch.number, 0)
    assert outbox.put(items("c"), 0).new == 1


def test_batches_behind_one_that_waits_are_the_ones_that_come_when_it_has_left(path: Path) -> None:
    outbox = open_outbox(path)
    outbox.put(items("a", "b", "c"), 0)
    first = outbox.next_batch(2)
    assert first is not None
    second = outbox.batch_after(first.number, 2)
    assert second is not None
    assert second.payloads == payloads("c")
    assert outbox.batch_after(second.number, 2) is None
    outbox.put(items("d"), 0)
    assert outbox.batch_after(first.number, 2) == second, "sealed before d came"
    assert outbox.next_batch(2) == first
    outbox.acknowledge(first.number, 0)
    assert outbox.next_batch(2) == second
    outbox.close()


@pytest.mark.parametrize(
    ("put_s", "left_s", "again_s", "expected"),
    [
        (0, 0, 0, Put(new=0, duplicate=1)),
        (0, 5, 60, Put(new=0, duplicate=1)),
        (0, 0, 61, Put(new=1, duplicate=0)),
        (0, 5, 66, Put(new=1, duplicate=0)),
        # It waited for a receiver that was away: the time counts from when it left.
        (0, 1000, 1001, Put(new=0, duplicate=1)),
    ],
)
def test_an_id_is_a_duplicate_for_remember_s_after_its_row_has_left(
    path: Path, put_s: int, left_s: int, again_s: int, expected: Put
) -> None:
    outbox = open_outbox(path, remember_s=60)
    outbox.put(items("a"), put_s)
    batch = outbox.next_batch(10)
    assert batch is not None
    outbox.acknowledge(batch.number, left_s)
    # Forgetting is part of an acknowledgement, so another row leaves at the time of asking.
    outbox.put(items("other"), again_s)
    other = outbox.next_batch(10)
    assert other is not None
    outbox.acknowledge(other.number, again_s)
    assert outbox.put(items("a"), again_s) == expected


def test_what_waits_is_never_forgotten(path: Path) -> None:
    outbox = open_outbox(path, remember_s=1)
    outbox.put(items("a", "b"), 0)
    batch = outbox.next_batch(1)
    assert batch is not None
    outbox.acknowledge(batch.number, 10_000)
    assert outbox.put(items("b"), 10_000) == Put(new=0, duplicate=1)
    assert drain(outbox) == payloads("b")


@pytest.mark.parametrize("jumps_s", [(0, -3600), (0, -30 * 86_400, 5), (1_000_000, 3, 40)])
def test_a_clock_that_jumps_back_or_begins_anew_forgets_nothing_early(
    path: Path, jumps_s: tuple[int, ...]
) -> None:
    outbox = open_outbox(path, remember_s=60)
    outbox.put(items("a"), 0)
    drain_at(outbox, 0)
    for number, at_s in enumerate(jumps_s):
        # A clock that was set while the ledger was down.
        outbox.close()
        outbox = open_outbox(path, remember_s=60)
        outbox.put(items(f"other {number}"), at_s)
        drain_at(outbox, at_s)
        assert outbox.put(items("a"), at_s) == Put(new=0, duplicate=1)
    drain_at(outbox, at_s)
    outbox.put(items("last"), at_s + 61)
    drain_at(outbox, at_s + 61)
    assert outbox.put(items("a"), at_s + 61) == Put(new=1, duplicate=0)


def test_a_clock_that_is_set_back_while_the_file_is_open_forgets_nothing_early(path: Path) -> None:
    outbox = open_outbox(path, remember_s=60)
    outbox.put(items("a"), 1_000_000)
    drain_at(outbox, 1_000_000)
    for at_s in (1_000_030, 0, 29):
        outbox.put(items(f"at {at_s}"), at_s)
        drain_at(outbox, at_s)
        assert outbox.put(items("a"), at_s) == Put(new=0, duplicate=1)
    outbox.put(items("last"), 61)
    drain_at(outbox, 61)
    assert outbox.put(items("a"), 61) == Put(new=1, duplicate=0)


def drain_at(outbox: Outbox, now_s: int) -> None:
    while batch := outbox.next_batch(100):
        outbox.acknowledge(batch.number, now_s)


def test_an_id_that_is_remembered_takes_little_room(path: Path) -> None:
    outbox = open_outbox(path, max_rows=2000)
    rows = 40_000
    for first in range(0, rows, 2000):
        numbers = range(first, first + 2000)
        outbox.put([(number.to_bytes(16, "big"), bytes(300)) for number in numbers], 0)
        drain_at(outbox, 0)
    outbox.close()
    assert path.stat().st_size < 100 * rows


def test_a_file_keeps_its_identity_and_a_new_file_has_another(tmp_path: Path) -> None:
    def token(path: Path, outbox_id: bytes) -> str:
        outbox = Outbox(path, max_rows=10, remember_s=0, outbox_id=outbox_id)
        outbox.put(items("a"), 0)
        batch = outbox.next_batch(1)
        outbox.close()
        assert batch is not None
        return batch.token

    first = token(tmp_path / "one", b"1" * 16)
    assert token(tmp_path / "one", b"2" * 16) == first
    assert token(tmp_path / "two", b"2" * 16) != first


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        open_outbox(tmp_path / "nowhere" / "outbox.sqlite")


@contextmanager
def full_disk() -> Iterator[None]:
    """Every write to a file by this process fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "call",
    [
        lambda outbox: outbox.put(items("d", "e"), 0),
        lambda outbox: outbox.put_groups([items("d"), items("e")], 0),
        lambda outbox: outbox.next_batch(2),
        lambda outbox: outbox.acknowledge(1, 0),
    ],
    ids=["put", "put_groups", "next_batch", "acknowledge"],
)
@pytest.mark.parametrize("reopened", [False, True])
def test_a_disk_error_leaves_nothing_half_done(
    path: Path, call: Callable[[Outbox], object], reopened: bool, request: pytest.FixtureRequest
) -> None:
    outbox = open_outbox(path)
    outbox.put(items("a", "b", "c"), 0)
    sealed = None if "next_batch" in request.node.name else outbox.next_batch(2)
    with full_disk(), pytest.raises(sqlite3.OperationalError):
        call(outbox)
    if reopened:
        outbox = open_outbox(path)
    assert outbox.waiting == 3
    if sealed is not None:
        assert outbox.next_batch(2) == sealed
    assert outbox.put(items("a", "d"), 0) == Put(new=1, duplicate=1)
    assert drain(outbox) == payloads("a", "b", "c", "d")


WRITER = """
import itertools, sys
from pathlib import Path
from services.common.outbox import Outbox

outbox = Outbox(Path(sys.argv[1]), max_rows=1_000_000, remember_s=60, outbox_id=bytes(range(16)))
for number in itertools.count():
    outbox.put([(b"%d" % number, b"%d" % number)], 0)
    if number == 3:
        assert outbox.next_batch(3).payloads == [b"0", b"1", b"2"]
    print(number, flush=True)
"""

SENDER = """
import sys
from pathlib import Path
from services.common.outbox import Outbox

outbox = Outbox(Path(sys.argv[1]), max_rows=1_000_000, remember_s=60, outbox_id=bytes(range(16)))
while batch := outbox.next_batch(1):
    outbox.acknowledge(batch.number, 0)
    print(batch.payloads[0].decode(), flush=True)
"""


def run_and_kill(program: str, path: Path, after_lines: int) -> list[int]:
    """Lets the program print so many lines, kills it with SIGKILL, and returns all that it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after_lines)]
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -9
    return [int(line) for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("after_lines", [1, 4, 50])
def test_a_killed_writer_loses_nothing_that_it_had_put(path: Path, after_lines: int) -> None:
    printed = run_and_kill(WRITER, path, after_lines)
    outbox = open_outbox(path)
    if len(printed) > 4:
        again = outbox.next_batch(1000)
        assert again == Batch(1, OUTBOX_ID, [b"0", b"1", b"2"])
    kept = [int(payload) for payload in drain(outbox)]
    # The kill may have come between a put and the line about it.
    assert kept in (printed, [*printed, len(printed)])


@pytest.mark.parametrize("after_lines", [1, 20])
def test_a_killed_sender_goes_on_where_it_stopped(path: Path, after_lines: int) -> None:
    outbox = open_outbox(path, max_rows=5000)
    outbox.put([(b"%d" % number, b"%d" % number) for number in range(5000)], 0)
    outbox.close()
    printed = run_and_kill(SENDER, path, after_lines)
    assert printed == list(range(len(printed)))
    outbox = open_outbox(path)
    waiting = outbox.waiting
    assert waiting in (5000 - len(printed), 5000 - len(printed) - 1)
    assert [int(payload) for payload in drain(outbox, 1000)] == list(range(5000 - waiting, 5000))


VERSION_1 = """
CREATE TABLE item (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, batch INTEGER, moved_s INTEGER NOT NULL,
  payload BLOB
);
CREATE INDEX item_unsealed ON item (seq) WHERE batch IS NULL;
CREATE INDEX item_sealed ON item (batch) WHERE batch IS NOT NULL AND payload IS NOT NULL;
CREATE TABLE state (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1), outbox_id BLOB NOT NULL, last_batch INTEGER NOT NULL
);
INSERT INTO state VALUES (1, x'000102030405060708090a0b0c0d0e0f', 7);
INSERT INTO item (id, batch, moved_s, payload) VALUES
  (CAST('left' AS BLOB), 6, 1790000000, NULL),
  (CAST('a' AS BLOB), 7, 1790000000, CAST('payload of a' AS BLOB)),
  (CAST('b' AS BLOB), NULL, 1790000001, CAST('payload of b' AS BLOB));
PRAGMA user_version = 1;
"""


def test_a_file_of_the_version_before_goes_on_where_it_stopped(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_1)
    db.close()
    outbox = open_outbox(path)
    assert outbox.put(items("left", "a", "b", "c"), 5) == Put(new=1, duplicate=3)
    assert outbox.next_batch(10) == Batch(7, OUTBOX_ID, payloads("a"))
    assert drain(outbox) == payloads("a", "b", "c")
    outbox.close()
    assert open_outbox(path).put(items("left", "a", "c"), 0) == Put(new=0, duplicate=3)


@pytest.mark.parametrize(
    "made_by",
    ["CREATE TABLE item (seq INTEGER PRIMARY KEY, id BLOB, payload BLOB)", "PRAGMA user_version = 99"],
)
def test_a_file_with_another_versions_tables_is_not_touched(path: Path, made_by: str) -> None:
    open_outbox(path).close()
    with sqlite3.connect(path) as db:
        db.executescript(f"DROP TABLE item; PRAGMA user_version = 0; {made_by}")
    db.close()
    with pytest.raises(sqlite3.OperationalError, match="another version of Homeward"):
        open_outbox(path)
