"""Many ledgers on one PostgreSQL: one chain of entries, one line of policies, nothing lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from grpc import StatusCode, aio
from homeward.common.v1 import leg_pb2, policy_pb2, usage_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from deploy.local.ports import free_ports
from services.common.stages import SHADOWED
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.decisions import Decisions
from services.ledger.adapters.journal.entries import Entries
from services.ledger.core.book import Kind
from tests.support.booking import becomes, verified
from tests.support.journal import tamper
from tests.support.policy import moved, policy_of, proposal
from tests.support.postgres import ESCAPED, PASSWORD, Postgres
from tests.support.refusals import info_of
from tests.support.stack import ROOT, WAIT_S, Stack, until

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

Stub = ledger_pb2_grpc.LedgerServiceStub

APPEND = """
import sys
from services.common.stages import SHADOWED
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from tests.support.journal import simple_draft
url, name = sys.argv[1:]
entries = Entries(Database(url))
print("ready", flush=True)
sys.stdin.readline()
for number in range(15):
    for batch in (f"shared-{number}", f"{name}-{number}"):
        entries.confirm(entries.append(simple_draft(batch), now_unix_us=number).entry_id)
        print(batch, flush=True)
"""
DECIDE = """
import os, sys, time
from services.common.errors import DomainError, Reason
from services.common.words import Stage
from services.common.stages import SHADOWED
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.decisions import Decisions
from services.ledger.core.policy import Change, Row
url, name = sys.argv[1:]
decisions = Decisions(Database(url))
print("ready", flush=True)
sys.stdin.readline()
for version in range(12):
    while decisions.policy.version < version:
        decisions.refresh()
    try:
        decisions.decide(
            lambda policy: Change(name, policy.rows.get(name), Row(name, Stage.SHADOWED), "a race"),
            request_id=os.urandom(16), expected_version=version, actor=name, evidence={}, now_unix_us=version,
        )
        print(version, flush=True)
    except DomainError as error:
        assert error.reason is Reason.POLICY_CHANGED, error
        assert error.metadata["expected_version"] == str(version)
"""


@pytest.fixture
def place(postgres: Postgres) -> str:
    return postgres.place()


def started(script: str, url: str, names: str) -> list[subprocess.Popen[str]]:
    """Processes that have opened the journal together, and begin together."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, url, name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def told(process: subprocess.Popen[str]) -> list[str]:
    """What it says until it ends."""
    assert process.stdout is not None
    lines = process.stdout.read().split()
    process.wait(WAIT_S)
    assert process.stdin is not None
    process.stdin.close()
    process.stdout.close()
    return lines


async def test_processes_that_append_at_once_lose_nothing_and_make_one_chain(place: str) -> None:
    *lasting, killed = started(APPEND, place, "abx")
    assert killed.stdout is not None
    acknowledged = [killed.stdout.readline().strip() for _ in range(10)]
    killed.send_signal(signal.SIGKILL)
    acknowledged += told(killed)
    for process in lasting:
        assert len(told(process)) == 30
        assert process.returncode == 0
    with closing(Database(place)) as database:
        entries = Entries(database)
        found = [entry.draft.batch for entry in entries.read(0, 1000)]
        checked = list(entries.check())
    assert len(found) == len(set(found))
    expected = {f"{name}-{number}" for name in ("shared", "a", "b") for number in range(15)}
    assert set(found) - {batch for batch in found if batch.startswith("x-")} == expected
    assert set(acknowledged) <= set(found)
    assert [item.entry_id for item in checked] == list(range(1, len(found) + 1))
    assert {item.problem for item in checked} == {None}


async def test_of_processes_that_decide_on_the_same_policy_exactly_one_wins(place: str) -> None:
    processes = started(DECIDE, place, "abc")
    wins = Counter(int(version) for process in processes for version in told(process))
    assert [process.returncode for process in processes] == [0] * 3
    assert wins == dict.fromkeys(range(12), 1)
    with closing(Database(place)) as database:
        decisions = Decisions(database)
        assert decisions.policy.version == 12
        assert [item.decision_id for item in decisions.decisions("", None, 100)] == list(range(12, 0, -1))


class Ledgers:
    """Two ledgers with spools of their own, on one PostgreSQL and one ClickHouse."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self.server = server
        self.journal_url = server.place()
        self.stack = Stack(folder, HOMEWARD_JOURNAL_URL=self.journal_url)
        self.ports = {"first": self.stack.ports["ledger"], "second": free_ports(1)[0]}
        self.sent = 0
        self._second: asyncio.subprocess.Process | None = None

    def waiting(self, name: str) -> int:
        """Legs in the spool of a ledger."""
        folder = {"first": "ledger", "second": "second"}[name]
        with closing(
            sqlite3.connect(f"file:{self.stack.folder / folder}/spool.sqlite?mode=ro", uri=True)
        ) as db:
            return int(db.execute("SELECT count(*) FROM item").fetchone()[0])

    async def kill_second(self) -> None:
        assert self._second is not None
        self._second.kill()
        await asyncio.wait_for(self._second.wait(), WAIT_S)

    async def start_second(self) -> None:
        part = self.stack.parts["ledger"]
        environment = {
            **part.environment,
            "HOMEWARD_JOURNAL_URL": self.journal_url,
            "HOMEWARD_LEDGER__GRPC": f"127.0.0.1:{self.ports['second']}",
            "HOMEWARD_LEDGER__STATE_DIR": str(self.stack.folder / "second"),
        }
        with (self.stack.folder / "second.log").open("ab") as log:
            self._second = await asyncio.create_subprocess_exec(
                *part.command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        async with aio.insecure_channel(f"127.0.0.1:{self.ports['second']}") as channel:
            await asyncio.wait_for(channel.channel_ready(), WAIT_S)

    def logs(self) -> str:
        return self.stack.log("ledger") + (self.stack.folder / "second.log").read_text()

    async def stop(self) -> None:
        if self._second is not None:
            self._second.terminate()
            await asyncio.wait_for(self._second.wait(), WAIT_S)
        await self.stack.stop()

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[Stub]:
        async with aio.insecure_channel(f"127.0.0.1:{self.ports[name]}") as channel:
            yield Stub(channel)


@pytest.fixture(scope="module")
def own_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """A server that a test may stop."""
    assert postgres.url
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="module")
async def ledgers(tmp_path_factory: pytest.TempPathFactory, own_postgres: Postgres) -> AsyncIterator[Ledgers]:
    made = Ledgers(tmp_path_factory.mktemp("replicas"), own_postgres)
    try:
        await made.stack.start("clickhouse", "ledger")
        await made.start_second()
        yield made
    finally:
        await made.stop()


def decision(version: int, rate_ppm: int) -> ledger_pb2.DecideRequest:
    row = policy_pb2.WorkloadPolicy(
        workload="summaries",
        allowed_targets=[leg_pb2.TARGET_CLOUD, leg_pb2.TARGET_SOVEREIGN],
        fallback_allowed=True,
    )
    return proposal(moved(row, SHADOWED, rate_ppm=rate_ppm), version)


def made(count: int) -> list[leg_pb2.Leg]:
    """Legs of the cloud."""
    legs = []
    for number in range(count):
        leg = leg_pb2.Leg(
            leg_id=os.urandom(16),
            request_id=os.urandom(16),
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            workload="summaries",
            purpose=leg_pb2.PURPOSE_PRODUCTION,
            target=leg_pb2.TARGET_CLOUD,
            upstream="cloud",
            provider="homeward-stand-in",
            model="stand-in-mini",
            usage=usage_pb2.Usage(
                source=usage_pb2.USAGE_SOURCE_UPSTREAM,
                input_tokens=1000 + number,
                cached_input_tokens=0,
                cache_write_tokens=0,
                output_tokens=10,
                reasoning_tokens=0,
            ),
            outcome=leg_pb2.OUTCOME_OK,
            http_status=200,
            attempts=1,
        )
        leg.start_time.FromSeconds(1_790_000_000 + number)
        legs.append(leg)
    return legs


async def send(ledgers: Ledgers, name: str, legs: Sequence[leg_pb2.Leg]) -> None:
    """Sends legs to a ledger that has not had them."""
    async with ledgers.client(name) as stub:
        answer = await stub.Record(ledger_pb2.RecordRequest(legs=legs), timeout=WAIT_S)
    assert answer.booked_count == len(legs)


async def record(ledgers: Ledgers, name: str, count: int) -> None:
    """Books legs at one of the ledgers; `ledgers.sent` counts those that it has acknowledged."""
    await send(ledgers, name, made(count))
    ledgers.sent += count


async def assert_booked(ledgers: Ledgers) -> None:
    """Waits until each leg is a row, and proves that the rows are once what the one chain says."""
    query = "SELECT count(), uniqExact(leg_id), sum(cost_nanos) FROM homeward.legs"

    async def all_there() -> bool:
        rows = (await ledgers.stack.query(query))[0][0]
        return bool(rows >= ledgers.sent and not any(map(ledgers.waiting, ledgers.ports)))

    try:
        await until(all_there, f"{ledgers.sent} rows, and no leg waits")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{ledgers.logs()}") from error
    with closing(Database(ledgers.journal_url)) as database:
        entries = Entries(database)

        async def confirmed() -> bool:
            return entries.whole_up_to() == entries.read(0, 10_000)[-1].entry_id

        await until(confirmed, "all entries are confirmed")
        checked = list(entries.check())
    ((count, different, cost_nanos),) = await ledgers.stack.query(query)
    assert count == different == ledgers.sent
    assert {item.problem for item in checked} == {None}
    drafts = [item.entry.draft for item in checked if item.entry is not None]
    assert sum(draft.leg_count for draft in drafts) == count
    assert sum(draft.cost_nanos for draft in drafts) == cost_nanos > 0


async def test_a_decision_at_one_ledger_reaches_those_who_watch_another(ledgers: Ledgers) -> None:
    async with ledgers.client("first") as first, ledgers.client("second") as second:
        watch = second.WatchPolicy(ledger_pb2.WatchPolicyRequest(), timeout=WAIT_S)
        before = (await watch.read()).policy
        # Both have settled the same settings at once, by one decision a workload.
        assert before.version == 2
        assert before == await policy_of(first)
        done = (await first.Decide(decision(2, 30_000))).decision
        after = (await watch.read()).policy
        watch.cancel()
        assert after.version == done.policy_version == 3
        assert done.after in after.workloads
        assert after.effective_time == done.decide_time
        # And back: the second goes on from what the first has decided.
        watch = first.WatchPolicy(ledger_pb2.WatchPolicyRequest(known_version=3), timeout=WAIT_S)
        done = (await second.Decide(decision(3, 40_000))).decision
        assert (await watch.read()).policy.version == done.policy_version == 4
        watch.cancel()


async def test_of_two_ledgers_that_decide_at_once_on_the_same_policy_one_wins(ledgers: Ledgers) -> None:
    async with ledgers.client("first") as first, ledgers.client("second") as second:
        version = (await policy_of(first)).version
        calls = [stub.Decide(decision(version, 50_000)) for _ in range(4) for stub in (first, second)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        refused = [item for item in done if isinstance(item, aio.AioRpcError)]
        assert [error.code() for error in refused] == [StatusCode.ABORTED] * 7
        for stub in (first, second):

            async def learned(stub: Stub = stub) -> bool:
                return bool((await policy_of(stub)).version == version + 1)

            await until(learned, "both know the decision")
        assert await policy_of(first) == await policy_of(second)


async def test_two_ledgers_book_into_one_chain_also_if_one_is_killed(ledgers: Ledgers) -> None:
    for _ in range(3):
        await asyncio.gather(*(record(ledgers, name, 40) for name in ("first", "second")))
    await ledgers.stack.kill("ledger")
    await record(ledgers, "second", 40)
    await ledgers.stack.start("ledger")
    await record(ledgers, "first", 40)
    await assert_booked(ledgers)


async def test_legs_that_a_router_sends_to_a_second_ledger_are_booked_once(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has them on its disk and fell silent before it answered; then it comes back."""
    legs = made(120)
    await asyncio.to_thread(ledgers.server.stop)
    try:
        await send(ledgers, "first", legs[:80])
        await ledgers.stack.kill("ledger")
        await send(ledgers, "second", legs[40:])
    finally:
        await asyncio.to_thread(ledgers.server.start)
    await becomes(lambda: ledgers.waiting("second") == 0, "the second has booked its legs")
    assert ledgers.waiting("first") == 80
    await ledgers.stack.start("ledger")
    ledgers.sent += len(legs)
    await assert_booked(ledgers)
    # And all at once, to both.
    for _ in range(5):
        legs = made(60)
        await asyncio.gather(*(send(ledgers, name, legs) for name in ("first", "second")))
        ledgers.sent += len(legs)
    await assert_booked(ledgers)
    monkeypatch.setenv("HOMEWARD_JOURNAL_URL", ledgers.journal_url)
    told = await verified(ledgers.stack)
    assert (told["whole"], told["difference"], told["legs"]) == (True, None, ledgers.sent)


async def test_a_batch_that_lost_legs_to_another_ledger_is_the_same_after_a_crash(ledgers: Ledgers) -> None:
    """Killed between entry and rows, when what is claimed has changed since."""
    legs = made(90)
    await send(ledgers, "first", legs[:50])
    await becomes(lambda: ledgers.waiting("first") == 0, "the first has booked its legs")
    await ledgers.stack.kill("clickhouse")
    await send(ledgers, "second", legs[20:])
    with closing(Database(ledgers.journal_url)) as database:
        entries = Entries(database)
        await becomes(lambda: bool(entries.unconfirmed(Kind.LEGS)), "the second has its entry")
        [entry] = entries.unconfirmed(Kind.LEGS)
    assert (entry.draft.leg_count, entry.draft.detail["left_out"]) == (40, [[0, 30]])
    await ledgers.kill_second()
    # As after a week: nobody knows any more what the first has booked.
    tamper(ledgers.journal_url, "DELETE FROM leg_claim")
    await ledgers.stack.start("clickhouse")
    await ledgers.start_second()
    ledgers.sent += len(legs)
    await assert_booked(ledgers)


async def test_while_postgresql_is_away_legs_are_taken_and_decisions_are_not(ledgers: Ledgers) -> None:
    await asyncio.to_thread(ledgers.server.stop)
    try:
        for name in ("first", "second"):
            await record(ledgers, name, 40)
            async with ledgers.client(name) as stub:
                with pytest.raises(aio.AioRpcError) as away:
                    await stub.Decide(decision((await policy_of(stub)).version, 60_000), timeout=WAIT_S)
            assert away.value.code() is StatusCode.UNAVAILABLE
            info = info_of(away.value)
            assert (info.reason, info.metadata["store"]) == ("STORAGE_UNAVAILABLE", "journal")
            assert PASSWORD not in str(away.value)

        async def told() -> bool:
            return "homeward:***@" in ledgers.logs()

        await until(told, "a log says which journal is away")
    finally:
        await asyncio.to_thread(ledgers.server.start)
    await assert_booked(ledgers)
    async with ledgers.client("first") as first, ledgers.client("second") as second:
        version = (await policy_of(first)).version
        await first.Decide(decision(version, 60_000))
        call = second.WatchPolicy(ledger_pb2.WatchPolicyRequest(known_version=version), timeout=WAIT_S)
        assert (await call.read()).policy.version == version + 1
        call.cancel()


async def test_no_log_has_the_password_of_the_journal(ledgers: Ledgers) -> None:
    said = ledgers.logs()
    assert said.count("listening") == 5
    assert PASSWORD not in said
    assert ESCAPED not in said
