"""Faults where they happen. After each: sent = acknowledged = rows = journal, and the book is whole."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from grpc import StatusCode, aio
from homeward.common.v1 import leg_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from tests.support.booking import (
    SETTINGS,
    Callers,
    all_booked,
    assert_whole,
    becomes,
    journal_count,
    ledger_stack,
    spool_count,
    verified,
)
from tests.support.refusals import info_of
from tests.support.stack import SECRETS, Stack

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

DAYS = 10
"""In one month or two: each has its own parts in ClickHouse."""
LEGS = 2_000
SPOOL_ROWS = 10_000
PERIOD_S = 10
UNCONFIRMED = "kind = 'legs' AND NOT confirmed"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, Callers]]:
    """A ledger with its ClickHouse, and callers whose legs of all tests here must be booked at the end."""
    folder = tmp_path_factory.mktemp("faults")
    async with ledger_stack(folder, HOMEWARD_LEDGER__SPOOL_ROWS=str(SPOOL_ROWS)) as stack:
        yield stack, Callers(stack, days=DAYS)


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Nobody else can write to a SQLite file until the block ends."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=20)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that takes connections and bytes, and does nothing with them."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_the_book_is_whole_at_any_time_while_legs_come_in(running: tuple[Stack, Callers]) -> None:
    stack, callers = running
    sending = asyncio.create_task(callers.book(8 * LEGS, chunk_legs=100))
    seen = set()
    while not sending.done():
        told = await verified(stack)
        assert told["difference"] is None
        seen.add(told["legs"])
    await sending
    assert len(seen) > 1
    await assert_whole(stack, callers.sent)


async def test_the_ledger_is_killed_between_seal_and_entry(running: tuple[Stack, Callers]) -> None:
    stack, callers = running
    entries = journal_count(stack, what="count(*)", where="kind = 'legs'")
    with held(stack.folder / "ledger" / "journal.sqlite"):
        await callers.book(LEGS)
        await becomes(lambda: spool_count(stack, "batch IS NOT NULL AND payload IS NOT NULL") > 0, "a seal")
        await stack.kill("ledger")
    assert journal_count(stack, what="count(*)", where="kind = 'legs'") == entries
    await stack.start("ledger")
    await assert_whole(stack, callers.sent)


async def test_the_ledger_is_killed_between_entry_and_rows(running: tuple[Stack, Callers]) -> None:
    stack, callers = running
    with frozen(stack.pid("clickhouse")):
        await callers.book(LEGS)
        await becomes(lambda: journal_count(stack, UNCONFIRMED) > 0, "an entry without rows")
        await stack.kill("ledger")
    assert journal_count(stack, UNCONFIRMED) > 0
    await stack.start("ledger")
    await assert_whole(stack, callers.sent)


async def test_the_ledger_is_killed_between_rows_and_confirmation(running: tuple[Stack, Callers]) -> None:
    stack, callers = running
    before = len(callers.sent.leg_ids)
    pid = stack.pid("clickhouse")
    with frozen(pid):
        await callers.book(LEGS)
        await becomes(lambda: journal_count(stack, UNCONFIRMED) > 0, "an entry without rows")
        with held(stack.folder / "ledger" / "journal.sqlite"):
            os.kill(pid, signal.SIGCONT)
            await stack.legs(before + 1, "leg_id")
            await stack.kill("ledger")
    assert journal_count(stack, UNCONFIRMED) > 0
    await stack.start("ledger")
    await assert_whole(stack, callers.sent)


async def test_the_ledger_is_killed_between_confirmation_and_release(running: tuple[Stack, Callers]) -> None:
    stack, callers = running
    pid = stack.pid("clickhouse")
    with frozen(pid):
        await callers.book(LEGS)
        await becomes(lambda: journal_count(stack, UNCONFIRMED) > 0, "an entry without rows")
        with held(stack.folder / "ledger" / "spool.sqlite"):
            os.kill(pid, signal.SIGCONT)
            await becomes(lambda: journal_count(stack, UNCONFIRMED) == 0, "the entry is confirmed")
            await stack.kill("ledger")
    assert spool_count(stack) > 0
    await stack.start("ledger")
    await assert_whole(stack, callers.sent)


async def test_clickhouse_is_killed_with_an_insert_under_way(running: tuple[Stack, Callers]) -> None:
    stack, callers = running
    with frozen(stack.pid("clickhouse")):
        await callers.book(LEGS)
        await becomes(lambda: journal_count(stack, UNCONFIRMED) > 0, "an entry without rows")
        await stack.kill("clickhouse")
    assert spool_count(stack) > 0
    await stack.start("clickhouse")
    await assert_whole(stack, callers.sent)


async def test_legs_pile_up_to_the_limit_without_clickhouse_and_drain_by_themselves(
    running: tuple[Stack, Callers],
) -> None:
    stack, callers = running
    await stack.kill("clickhouse")
    refused = callers.sent.refusals["RESOURCE_EXHAUSTED"]
    sending = asyncio.create_task(callers.book(SPOOL_ROWS + LEGS))
    await becomes(lambda: callers.sent.refusals["RESOURCE_EXHAUSTED"] > refused, "the spool is full")
    assert 0 < spool_count(stack) <= SPOOL_ROWS
    assert await reason_of_refusal(stack) == "QUEUE_FULL"
    assert not sending.done()
    await stack.start("clickhouse")
    await sending
    await assert_whole(stack, callers.sent)


async def reason_of_refusal(stack: Stack) -> str:
    """Why the ledger takes no more legs: the reason of its ErrorInfo."""
    # More than ever fits, so that none of them is taken.
    legs = [leg_of_nobody(number) for number in range(SPOOL_ROWS)]
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
        with pytest.raises(aio.AioRpcError) as refusal:
            await ledger_pb2_grpc.LedgerServiceStub(channel).Record(ledger_pb2.RecordRequest(legs=legs))
    assert refusal.value.code() is StatusCode.RESOURCE_EXHAUSTED
    return info_of(refusal.value).reason


def leg_of_nobody(number: int) -> leg_pb2.Leg:
    """A leg that no test sends."""
    leg_id = number.to_bytes(16, "big")
    leg = leg_pb2.Leg(
        leg_id=leg_id,
        request_id=leg_id,
        trace_id=leg_id,
        span_id=leg_id[8:],
        purpose=leg_pb2.PURPOSE_PROBE,
        target=leg_pb2.TARGET_CLOUD,
        outcome=leg_pb2.OUTCOME_OK,
    )
    leg.start_time.GetCurrentTime()
    return leg


async def test_a_disk_that_takes_no_more_bytes(running: tuple[Stack, Callers]) -> None:
    """The kernel refuses writes past a file's size as it does on a full disk: SQLite gets a real error."""
    stack, callers = running
    folder, pid = stack.folder / "ledger", stack.pid("ledger")
    largest = max(file.stat().st_size for file in folder.iterdir())
    before = callers.sent.refusals["UNAVAILABLE"]
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(largest, 1 << 18), unlimited[1]))
    sending = asyncio.create_task(callers.book(5 * LEGS))
    await becomes(lambda: callers.sent.refusals["UNAVAILABLE"] > before + 3, "the disk is full")
    assert not sending.done()
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    await sending
    assert stack.pid("ledger") == pid
    await assert_whole(stack, callers.sent)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The ledger's folder, on a disk of its own; skips the test where nothing may be mounted."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "homeward-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_under_spool_and_journal(tmp_path: Path, small_disk: Path) -> None:
    async with ledger_stack(tmp_path) as stack:
        callers = Callers(stack, days=DAYS)
        await callers.book(LEGS)
        ballast = small_disk / "ballast"
        fill(ballast)
        sending = asyncio.create_task(callers.book(5 * LEGS))
        await becomes(lambda: callers.sent.refusals["UNAVAILABLE"] > 3, "the disk is full")
        assert not sending.done()
        ballast.unlink()
        await sending
        await assert_whole(stack, callers.sent)


def fill(ballast: Path) -> None:
    """Leaves nothing of a disk."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


CLOCK = """
import time
from pathlib import Path

offset = Path({file!r})
true_time, true_time_ns = time.time, time.time_ns


def shift():
    return int(offset.read_text())


time.time = lambda: true_time() + shift()
time.time_ns = lambda: true_time_ns() + shift() * 10**9
"""
"""What Python runs when it starts: a clock that somebody may set."""


async def test_a_clock_that_jumps_back_and_forth(tmp_path: Path) -> None:
    offset = tmp_path / "offset_s"
    offset.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(file=str(offset)))
    async with ledger_stack(tmp_path, PYTHONPATH=str(tmp_path)) as stack:
        callers = Callers(stack, days=DAYS)
        for jump_s in (0, -30 * 86_400, 3600):
            offset.write_text(str(jump_s))
            await callers.book(LEGS)
            await all_booked(stack, len(callers.sent.leg_ids))
        await callers.book(LEGS)
        await stack.kill("ledger")
        offset.write_text("-86400")
        await stack.start("ledger")
        await callers.book(LEGS)
        await assert_whole(stack, callers.sent)
        assert journal_count(stack, what="max(book_unix_us) - min(book_unix_us)") > 29 * 86_400 * 10**6


async def test_a_clock_that_leaps_forth_closes_no_period_that_is_not_over(tmp_path: Path) -> None:
    offset = tmp_path / "offset_s"
    offset.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(file=str(offset)))
    (tmp_path / "stack").mkdir()
    settings = SETTINGS.replace("settle_s = 1", f"settle_s = 1\nperiod_s = {PERIOD_S}")
    async with Stack(tmp_path / "stack", settings, PYTHONPATH=str(tmp_path)) as stack:
        await stack.start("clickhouse", "ledger")
        served = leg_of_nobody(1)
        served.MergeFrom(leg_pb2.Leg(target=leg_pb2.TARGET_SOVEREIGN, upstream="home", latency_us=1))
        served.start_time.FromSeconds(int(time.time()) - 2 * PERIOD_S)
        async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
            await ledger_pb2_grpc.LedgerServiceStub(channel).Record(ledger_pb2.RecordRequest(legs=[served]))
        await becomes(lambda: last_period(stack) > 0, "a period is closed")
        offset.write_text("86400")
        began_s = int(time.time())
        await becomes(lambda: last_period(stack) >= began_s, "a period since then is closed too")
        assert last_period(stack) + PERIOD_S <= time.time()
        await stack.kill("clickhouse")


def last_period(stack: Stack) -> int:
    """When the last period that is closed began, in seconds since 1970; 0 if there is none."""
    what = "coalesce(max(json_extract(detail, '$.period_start_unix_s')), 0)"
    return journal_count(stack, "kind = 'pool_period'", what)


async def ask(stack: Stack, count: int) -> set[str]:
    """Sends requests through the router; gives their ids, which all must have been answered."""
    body = {"model": "stand-in-mini", "messages": [{"role": "user", "content": "Where is my card?"}]}
    headers = {"Authorization": f"Bearer {SECRETS.api_key}"}

    async def one(session: aiohttp.ClientSession) -> str:
        async with session.post(f"{stack.base_url}/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            return response.headers["x-homeward-request-id"]

    async with aiohttp.ClientSession(headers=headers) as session:
        return set(await asyncio.gather(*(one(session) for _ in range(count))))


async def in_the_router_queue(stack: Stack, count: int) -> None:
    """Waits until the router's queue on disk has taken that many legs, ever."""
    file = stack.folder / "router" / "0" / "legs.sqlite"

    def taken() -> bool:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'item'").fetchone()
        return bool(row) and row[0] >= count

    await becomes(taken, f"{count} legs in the router's queue")


async def test_what_the_router_was_asked_is_booked_whoever_is_killed(tmp_path: Path) -> None:
    answered: set[str] = set()
    async with ledger_stack(tmp_path, "stand-in-cloud", "router") as stack:
        for victim in ("ledger", "clickhouse", "router"):
            sending = asyncio.create_task(ask(stack, 40))
            if victim == "router":
                # What it was asked is on its disk a moment after the answer.
                answered |= await sending
                await in_the_router_queue(stack, len(answered))
            await stack.kill(victim)
            if victim != "router":
                answered |= await sending
            await stack.start(victim)
        answered |= await ask(stack, 40)
        await all_booked(stack, len(answered))
        rows = await stack.query("SELECT toString(request_id) FROM homeward.legs")
        assert sorted(row[0] for row in rows) == sorted(answered)
        assert (await verified(stack))["whole"]
