"""The ledger's promises, asked of the ledger itself: each leg once, each decision explained."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
import pytest
import pytest_asyncio
from clickhouse_connect.driver.client import Client
from google.protobuf import timestamp_pb2
from grpc import StatusCode, aio
from homeward.common.v1 import leg_pb2, policy_pb2, usage_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common import stages
from services.common.settings import ClickHouse
from services.common.stages import CANARIES, ROLLED_BACK, SHADOWED
from services.ledger.adapters.clickhouse import MIGRATIONS, MigrationError, connect, migrate
from tests.support.policy import EXPERIMENT, SALT, bring_to, moved, policy_of, proposal, ready
from tests.support.refusals import info_of, retry_of
from tests.support.stack import ROOT, SECRETS, WAIT_S, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

Stub = ledger_pb2_grpc.LedgerServiceStub
Leg = leg_pb2.Leg
Usage = usage_pb2.Usage
Time = timestamp_pb2.Timestamp

SPOOL_ROWS = 10_000
EXIT_SETTINGS = 64


@pytest.fixture(scope="module")
async def ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ledger with its ClickHouse, and a spool that a single call can fill."""
    folder = tmp_path_factory.mktemp("ledger")
    async with Stack(folder, HOMEWARD_LEDGER__SPOOL_ROWS=str(SPOOL_ROWS)) as running:
        await running.start("clickhouse", "ledger")
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def own_spool(ledger: Stack) -> AsyncIterator[Stack]:
    """The ledger with a spool that is thrown away if the test leaves something in it."""
    yield ledger
    if not await is_drained(ledger):
        await ledger.kill("ledger")
        for file in (ledger.folder / "ledger").glob("spool.sqlite*"):
            file.unlink()
        await ledger.start("ledger")


@asynccontextmanager
async def client(stack: Stack) -> AsyncIterator[Stub]:
    """A client of the ledger."""
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
        yield Stub(channel)


async def record(stack: Stack, legs: Sequence[Leg]) -> tuple[int, int]:
    """Records legs; gives how many were new and how many were not."""
    async with client(stack) as stub:
        response = await stub.Record(ledger_pb2.RecordRequest(legs=legs), timeout=WAIT_S)
    return response.booked_count, response.duplicate_count


async def record_at_last(stack: Stack, legs: Sequence[Leg]) -> None:
    """Records legs as a router does: again and again until there is an answer."""

    async def recorded() -> bool:
        try:
            await record(stack, legs)
        except aio.AioRpcError as error:
            if error.code() in (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED):
                return False
            raise
        return True

    await until(recorded, "the ledger takes the legs")


def leg(**changes: Any) -> Leg:
    """A leg of a production request that was answered, but for the changes."""
    fields = {
        "leg_id": os.urandom(16),
        "request_id": os.urandom(16),
        "trace_id": os.urandom(16),
        "span_id": os.urandom(8),
        "start_time": datetime.now(UTC),
        "workload": "ticket-triage",
        "key_name": "demo",
        "purpose": leg_pb2.PURPOSE_PRODUCTION,
        "target": leg_pb2.TARGET_CLOUD,
        "upstream": "cloud",
        "provider": "homeward-stand-in",
        "model_requested": "stand-in-mini",
        "model": "stand-in-mini",
        "api": "chat.completions",
        "usage": usage(input=1000, output=500),
        "latency_us": 250_000,
        "outcome": leg_pb2.OUTCOME_OK,
        "http_status": 200,
        "attempts": 1,
        **changes,
    }
    return Leg(**fields)


def usage(**counts: int) -> Usage:
    """Token counts that the upstream reported; classes that are not named are zero."""
    classes = ("input", "cached_input", "cache_write", "output", "reasoning")
    fields: dict[str, Any] = {f"{name}_tokens": counts.get(name, 0) for name in classes}
    return Usage(source=usage_pb2.USAGE_SOURCE_UPSTREAM, **fields)


async def rows(stack: Stack, legs: Sequence[Leg], columns: str = "leg_id") -> list[Sequence[Any]]:
    """The rows of the legs once ClickHouse has all that the ledger has."""
    await drained(stack)
    ids = ", ".join({f"'{item.leg_id.hex()}'" for item in legs})
    where = f"replaceAll(toString(leg_id), '-', '') IN ({ids})"
    return await stack.query(f"SELECT {columns} FROM homeward.legs WHERE {where} ORDER BY start_time, leg_id")


async def drained(stack: Stack) -> None:
    """Waits until nothing waits in the spool."""

    async def empty() -> bool:
        return await is_drained(stack)

    await until(empty, "the spool is empty")


async def is_drained(stack: Stack) -> bool:
    """True if nothing waits in the spool."""
    with spool(stack) as db:
        waiting: int = db.execute("SELECT count(*) FROM item WHERE payload IS NOT NULL").fetchone()[0]
        return waiting == 0


def spool(stack: Stack) -> closing[sqlite3.Connection]:
    """The spool's file, to look at."""
    file = stack.folder / "ledger" / "spool.sqlite"
    return closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True))


# Record.


async def test_a_leg_is_a_row(ledger: Stack) -> None:
    sent = leg(
        start_time=datetime(2026, 3, 4, 5, 6, 7, 890123, UTC),
        evidence=2,
        task_type=6,
        region="eu",
        streamed=True,
        ttft_us=1234,
        policy_version=7,
        sample_id=bytes(range(16)),
    )
    assert await record(ledger, [sent]) == (1, 0)
    columns = {
        "replaceAll(toString(request_id), '-', '')": sent.request_id.hex(),
        "trace_id": sent.trace_id.hex(),
        "span_id": sent.span_id.hex(),
        "toString(start_time)": "2026-03-04 05:06:07.890123",
        "workload": "ticket-triage",
        "evidence": "fingerprint",
        "task_type": "context_qa",
        "key_name": "demo",
        "purpose": "production",
        "target": "cloud",
        "upstream": "cloud",
        "provider": "homeward-stand-in",
        "region": "eu",
        "model_requested": "stand-in-mini",
        "model": "stand-in-mini",
        "api": "chat.completions",
        "streamed": True,
        "input_tokens": 1000,
        "cached_input_tokens": 0,
        "output_tokens": 500,
        "reasoning_tokens": 0,
        "usage_source": "upstream",
        "latency_us": 250_000,
        "ttft_us": 1234,
        "outcome": "ok",
        "http_status": 200,
        "error_reason": "",
        "attempts": 1,
        "policy_version": 7,
        "sample_id": bytes(range(16)).hex(),
    }
    (row,) = await rows(ledger, [sent], ", ".join(columns))
    assert dict(zip(columns, row, strict=True)) == columns


async def test_no_legs_are_booked_by_a_call_without_any(ledger: Stack) -> None:
    assert await record(ledger, []) == (0, 0)


async def test_legs_that_come_again_are_counted_as_duplicates_and_stay_one_row(ledger: Stack) -> None:
    legs = [leg() for _ in range(5)]
    assert await record(ledger, legs) == (5, 0)
    assert await record(ledger, legs) == (0, 5)
    await drained(ledger)
    # Those that have left the spool are remembered too.
    assert await record(ledger, [*legs, leg()]) == (1, 5)
    assert len(await rows(ledger, legs)) == 5


async def test_a_leg_that_is_twice_in_one_call_is_one_row(ledger: Stack) -> None:
    one, other = leg(), leg()
    assert await record(ledger, [one, one, other, one]) == (2, 2)
    assert len(await rows(ledger, [one, other])) == 2


async def test_eight_callers_with_the_same_legs_book_them_once(ledger: Stack) -> None:
    legs = [leg() for _ in range(50)]
    done = await asyncio.gather(*(record(ledger, legs) for _ in range(8)))
    assert sum(new for new, _ in done) == 50
    assert sum(duplicate for _, duplicate in done) == 350
    assert len(await rows(ledger, legs)) == 50


async def test_a_response_means_durable_and_a_leg_that_comes_again_after_kill_9_is_known(
    ledger: Stack,
) -> None:
    legs: list[Leg] = []
    for _ in range(3):
        legs += (batch := [leg() for _ in range(10)])
        assert await record(ledger, batch) == (10, 0)
        await ledger.kill("ledger")
        await ledger.start("ledger")
        assert await record(ledger, legs) == (0, len(legs))
    assert len(await rows(ledger, legs)) == len(legs)


WRONG_LEGS: dict[str, tuple[Leg, str]] = {
    "no leg_id": (leg(leg_id=b""), "leg_id"),
    "a short leg_id": (leg(leg_id=bytes(15)), "leg_id"),
    "a long leg_id": (leg(leg_id=bytes(17)), "leg_id"),
    "a short request_id": (leg(request_id=bytes(8)), "request_id"),
    "a short trace_id": (leg(trace_id=bytes(8)), "trace_id"),
    "a long span_id": (leg(span_id=bytes(16)), "span_id"),
    "no purpose": (leg(purpose=0), "purpose"),
    "no target": (leg(target=0), "target"),
    "no outcome": (leg(outcome=0), "outcome"),
    "no start_time": (leg(start_time=None), "start_time"),
}
"""Legs that break the contract, and the field that does."""


@pytest.mark.parametrize(("wrong", "field"), WRONG_LEGS.values(), ids=WRONG_LEGS.keys())
@pytest.mark.parametrize("position", [0, 1])
async def test_a_leg_that_breaks_the_contract_is_named_and_nothing_of_the_call_is_booked(
    ledger: Stack, wrong: Leg, field: str, position: int
) -> None:
    good = leg()
    with pytest.raises(aio.AioRpcError) as caught:
        await record(ledger, [good] * position + [wrong])
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    info = info_of(caught.value)
    assert info.reason == "INVALID_REQUEST"
    assert info.metadata["field"] == f"legs[{position}].{field}"
    assert await rows(ledger, [good]) == []
    assert await record(ledger, [good]) == (1, 0)


async def test_more_than_10_000_legs_are_refused(ledger: Stack) -> None:
    legs = [leg()] * 10_001
    with pytest.raises(aio.AioRpcError) as caught:
        await record(ledger, legs)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    assert info_of(caught.value).metadata["field"] == "legs"
    assert await rows(ledger, legs[:1]) == []


ABSURD_LEGS = {
    "a time after all calendars": leg(start_time=Time(seconds=10**14)),
    "a time before all calendars": leg(start_time=Time(seconds=-(10**14))),
    "a year that ClickHouse does not have": leg(start_time=datetime(9000, 1, 1, tzinfo=UTC)),
    "an odd fraction of a second": leg(start_time=Time(seconds=1_790_000_000, nanos=2_000_000_000)),
    "a status of five digits": leg(http_status=70_000),
    "very many attempts": leg(attempts=70_000),
    "more tokens than money": leg(usage=usage(input=2**64 - 1)),
    "a purpose of the future": leg(purpose=99),
    "an outcome of the future": leg(outcome=99),
    "a long text": leg(error_reason="x" * 1_000_000),
}
"""Legs that keep to the contract's types and nothing else: an upstream's nonsense, another version's."""


@pytest.mark.parametrize("absurd", ABSURD_LEGS.values(), ids=ABSURD_LEGS.keys())
async def test_an_absurd_leg_is_refused_or_booked_and_never_holds_up_those_behind_it(
    own_spool: Stack, absurd: Leg
) -> None:
    try:
        await record(own_spool, [absurd])
    except aio.AioRpcError as error:
        assert error.code() is StatusCode.INVALID_ARGUMENT, error.details()  # noqa: PT017
    behind = [leg() for _ in range(3)]
    await record(own_spool, behind)
    assert len(await rows(own_spool, behind)) == 3


async def test_a_batch_over_two_months_survives_kill_9_of_clickhouse_in_mid_insert(ledger: Stack) -> None:
    months = (datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC))
    booked: list[Leg] = []
    for delay_s in (0, 0.02, 0.05, 0.1):
        legs = [leg(start_time=months[index % 2]) for index in range(4000)]
        before = last_batch(ledger)
        await record(ledger, legs)
        booked += legs
        # An insert begins when its batch is sealed; each round kills at another point of it.
        deadline = time.monotonic() + WAIT_S
        while last_batch(ledger) == before:
            assert time.monotonic() < deadline, "no batch was sealed"
        await asyncio.sleep(delay_s)
        await ledger.kill("clickhouse")
        await ledger.start("clickhouse")
        await drained(ledger)
    ((count, unique, parts),) = await ledger.query(
        "SELECT count(), uniqExact(leg_id), uniqExact(toYYYYMM(start_time)) FROM homeward.legs"
        " WHERE toYYYYMM(start_time) IN (202605, 202606)"
    )
    assert (count, unique, parts) == (len(booked), len(booked), 2)


def last_batch(stack: Stack) -> int:
    """The number of the last batch that was sealed."""
    with spool(stack) as db:
        number: int = db.execute("SELECT last_batch FROM state").fetchone()[0]
        return number


# Prices.


def public_price(provider: str, model: str, at: datetime, **counts: int) -> int:
    """What genai-prices says that a call costs, in nano-dollars."""
    found = genai_prices.calc_price(
        genai_prices.Usage(**counts), model, provider_id=provider, genai_request_timestamp=at
    )
    nanos = found.total_price * Decimal(10**9)
    return int(nanos.to_integral_value())


NOON = datetime(2026, 2, 3, 12, 0, 0, tzinfo=UTC)
UNKNOWN_USAGE = Usage(source=usage_pb2.USAGE_SOURCE_UNKNOWN)
GPT = {"provider": "openai", "model": "gpt-4o-mini", "start_time": NOON}
PRICED = {
    "a price in the settings": (
        leg(usage=usage(input=1000, cached_input=200, output=500)),
        # 0.15, 0.075 and 0.60 dollars a million tokens.
        (1000 * 150 + 200 * 75 + 500 * 600, "settings"),
    ),
    "reasoning costs as output": (leg(usage=usage(reasoning=500)), (500 * 600, "settings")),
    "no tokens cost nothing": (leg(usage=usage()), (0, "settings")),
    "a public price": (
        leg(**GPT, usage=usage(input=1000, output=500)),
        (public_price("openai", "gpt-4o-mini", NOON, input_tokens=1000, output_tokens=500), "genai-prices"),
    ),
    "a public price with a cache": (
        leg(**GPT, usage=usage(input=600, cached_input=400, output=77)),
        (
            public_price(
                "openai",
                "gpt-4o-mini",
                NOON,
                input_tokens=1000,
                cache_read_tokens=400,
                output_tokens=77,
            ),
            "genai-prices",
        ),
    ),
    "a public price with a cache that is written": (
        leg(
            provider="anthropic",
            model="claude-sonnet-4-5",
            start_time=NOON,
            usage=usage(input=100, cached_input=400, cache_write=500, output=77),
        ),
        (
            public_price(
                "anthropic",
                "claude-sonnet-4-5",
                NOON,
                input_tokens=1000,
                cache_read_tokens=400,
                cache_write_tokens=500,
                output_tokens=77,
            ),
            "genai-prices",
        ),
    ),
    "a model that the provider does not have": (leg(provider="openai", model="mine"), (None, "unknown")),
    "a provider that nobody knows": (leg(provider="nobody", model="gpt-4o-mini"), (None, "unknown")),
    "unknown usage": (leg(usage=UNKNOWN_USAGE), (None, "unknown")),
    "unknown usage at a public price": (leg(**GPT, usage=UNKNOWN_USAGE), (None, "unknown")),
    "rejected": (leg(outcome=leg_pb2.OUTCOME_REJECTED, usage=UNKNOWN_USAGE), (0, "not_billed")),
    "unreachable": (leg(outcome=leg_pb2.OUTCOME_UNREACHABLE, usage=UNKNOWN_USAGE), (0, "not_billed")),
    "broken, usage unknown": (leg(outcome=leg_pb2.OUTCOME_BROKEN, usage=UNKNOWN_USAGE), (None, "unknown")),
    "cancelled, usage estimated": (
        leg(outcome=leg_pb2.OUTCOME_CANCELLED, usage=usage(input=100, output=10)),
        (100 * 150 + 10 * 600, "settings"),
    ),
}
"""Legs, and their cost in nano-dollars with its source."""


@pytest.mark.parametrize(("sent", "expected"), PRICED.values(), ids=PRICED.keys())
async def test_a_leg_has_its_cost_or_none(ledger: Stack, sent: Leg, expected: tuple[int | None, str]) -> None:
    await record(ledger, [sent])
    (row,) = await rows(ledger, [sent], "cost_nanos, price_source")
    assert tuple(row) == expected


async def test_unknown_usage_is_not_zero(ledger: Stack) -> None:
    sent = leg(usage=UNKNOWN_USAGE)
    await record(ledger, [sent])
    columns = (
        "input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage_source"
    )
    assert [tuple(row) for row in await rows(ledger, [sent], columns)] == [(*[None] * 5, "unknown")]


# ClickHouse away.


async def test_without_clickhouse_legs_are_taken_until_the_spool_is_full_and_leave_by_themselves(
    own_spool: Stack,
) -> None:
    await own_spool.stop("clickhouse")
    first, rest = [leg() for _ in range(10)], [leg() for _ in range(SPOOL_ROWS - 10)]
    assert await record(own_spool, first) == (10, 0)
    assert await record(own_spool, rest) == (len(rest), 0)
    late = [leg()]
    with pytest.raises(aio.AioRpcError) as caught:
        await record(own_spool, late)
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
    info = info_of(caught.value)
    assert (info.reason, info.metadata["queue"]) == ("QUEUE_FULL", "legs")
    assert info.metadata["limit"] == str(SPOOL_ROWS)
    assert retry_of(caught.value).retry_delay.seconds > 0
    await own_spool.start("clickhouse")
    await record_at_last(own_spool, late)
    assert len(await rows(own_spool, [*first, *late])) == 11
    ((count,),) = await own_spool.query("SELECT count() - uniqExact(leg_id) FROM homeward.legs")
    assert count == 0


async def test_a_backlog_survives_a_restart_of_the_ledger(ledger: Stack) -> None:
    await ledger.stop("clickhouse")
    legs = [leg() for _ in range(20)]
    assert await record(ledger, legs) == (20, 0)
    await ledger.kill("ledger")
    await ledger.start("clickhouse", "ledger")
    assert len(await rows(ledger, legs)) == 20


# Migrations.


@pytest.fixture
def writer(ledger: Stack) -> Iterator[Client]:
    """A ClickHouse client of the services' user."""
    url = f"http://127.0.0.1:{ledger.ports['clickhouse']}"
    opened = connect(ClickHouse(url=url, user="homeward", password=SECRETS.clickhouse_password))
    yield opened
    opened.close()


async def applied(ledger: Stack) -> list[tuple[int, str]]:
    """The numbers and names of the migrations that were applied."""
    found = await ledger.query("SELECT number, name FROM homeward.schema_migrations ORDER BY number")
    return [(row[0], row[1]) for row in found]


async def test_migrations_are_applied_once_however_often_the_ledger_starts(ledger: Stack) -> None:
    for _ in range(2):
        await ledger.stop("ledger")
        await ledger.start("ledger")
        await record(ledger, [leg()])
        await drained(ledger)
    expected = [(int(file.stem.split("_")[0]), file.stem) for file in sorted(MIGRATIONS.glob("*.sql"))]
    assert await applied(ledger) == expected


async def test_a_migration_that_was_applied_may_not_be_changed(
    ledger: Stack, writer: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    before = await applied(ledger)
    assert await asyncio.to_thread(migrate, writer, folder) == []
    with (folder / "0001_legs.sql").open("a") as file:
        file.write("-- An afterthought.\n")
    (folder / "9998_more.sql").write_text("CREATE TABLE homeward.more (a String) ENGINE = Null;\n")
    with pytest.raises(MigrationError, match=r"0001_legs\.sql was changed after it was applied"):
        await asyncio.to_thread(migrate, writer, folder)
    assert await applied(ledger) == before


async def test_a_migration_that_fails_is_named_and_is_not_noted_as_applied(
    ledger: Stack, writer: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    (folder / "9999_wrong.sql").write_text("SELECT 1;\nCREATE NONSENSE;\n")
    before = await applied(ledger)
    with pytest.raises(MigrationError, match=r"9999_wrong\.sql: "):
        await asyncio.to_thread(migrate, writer, folder)
    assert await applied(ledger) == before


# Policy and decisions.


def row(**changes: Any) -> policy_pb2.WorkloadPolicy:
    """A policy row of a registered workload, shadowed but for the changes."""
    fields = {
        "workload": "summaries",
        "stage": policy_pb2.STAGE_SHADOWED,
        "allowed_targets": [leg_pb2.TARGET_CLOUD, leg_pb2.TARGET_SOVEREIGN],
        "fallback_allowed": True,
        "sampling": sampling(),
        **changes,
    }
    return policy_pb2.WorkloadPolicy(**fields)


def sampling(**changes: Any) -> policy_pb2.Sampling:
    """How a shadowed row is sampled, but for the changes."""
    fields = {"experiment_id": EXPERIMENT, "epoch": 1, "rate_ppm": 20_000, "salt": SALT, **changes}
    return policy_pb2.Sampling(**fields)


def decision(version: int, **changes: Any) -> ledger_pb2.DecideRequest:
    """A proposed decision that rests on a version of the policy."""
    return proposal(changes.pop("after", row()), version, **changes)


async def test_the_policy_comes_at_once_and_again_after_a_decision(ledger: Stack) -> None:
    async with client(ledger) as stub:
        watch = stub.WatchPolicy(ledger_pb2.WatchPolicyRequest(), timeout=WAIT_S)
        first = (await watch.read()).policy
        assert {item.workload for item in first.workloads} == {"summaries", "ticket-triage"}
        after = row()
        done = (await stub.Decide(decision(first.version, after=after))).decision
        second = (await watch.read()).policy
        watch.cancel()
    assert done.policy_version == second.version == first.version + 1
    assert after in second.workloads
    assert done.after == after
    assert done.before in first.workloads


async def test_a_policy_says_since_when_it_holds(ledger: Stack) -> None:
    async with client(ledger) as stub:
        policy = await policy_of(stub)
        (last,) = (await stub.ListDecisions(ledger_pb2.ListDecisionsRequest(page_size=1))).decisions
    assert policy.effective_time == last.decide_time


async def test_a_watcher_that_knows_the_policy_hears_only_of_the_next(ledger: Stack) -> None:
    async with client(ledger) as stub:
        known = await policy_of(stub)
        next_one = asyncio.create_task(policy_of(stub, known.version))
        await stub.Decide(decision(known.version))
        assert (await next_one).version == known.version + 1


async def test_a_decision_that_rests_on_an_older_policy_is_aborted(ledger: Stack) -> None:
    async with client(ledger) as stub:
        version = (await policy_of(stub)).version
        for stale in (version - 1, version + 1):
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.Decide(decision(stale))
            assert caught.value.code() is StatusCode.ABORTED
            info = info_of(caught.value)
            assert info.reason == "POLICY_CHANGED"
            assert dict(info.metadata) == {"expected_version": str(stale), "current_version": str(version)}
        assert (await policy_of(stub)).version == version


async def test_of_decisions_at_once_on_the_same_policy_one_is_taken(ledger: Stack) -> None:
    async with client(ledger) as stub:
        version = (await policy_of(stub)).version
        calls = [stub.Decide(decision(version)) for _ in range(8)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        refused = [item.code() for item in done if isinstance(item, aio.AioRpcError)]
        assert refused == [StatusCode.ABORTED] * 7
        assert (await policy_of(stub)).version == version + 1


async def test_a_decision_that_comes_again_is_the_one_of_before(ledger: Stack) -> None:
    async with client(ledger) as stub:
        request = decision((await policy_of(stub)).version)
        first = await stub.Decide(request)
        again = await asyncio.gather(*(stub.Decide(request) for _ in range(5)))
        assert list(again) == [first] * 5
        assert (await policy_of(stub)).version == first.decision.policy_version


WRONG_DECISIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a short request_id": ({"request_id": bytes(15)}, "request_id"),
    "no actor": ({"actor": ""}, "actor"),
    "no reason": ({"reason": ""}, "reason"),
    "no row": ({"after": None}, "after.workload"),
    "no stage": ({"after": row(stage=0)}, "after.stage"),
    "an unknown stage": ({"after": row(stage=99)}, "after.stage"),
    "no targets": ({"after": row(allowed_targets=[])}, "after.allowed_targets"),
    "an unspecified target": ({"after": row(allowed_targets=[0])}, "after.allowed_targets"),
    "an unknown target": ({"after": row(allowed_targets=[1, 99])}, "after.allowed_targets"),
    "more than all": ({"after": row(sovereign_share_ppm=1_000_001)}, "after.sovereign_share_ppm"),
    "more samples than requests": ({"after": row(sampling=sampling(rate_ppm=1_000_001))}, "after.sampling"),
    "an experiment of 15 bytes": (
        {"after": row(sampling=sampling(experiment_id=bytes(15)))},
        "after.sampling",
    ),
    "no salt": ({"after": row(sampling=sampling(salt=b""))}, "after.sampling"),
    "no epoch": ({"after": row(sampling=sampling(epoch=0))}, "after.sampling"),
    "a shadowed row without sampling": ({"after": row(sampling=None)}, "after.sampling"),
    "evidence that is no number": ({"evidence": {"log_k": float("nan")}}, "evidence"),
}
"""Decisions that break the contract, and the field that does."""


@pytest.mark.parametrize(("changes", "field"), WRONG_DECISIONS.values(), ids=WRONG_DECISIONS.keys())
async def test_a_decision_that_breaks_the_contract_is_refused_and_changes_nothing(
    ledger: Stack, changes: dict[str, Any], field: str
) -> None:
    async with client(ledger) as stub:
        version = (await policy_of(stub)).version
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Decide(decision(version, **changes))
        assert (await policy_of(stub)).version == version
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT, caught.value.details()
    info = info_of(caught.value)
    assert info.reason == "INVALID_REQUEST"
    assert f"{info.metadata['field']}.".startswith(f"{field}.")


async def at(stub: Stub, workload: str = "summaries") -> tuple[policy_pb2.WorkloadPolicy, int]:
    """A workload's row, and the version of the policy that has it."""
    policy = await policy_of(stub)
    return next(item for item in policy.workloads if item.workload == workload), policy.version


async def test_a_workload_walks_home_and_back_by_decisions_that_the_journal_explains(ledger: Stack) -> None:
    async with client(ledger) as stub:
        await bring_to(stub, "summaries", SHADOWED)
        first = (await at(stub))[1]
        last = await bring_to(stub, "summaries", stages.HOME, rate_ppm=5_000)
        row_at_home, _ = await at(stub)
        assert row_at_home.sovereign_share_ppm == 1_000_000
        assert row_at_home.sampling == sampling(rate_ppm=5_000, reversed=True)
        steps = (await all_decisions(stub, workload="summaries"))[: last - first]
        assert [step.after.sovereign_share_ppm for step in reversed(steps)] == [
            10_000,
            50_000,
            250_000,
            500_000,
            1_000_000,
        ]
        for step in steps:
            assert dict(step.evidence) == ready(step.after)
        # Back at once, and without any evidence.
        back = proposal(moved(row_at_home, ROLLED_BACK), last, evidence={})
        assert (await stub.Decide(back)).decision.policy_version == last + 1
        assert (await at(stub))[0] == row(stage=policy_pb2.STAGE_ROLLED_BACK, sampling=None)


async def test_a_move_that_is_not_in_the_table_is_refused_and_changes_nothing(ledger: Stack) -> None:
    async with client(ledger) as stub:
        await bring_to(stub, "summaries", SHADOWED)
        before, version = await at(stub)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Decide(proposal(moved(before, stages.HOME), version))
        assert caught.value.code() is StatusCode.FAILED_PRECONDITION
        info = info_of(caught.value)
        assert info.reason == "STAGE_MOVE_FORBIDDEN"
        assert dict(info.metadata) == {"workload": "summaries", "from": "SHADOWED", "to": "HOME"}
        assert await at(stub) == (before, version)


@pytest.mark.parametrize("missing", ["verdict", "experiment_id", "histogram_sha256", "log_k", "window_start"])
async def test_a_move_home_names_what_its_evidence_lacks(ledger: Stack, missing: str) -> None:
    async with client(ledger) as stub:
        await bring_to(stub, "summaries", SHADOWED)
        before, version = await at(stub)
        after = moved(before, CANARIES[0])
        evidence = {name: value for name, value in ready(after).items() if name != missing}
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Decide(proposal(after, version, evidence=evidence))
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT
        assert info_of(caught.value).metadata["field"] == f"evidence.{missing}"
        assert await at(stub) == (before, version)


async def all_decisions(stub: Stub, page_size: int = 1000, workload: str = "") -> list[ledger_pb2.Decision]:
    """The journal, page by page."""
    found: list[ledger_pb2.Decision] = []
    token = ""
    while True:
        page = await stub.ListDecisions(
            ledger_pb2.ListDecisionsRequest(workload=workload, page_size=page_size, page_token=token)
        )
        assert len(page.decisions) <= page_size
        found += page.decisions
        token = page.next_page_token
        if not token:
            return found


async def test_decisions_come_in_pages_the_newest_first(ledger: Stack) -> None:
    async with client(ledger) as stub:
        for _ in range(3):
            await stub.Decide(decision((await policy_of(stub)).version, evidence={"log_k": 4.5}))
        whole = await all_decisions(stub)
        assert [item.decision_id for item in whole] == list(range(len(whole), 0, -1))
        assert {item.actor for item in whole} == {"settings", "tests"}
        assert dict(whole[0].evidence) == {"log_k": 4.5}
        for size in (1, 2, 3):
            assert await all_decisions(stub, size) == whole
        assert await all_decisions(stub, 2, "ticket-triage") == [
            item for item in whole if item.workload == "ticket-triage"
        ]
        assert await all_decisions(stub, 2, "nobody") == []


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "9" * 40])
async def test_a_page_token_that_nobody_gave_is_an_invalid_argument(ledger: Stack, token: str) -> None:
    async with client(ledger) as stub:
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ListDecisions(ledger_pb2.ListDecisionsRequest(page_token=token))
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT, caught.value.details()
    assert info_of(caught.value).metadata["field"] == "page_token"


async def test_the_journal_and_its_policy_survive_kill_9(ledger: Stack) -> None:
    async with client(ledger) as stub:
        request = decision((await policy_of(stub)).version, after=row(allowed_regions=[]))
        made = await stub.Decide(request)
        await ledger.kill("ledger")
    async with client(ledger) as stub:
        await ledger.start("ledger")
        assert (await all_decisions(stub))[0] == made.decision
        policy = await policy_of(stub)
        assert policy.version == made.decision.policy_version
        assert request.after in policy.workloads
        # The same call is known after the restart too.
        assert await stub.Decide(request) == made


TAMPERED = {
    "another reason": "UPDATE decision SET reason = 'because' WHERE decision_id = 2",
    "another row": "UPDATE decision SET after = before WHERE decision_id = 2",
    "another hash": "UPDATE decision SET entry_sha256 = zeroblob(32) WHERE decision_id = 2",
    "an entry taken away": "DELETE FROM decision WHERE decision_id = 1",
}
"""What somebody might do to the journal, and would have to be told of at the next start."""


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED.keys())
async def test_a_journal_that_somebody_changed_stops_the_ledger(
    ledger: Stack, tmp_path: Path, change: str
) -> None:
    # A copy, with settings of its own.
    other = Stack(tmp_path)
    (tmp_path / "ledger").mkdir()
    journal = tmp_path / "ledger" / "journal.sqlite"
    with (
        closing(sqlite3.connect(ledger.folder / "ledger" / "journal.sqlite")) as original,
        closing(sqlite3.connect(journal)) as copy,
    ):
        original.backup(copy)
        copy.execute(change)
        copy.commit()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ledger", str(other.settings_file)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode == EXIT_SETTINGS
    (line,) = errors.decode().splitlines()
    assert str(tmp_path / "ledger") in line
    assert "journal entry 2 is not what was written" in line


async def test_nothing_of_all_this_was_a_defect(ledger: Stack) -> None:
    log = ledger.log("ledger")
    assert "a defect" not in log
    assert "Traceback" not in log, log[log.index("Traceback") :][:1500]
