"""From Record to the journal and ClickHouse: what a row says, what it costs, and that the three agree."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from grpc import aio
from homeward.common.v1 import leg_pb2, usage_pb2, workload_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import connect, insert_block
from services.ledger.adapters.leg_columns import LegColumns
from services.ledger.adapters.prices import PriceList
from services.ledger.config import load_ledger
from services.ledger.core.booking import book_batch
from services.ledger.core.pricing import Tokens, price
from tests.support import booking
from tests.support.booking import becomes, journal_count, spool_count
from tests.support.stack import SECRETS, WAIT_S, Stack

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")
PARTS = (*(f"{name}_cost_nanos" for name in CLASSES), "request_cost_nanos")
UNCONFIRMED = "kind = 'legs' AND NOT confirmed"


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ledger with its ClickHouse, a pool and a price that changes on a day."""
    async with Stack(tmp_path_factory.mktemp("booking"), booking.SETTINGS) as running:
        await running.start("clickhouse", "ledger")
        yield running


@pytest.fixture
def writer(stack: Stack) -> Iterator[Client]:
    """A client of the services' user."""
    settings = ClickHouse(
        url=f"http://127.0.0.1:{stack.ports['clickhouse']}",
        user="homeward",
        password=SECRETS.clickhouse_password,
    )
    with closing(connect(settings)) as client:
        yield client


async def record(stack: Stack, legs: Sequence[leg_pb2.Leg]) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        response = await stub.Record(ledger_pb2.RecordRequest(legs=legs), timeout=WAIT_S)
    assert response.booked_count == len(legs)


async def booked(stack: Stack) -> None:
    await becomes(lambda: not spool_count(stack) and not journal_count(stack, UNCONFIRMED), "all is booked")


def plain(**changes: Any) -> leg_pb2.Leg:
    """A leg of a known price."""
    fields = {
        "leg_id": os.urandom(16),
        "request_id": os.urandom(16),
        "trace_id": os.urandom(16),
        "span_id": os.urandom(8),
        "start_time": datetime.now(UTC),
        "workload": "ticket-triage",
        "purpose": leg_pb2.PURPOSE_PRODUCTION,
        "target": leg_pb2.TARGET_CLOUD,
        "upstream": "cloud",
        "provider": "homeward-stand-in",
        "model": "stand-in-mini",
        "usage": usage_pb2.Usage(**{f"{name}_tokens": 100 for name in CLASSES}),  # type: ignore[arg-type]  # its fields
        "outcome": leg_pb2.OUTCOME_OK,
        **changes,
    }
    return leg_pb2.Leg(**fields)


def strange(rng: random.Random) -> leg_pb2.Leg:
    """A leg that keeps the contract, and is as odd as it may be."""
    words = ("", "a", "ticket-triage", "naïve 📈", "\x00", "line\nbreak", "'; DROP TABLE legs; --", "x" * 300)
    leg = leg_pb2.Leg(
        leg_id=rng.randbytes(16),
        request_id=rng.randbytes(16),
        trace_id=rng.randbytes(16),
        span_id=rng.randbytes(8),
        evidence=rng.choice(list(workload_pb2.Evidence.values())),
        task_type=rng.choice(list(workload_pb2.TaskType.values())),
        purpose=rng.choice(list(leg_pb2.Purpose.values())[1:]),
        target=rng.choice(list(leg_pb2.Target.values())[1:]),
        upstream=rng.choice(("cloud", "home", "?")),
        provider=rng.choice(("homeward-stand-in", "openai", "deepseek", "nobody")),
        model=rng.choice(("stand-in-mini", "stand-in-large", "gpt-4o", "deepseek-chat")),
        streamed=rng.random() < 0.5,
        latency_us=rng.choice((0, 1, 10**15)),
        outcome=rng.choice(list(leg_pb2.Outcome.values())[1:]),
        http_status=rng.choice((0, 200, 999)),
        attempts=rng.choice((0, 1, 65_535)),
        policy_version=rng.choice((0, 2**64 - 1)),
        sample_id=rng.choice((b"", rng.randbytes(16), b"\xff")),
    )
    for name in ("workload", "key_name", "region", "model_requested", "api", "error_reason"):
        setattr(leg, name, rng.choice(words))
    leg.start_time.FromMicroseconds(rng.randrange(1_700_000_000_000_000, 1_800_000_000_000_000))
    if rng.random() < 0.5:
        leg.ttft_us = rng.choice((0, 77))
    for name in CLASSES:
        if rng.random() < 0.9:
            setattr(leg.usage, f"{name}_tokens", rng.choice((0, 1, 12_345, 10**7)))
    leg.usage.source = rng.choice(list(usage_pb2.UsageSource.values()))
    return leg


def label(enum: Any, number: int) -> str:
    """`PURPOSE_JUDGE` is `judge` in a column, and nothing is empty."""
    if not number:
        return ""
    words: list[str] = enum.Name(number).split("_")
    prefix = len([item for item in enum.DESCRIPTOR.name if item.isupper()])
    return "_".join(words[prefix:]).lower()


def expected(leg: leg_pb2.Leg, prices: PriceList) -> dict[str, Any]:
    """The row of a leg."""
    row: dict[str, Any] = {
        name: getattr(leg, name)
        for name in (
            *("workload", "key_name", "upstream", "provider", "region", "model_requested", "model", "api"),
            *("streamed", "latency_us", "http_status", "error_reason", "attempts", "policy_version"),
        )
    }
    row |= {name: uuid.UUID(bytes=getattr(leg, name)) for name in ("leg_id", "request_id")}
    row |= {name: getattr(leg, name).hex() for name in ("trace_id", "span_id", "sample_id")}
    row["start_time"] = leg.start_time.ToDatetime()
    row["evidence"] = label(workload_pb2.Evidence, leg.evidence)
    row["task_type"] = label(workload_pb2.TaskType, leg.task_type)
    row["purpose"] = label(leg_pb2.Purpose, leg.purpose)
    row["target"] = label(leg_pb2.Target, leg.target)
    row["outcome"] = label(leg_pb2.Outcome, leg.outcome)
    row["usage_source"] = label(usage_pb2.UsageSource, leg.usage.source)
    row["ttft_us"] = leg.ttft_us if leg.HasField("ttft_us") else None
    counts = {name: f"{name}_tokens" for name in CLASSES}
    tokens = {
        name: getattr(leg.usage, field) if leg.usage.HasField(field) else None  # type: ignore[arg-type]  # its fields
        for name, field in counts.items()
    }
    row |= {counts[name]: value for name, value in tokens.items()}
    row["pool"] = booking.POOL if leg.upstream == "home" else ""
    rates = prices.rates(leg.provider, leg.model, leg.start_time.ToDatetime(UTC))
    found = price(Tokens(**tokens), rates)
    costs = (found.cost_nanos, found.source, found.version, found.parts_nanos)
    if leg.outcome in (leg_pb2.OUTCOME_REJECTED, leg_pb2.OUTCOME_UNREACHABLE):
        costs = (0, "not_billed", "", (0,) * 6)
    elif row["pool"]:
        costs = (None, "pool", "", None)
    row["cost_nanos"], row["price_source"], row["price_version"], parts = costs
    return row | dict(zip(PARTS, parts or [None] * 6, strict=True))


async def test_a_row_says_what_its_leg_said_and_what_it_costs(stack: Stack) -> None:
    rng = random.Random(3)
    legs = [strange(rng) for _ in range(1500)]
    await record(stack, legs)
    await booked(stack)
    prices = PriceList(load_ledger(stack.settings_file, {}).prices)
    wanted = {row["leg_id"]: row for row in (expected(leg, prices) for leg in legs)}
    rows = await stack.legs(len(legs))
    assert len(rows) == len(legs)
    for row in rows:
        entry_id, batch = row.pop("entry_id"), row.pop("batch")
        assert entry_id > 0
        assert len(batch) > 32
        assert row == wanted[row["leg_id"]]
    months = await stack.query(
        "SELECT uniqExact(partition) FROM system.parts WHERE table = 'legs' AND active"
    )
    assert months[0][0] > 12


async def test_parts_add_up_and_rows_lines_and_postings_agree_for_each_entry(stack: Stack) -> None:
    rng = random.Random(4)
    await record(stack, [strange(rng) for _ in range(500)])
    await booked(stack)
    total = " + ".join(f"ifNull({name}, 0)" for name in PARTS)
    assert await stack.query(f"SELECT count() FROM homeward.legs WHERE ifNull(cost_nanos, 0) != {total}") == [
        (0,)
    ]
    rows = await stack.query(
        "SELECT entry_id, count(), countIf(cost_nanos IS NULL), sum(ifNull(cost_nanos, 0))"
        " FROM homeward.legs GROUP BY entry_id ORDER BY entry_id"
    )
    with journal(stack) as db:
        entries = db.execute(
            "SELECT entry_id, leg_count, unknown_count, cost_nanos FROM entry WHERE kind = 'legs' ORDER BY 1"
        ).fetchall()
        sums = dict(
            db.execute(
                "SELECT entry_id, sum(amount_nanos) FROM posting WHERE account LIKE 'expense/%' GROUP BY 1"
            ).fetchall()
        )
        balance = db.execute("SELECT coalesce(sum(amount_nanos), 0) FROM posting").fetchone()[0]
    assert rows == [tuple(entry) for entry in entries]
    for entry_id, _, _, cost_nanos in rows:
        assert sums.get(entry_id, 0) == cost_nanos
    assert balance == 0


@contextmanager
def journal(stack: Stack) -> Iterator[sqlite3.Connection]:
    """The journal's file, to look at."""
    with closing(sqlite3.connect(f"file:{stack.folder}/ledger/journal.sqlite?mode=ro", uri=True)) as db:
        yield db


async def entry_without_rows(stack: Stack, legs: Sequence[leg_pb2.Leg]) -> None:
    """Kills the ledger after a batch's entry, before its rows."""
    # A ledger that has just started must have found ClickHouse.
    await record(stack, [plain()])
    await booked(stack)
    pid = stack.pid("clickhouse")
    os.kill(pid, signal.SIGSTOP)
    try:
        await record(stack, legs)
        await becomes(lambda: journal_count(stack, UNCONFIRMED) > 0, "an entry without rows")
        await stack.kill("ledger")
    finally:
        os.kill(pid, signal.SIGCONT)


async def costs(stack: Stack, legs: Sequence[leg_pb2.Leg]) -> list[Sequence[Any]]:
    ids = ", ".join(f"'{uuid.UUID(bytes=leg.leg_id)}'" for leg in legs)
    return await stack.query(
        "SELECT cost_nanos, price_version, pool FROM homeward.legs"
        f" WHERE leg_id IN ({ids}) ORDER BY start_time"
    )


async def test_a_batch_with_an_entry_keeps_the_entrys_prices_whatever_the_settings_say(stack: Stack) -> None:
    begun = [datetime(2026, 9, 30, 23, tzinfo=UTC), datetime(2026, 10, 1, 1, tzinfo=UTC)]
    legs = [plain(start_time=at, model="stand-in-large") for at in begun]
    legs.append(plain(start_time=datetime(2026, 10, 1, 2, tzinfo=UTC), upstream="home", model="small-llama"))
    before = stack.settings_file.read_text()
    await entry_without_rows(stack, legs)
    dearer = before.replace("input_usd_per_mtok = 3.0000007", "input_usd_per_mtok = 9")
    dearer = dearer.replace("effective_from = 2026-10-01", "effective_from = 2026-09-01")
    dearer = dearer.replace('upstreams = ["home"]', 'upstreams = ["nothing"]')
    stack.settings_file.write_text(dearer)
    await stack.start("ledger")
    await booked(stack)
    # 100 tokens of each class: 2.50 + 1.25 + 2.50 + 10 + 10 dollars a million, and 3.0000007 + 1.5 + … later.
    assert await costs(stack, legs) == [
        (2_625_000, "1970-01-01", ""),
        (3_150_000, "2026-10-01", ""),
        (None, "", booking.POOL),
    ]
    again = [plain(start_time=at, model="stand-in-large") for at in begun]
    await record(stack, again)
    await booked(stack)
    assert await costs(stack, again) == [(4_350_000, "2026-09-01", "")] * 2
    await stack.kill("ledger")
    stack.settings_file.write_text(before)
    await stack.start("ledger")


async def test_a_batch_that_its_entry_does_not_fit_waits_and_the_log_says_so(stack: Stack) -> None:
    leg = plain()
    await entry_without_rows(stack, [leg])
    good = leg.SerializeToString()
    leg.usage.input_tokens += 1
    file = stack.folder / "ledger" / "spool.sqlite"
    with closing(sqlite3.connect(file)) as db, db:
        assert db.execute(
            "UPDATE item SET payload = ? WHERE payload IS NOT NULL", (leg.SerializeToString(),)
        ).rowcount
    await stack.start("ledger")
    behind = plain()
    await becomes(lambda: "can't be booked, and all legs behind it wait" in stack.log("ledger"), "the log")
    told = [json.loads(line) for line in stack.log("ledger").splitlines() if "all legs behind it" in line]
    assert told[0]["level"] == "error"
    assert "its entry in the journal has 1" in told[0]["message"]
    # Legs are still taken, and leave when the batch does.
    await record(stack, [behind])
    assert spool_count(stack) == 2
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE item SET payload = ? WHERE id = ?", (good, leg.leg_id))
    await stack.kill("ledger")
    await stack.start("ledger")
    await booked(stack)
    assert len(await costs(stack, [leg, behind])) == 2


BY_HOUR = (
    "SELECT toStartOfHour(start_time) AS hour, workload, count(), sum(ifNull(cost_nanos, 0)),"
    " sum(ifNull(output_tokens, 0)) FROM homeward.legs GROUP BY hour, workload ORDER BY hour, workload"
)
SUMMED = (
    "SELECT hour, workload, sum(legs), sum(cost_nanos) - sum(corrected_nanos), sum(output_tokens)"
    " FROM homeward.spend_by_hour GROUP BY hour, workload HAVING sum(legs) > 0 ORDER BY hour, workload"
)
TIMED = "SELECT sum(legs) FROM homeward.latency_by_hour"


async def test_views_have_each_row_once_however_often_and_wherever_an_insert_was_cut_off(
    stack: Stack, writer: Client
) -> None:
    legs = [
        plain(start_time=datetime(2025, 1 + index % 7, 1 + index % 28, index % 24, tzinfo=UTC))
        for index in range(3000)
    ]
    columns = LegColumns([leg.SerializeToString() for leg in legs])
    priced, _ = book_batch("a-test", columns.legs, PriceList([]).holding, {})
    block = columns.block(priced, 1, "a-test")
    ((before,),) = await stack.query(TIMED)
    # Between table and view: the rows are in the one and not in the other, as after a kill -9 there.
    for view in ("spend_by_hour_of_legs", "latency_by_hour_of_legs"):
        writer.command(f"DETACH TABLE homeward.{view}")
    insert_block(writer, block, "a-test")
    for view in ("spend_by_hour_of_legs", "latency_by_hour_of_legs"):
        writer.command(f"ATTACH TABLE homeward.{view}")
    assert await stack.query(SUMMED) != await stack.query(BY_HOUR)
    for _ in range(3):
        insert_block(writer, block, "a-test")
        assert await stack.query(SUMMED) == await stack.query(BY_HOUR)
        assert await stack.query(TIMED) == [(before + len(legs),)]
    ids = await stack.query("SELECT count(), uniqExact(leg_id) FROM homeward.legs WHERE batch = 'a-test'")
    assert ids == [(len(legs), len(legs))]


async def test_nothing_of_all_this_was_a_defect_but_the_one_that_was_made(stack: Stack) -> None:
    lines = [json.loads(line) for line in stack.log("ledger").splitlines()]
    errors = [line["message"] for line in lines if line["level"] == "error"]
    assert all("all legs behind it wait" in message for message in errors), errors
