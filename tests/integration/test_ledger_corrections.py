"""Corrections of the book: what legs at home cost, and costs that are found later. Never an edit."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import typer
from clickhouse_connect.driver.client import Client
from grpc import StatusCode, aio
from homeward.common.v1 import leg_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from typer.testing import CliRunner

from playbook.commands.pools import pools
from playbook.commands.reprice import reprice as reprice_command
from playbook.commands.unknown import unknown
from services.common.errors import DomainError
from services.common.settings import ClickHouse
from services.ledger.adapters import corrections
from services.ledger.adapters.clickhouse import connect
from services.ledger.adapters.corrections import CorrectionStore
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.prices import PriceList
from services.ledger.config import PriceSettings
from services.ledger.core.corrections import Scope
from services.ledger.repricing import Repriced, Repricer
from tests.support.booking import becomes, journal_count, verified
from tests.support.stack import SECRETS, WAIT_S, Stack, until

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW_S = int(time.time())
PERIOD_S = 10
US = 10**6
USD_PER_HOUR = Fraction("4.5")
SETTINGS = f"""
[upstreams.home]
target = "sovereign"
base_url = "http://127.0.0.1:9/v1"
provider = "homeward-home"
models = ["small-llama"]

[pools.rack]
upstreams = ["home"]
hosting_usd_per_month = {float(USD_PER_HOUR * Fraction("730.5"))}
output_weight = 4
period_s = {PERIOD_S}
settle_s = 1
"""
CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A ledger with a pool whose periods are short, and its ClickHouse."""
    async with Stack(tmp_path_factory.mktemp("corrections"), SETTINGS) as running:
        await running.start("clickhouse", "ledger")
        yield running
        # It would wait for the connections that clients keep.
        await running.kill("clickhouse")


def leg(start_s: float, counts: Sequence[int] | None, **changes: Any) -> leg_pb2.Leg:
    """A leg at home that took half a second, but for the changes; without counts nobody knows its tokens."""
    fields = {
        "leg_id": os.urandom(16),
        "request_id": os.urandom(16),
        "trace_id": os.urandom(16),
        "span_id": os.urandom(8),
        "workload": "ticket-triage",
        "key_name": "demo",
        "purpose": leg_pb2.PURPOSE_PRODUCTION,
        "target": leg_pb2.TARGET_SOVEREIGN,
        "upstream": "home",
        "provider": "homeward-home",
        "model": "small-llama",
        "latency_us": US // 2,
        "outcome": leg_pb2.OUTCOME_OK,
        "attempts": 1,
        **changes,
    }
    made = leg_pb2.Leg(**fields)
    for name, count in zip(CLASSES, counts or (), strict=counts is not None):
        setattr(made.usage, f"{name}_tokens", count)
    made.start_time.FromMicroseconds(round(start_s * US))
    return made


@asynccontextmanager
async def ledger(stack: Stack) -> AsyncIterator[ledger_pb2_grpc.LedgerServiceAsyncStub]:
    async with aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}") as channel:
        yield ledger_pb2_grpc.LedgerServiceStub(channel)


async def record(stack: Stack, *legs: leg_pb2.Leg) -> None:
    """Returns when the legs are in ClickHouse, and the journal knows it."""
    async with ledger(stack) as stub:
        done = await stub.Record(ledger_pb2.RecordRequest(legs=legs), timeout=WAIT_S)
    assert done.booked_count == len(legs)
    await stack.legs(len(legs), "leg_id", f"leg_id IN ({', '.join(uuid_of(item) for item in legs)})")
    waiting = "kind = 'legs' AND NOT confirmed"
    await becomes(lambda: journal_count(stack, waiting, "count(*)") == 0, "the legs are confirmed")


async def reprice(stack: Stack, **changes: Any) -> ledger_pb2.RepriceResponse:
    """Prices the cloud's legs of the last day again."""
    request = ledger_pb2.RepriceRequest(request_id=os.urandom(16), provider="homeward-stand-in", actor="test")
    request.start_time.FromSeconds(NOW_S - 86_400)
    request.end_time.FromSeconds(NOW_S + 3600)
    request.MergeFrom(ledger_pb2.RepriceRequest(**changes))
    async with ledger(stack) as stub:
        return await stub.Reprice(request, timeout=WAIT_S)


def uuid_of(item: leg_pb2.Leg) -> str:
    text = item.leg_id.hex()
    return f"'{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}'"


async def costs(stack: Stack, *legs: leg_pb2.Leg) -> list[int | None]:
    """What legs cost by the book as it is now."""
    ids = ", ".join(uuid_of(item) for item in legs)
    query = f"SELECT toString(leg_id), cost_nanos FROM homeward.leg_costs WHERE leg_id IN ({ids})"
    found = {row[0]: row[1] for row in await stack.query(query)}
    return [found[uuid_of(item).strip("'")] for item in legs]


async def period(stack: Stack, start_s: int) -> dict[str, int] | None:
    """The row of a closed period, None if it is open."""

    def fetch() -> list[dict[str, Any]]:
        with stack.clickhouse() as client:
            query = (
                f"SELECT * FROM homeward.pool_periods FINAL WHERE toUnixTimestamp(period_start) = {start_s}"
            )
            return list(client.query(query).named_results())

    rows = await asyncio.to_thread(fetch)
    return rows[0] if rows else None


async def closed(stack: Stack, start_s: int, leg_count: int) -> dict[str, int]:
    """The row of a period as soon as it is closed with so many legs."""
    found: dict[str, int] | None = None

    async def there() -> bool:
        nonlocal found
        found = await period(stack, start_s)
        return found is not None and found["leg_count"] == leg_count

    await until(there, f"the period of {start_s} is closed with {leg_count} legs")
    assert found is not None
    return found


def expected(counts: Sequence[Sequence[int]], busy_us: int, start_s: int) -> tuple[int, list[int]]:
    """What the period costs, and what each leg bears: figured without the ledger's code."""
    per_s = USD_PER_HOUR * 10**9 / 3600
    cost = round(per_s * (start_s + PERIOD_S)) - round(per_s * start_s)
    weighted = sum(sum(row[:3]) + 4 * sum(row[3:]) for row in counts)
    amount = Fraction(cost * busy_us // (PERIOD_S * US)) * US / weighted
    fresh, output = int(amount), int(amount * 4)
    return cost, [round(Fraction(sum(row[:3]) * fresh + sum(row[3:]) * output, US)) for row in counts]


def past_period(back: int) -> int:
    """The start of a period that is over for so many periods."""
    return (int(time.time()) // PERIOD_S - back) * PERIOD_S


@contextmanager
def writer(stack: Stack) -> Iterator[Client]:
    url = f"http://127.0.0.1:{stack.ports['clickhouse']}"
    with closing(connect(ClickHouse(url=url, password=SECRETS.clickhouse_password))) as client:
        yield client


@contextmanager
def journal(stack: Stack) -> Iterator[sqlite3.Connection]:
    file = stack.folder / "ledger" / "journal.sqlite"
    with closing(sqlite3.connect(file, timeout=WAIT_S)) as db, db:
        yield db


def entry(stack: Stack, batch: str, what: str = "entry_id") -> Any:
    with journal(stack) as db:
        row = db.execute(f"SELECT {what} FROM entry WHERE batch LIKE ?", (batch,)).fetchone()
    return row[0] if row else None


async def whole(stack: Stack) -> dict[str, Any]:
    """What verify says once nothing is on the way."""
    await becomes(lambda: journal_count(stack, "NOT confirmed", "count(*)") == 0, "all is confirmed")
    told = await verified(stack)
    assert (told["whole"], told["difference"]) == (True, None)
    return told


async def test_a_pools_period_is_borne_by_its_legs_and_the_rest_is_idle(stack: Stack) -> None:
    start_s = past_period(3)
    # Two that overlap (1.0 to 1.8 s), one that reaches in from before, one that nobody counted, one refused.
    before = leg(start_s - 1, (100, 0, 0, 10, 0), latency_us=1_250_000)
    first = leg(start_s + 1, (1000, 50, 7, 301, 13), workload="summaries")
    second = leg(start_s + 1.3, (777, 0, 0, 99, 0), purpose=leg_pb2.PURPOSE_SHADOW)
    uncounted = leg(start_s + 3, None, outcome=leg_pb2.OUTCOME_CANCELLED)
    refused = leg(start_s + 5, None, outcome=leg_pb2.OUTCOME_REJECTED, latency_us=4 * US)
    await record(stack, before, first, second, uncounted, refused)

    row = await closed(stack, start_s, 4)
    busy_us = 250_000 + 800_000 + 500_000
    cost, (of_first, of_second) = expected([(1000, 50, 7, 301, 13), (777, 0, 0, 99, 0)], busy_us, start_s)
    assert row["busy_us"] == busy_us
    assert (row["cost_nanos"], row["leg_cost_nanos"]) == (cost, of_first + of_second)
    assert row["leg_cost_nanos"] + row["idle_nanos"] == cost
    assert (row["unknown_count"], row["input_tokens"], row["output_tokens"]) == (1, 1834, 413)
    assert await costs(stack, first, second, uncounted, refused) == [of_first, of_second, None, 0]
    listed = json.loads(await command(stack, unknown, "--json"))["unknown"]
    assert [(row["why"], row["legs"], row["pool"]) for row in listed] == [("no_tokens", 1, "rack")]
    await becomes(
        lambda: entry(stack, f"pool/rack/{stamp(start_s + 2 * PERIOD_S)}/1") is not None, "all is closed"
    )

    told = await whole(stack)
    [(total, idle)] = await stack.query(
        "SELECT sum(cost_nanos), sum(idle_nanos) FROM homeward.pool_periods FINAL"
        f" WHERE entry_id <= {told['entries']}"
    )
    assert told["owed_nanos"]["pool/rack"] == total
    assert told["idle_nanos"]["rack"] == idle
    [rack] = json.loads(await command(stack, pools, "--json"))["pools"]
    assert rack["usd_per_hour"]["total"] == float(USD_PER_HOUR)
    assert rack["closed"]["cost_nanos"] == rack["closed"]["leg_cost_nanos"] + rack["closed"]["idle_nanos"]
    assert rack["closed"]["utilisation"] == pytest.approx(
        (busy_us + 1_000_000) / US / PERIOD_S / rack["closed"]["periods"]
    )
    assert "with idle" in await command(stack, pools)


async def command(stack: Stack, run: Callable[..., None], *arguments: str) -> str:
    """What a command prints; it must end with code 0."""
    app = typer.Typer()
    app.command()(run)
    environment = {
        "HOMEWARD_CLICKHOUSE__USER": "analyst",
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.analyst_password,
        "COLUMNS": "100",
    }
    given = [*arguments, "--settings", str(stack.settings_file)]
    done = await asyncio.to_thread(CliRunner().invoke, app, given, env=environment)
    assert done.exit_code == 0, (done.stdout, done.stderr, done.exception)
    return done.stdout


async def test_an_unknown_cost_is_found_by_a_price_that_is_added_and_the_leg_is_not_edited(
    stack: Stack,
) -> None:
    legs = [
        leg(time.time() - 60, (1000, 0, 0, 500, 0), upstream="cloud", provider="homeward-stand-in",
            target=leg_pb2.TARGET_CLOUD, model="mystery")
        for _ in range(3)
    ]  # fmt: skip
    await record(stack, *legs)
    nothing = await reprice(stack, model="mystery", unknown_only=True)
    assert (nothing.entry_id, nothing.leg_count, nothing.unknown_count) == (0, 0, 3)
    [listed] = [
        row
        for row in json.loads(await command(stack, unknown, "--json"))["unknown"]
        if row["model"] == "mystery"
    ]
    assert (listed["why"], listed["legs"], listed["tokens"]) == ("no_price", 3, 4500)
    assert '[[prices]]\nprovider = "homeward-stand-in"\nmodel = "mystery"' in await command(stack, unknown)
    as_booked = await stack.query("SELECT * FROM homeward.legs WHERE model = 'mystery' ORDER BY leg_id")

    await with_price(stack, "mystery", "2", "8")
    assert "priced now" in " ".join((await command(stack, unknown)).split())
    would = await reprice(stack, model="mystery", unknown_only=True, validate_only=True)
    # 1000 × $2 and 500 × $8 a million tokens.
    assert (would.entry_id, would.leg_count, would.difference_nanos) == (0, 3, 3 * 6_000_000)
    assert await costs(stack, *legs) == [None] * 3
    request_id = os.urandom(16)
    done = await reprice(stack, model="mystery", unknown_only=True, request_id=request_id)
    assert (done.leg_count, done.found_count, done.unknown_count) == (3, 3, 0)
    assert done.difference_nanos == 3 * 6_000_000
    assert entry(stack, f"reprice/{request_id.hex()}/0") == done.entry_id
    assert await costs(stack, *legs) == [6_000_000] * 3
    assert (
        await stack.query("SELECT * FROM homeward.legs WHERE model = 'mystery' ORDER BY leg_id") == as_booked
    )

    assert "mystery" not in await command(stack, unknown)
    for again in ({"model": "mystery"}, {"model": "mystery", "unknown_only": True}):
        more = await reprice(stack, **again)
        assert (more.entry_id, more.leg_count) == (0, 0)
    [(corrections,)] = await stack.query("SELECT count() FROM homeward.corrections WHERE model = 'mystery'")
    assert corrections == 3
    await whole(stack)


async def test_the_command_shows_the_difference_and_books_it_when_told_to(stack: Stack) -> None:
    item = leg(time.time() - 60, (1000, 0, 0, 500, 0), upstream="cloud", provider="homeward-stand-in",
               target=leg_pb2.TARGET_CLOUD, model="by-command")  # fmt: skip
    await record(stack, item)
    await with_price(stack, "by-command", "2", "8")
    shown = await command(stack, reprice_command, "--model", "by-command")
    assert "$0.006000000" in shown
    assert "--yes" in shown
    assert await costs(stack, item) == [None]
    done = json.loads(await command(stack, reprice_command, "--model", "by-command", "--yes", "--json"))
    assert (done["booked"], done["found_count"], done["difference_nanos"]) == (True, 1, 6_000_000)
    assert await costs(stack, item) == [6_000_000]
    again = json.loads(await command(stack, reprice_command, "--model", "by-command", "--yes", "--json"))
    assert (again["booked"], again["leg_count"]) == (False, 0)


async def test_the_same_request_is_booked_once_and_another_scope_needs_another_id(stack: Stack) -> None:
    start_s = int(time.time()) - 3600
    await record(stack, leg(start_s, (10, 0, 0, 10, 0), provider="acme", model="one", upstream="cloud"))
    await with_price(stack, "one", "1", "1", provider="acme")
    request = ledger_pb2.RepriceRequest(request_id=os.urandom(16), provider="acme", actor="test")
    request.start_time.FromSeconds(start_s)
    request.end_time.FromSeconds(start_s + 60)
    async with ledger(stack) as stub:
        first = await stub.Reprice(request, timeout=WAIT_S)
        assert first.leg_count == 1
        assert await stub.Reprice(request, timeout=WAIT_S) == first
        request.model = "other"
        with pytest.raises(aio.AioRpcError) as problem:
            await stub.Reprice(request, timeout=WAIT_S)
    assert problem.value.code() is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_id": b"short"}, "request_id"),
        ({"actor": ""}, "actor"),
        ({"start_s": None}, "start_time"),
        ({"end_s": 5}, "end_time"),
    ],
)
async def test_a_request_that_breaks_the_contract_is_refused(
    stack: Stack, changes: dict[str, Any], field: str
) -> None:
    given = {"request_id": os.urandom(16), "actor": "test", "start_s": 10, "end_s": 20, **changes}
    request = ledger_pb2.RepriceRequest(request_id=given["request_id"], actor=given["actor"])
    if given["start_s"] is not None:
        request.start_time.FromSeconds(given["start_s"])
    request.end_time.FromSeconds(given["end_s"])
    async with ledger(stack) as stub:
        with pytest.raises(aio.AioRpcError) as problem:
            await stub.Reprice(request, timeout=WAIT_S)
    assert problem.value.code() is StatusCode.INVALID_ARGUMENT
    assert field in (problem.value.details() or "")


async def test_a_ledger_killed_between_journal_and_clickhouse_finishes_at_the_entrys_rates(
    stack: Stack,
) -> None:
    priced = leg(time.time() - 60, (1000, 0, 0, 0, 0), upstream="cloud", provider="homeward-stand-in",
                 target=leg_pb2.TARGET_CLOUD, model="cut-off")  # fmt: skip
    await record(stack, priced)
    await with_price(stack, "cut-off", "3", "3")
    with writer(stack) as client:
        # Rows can be read and none inserted: whoever books a correction now comes as far as the journal.
        client.command("ALTER TABLE homeward.corrections ADD CONSTRAINT held CHECK 0")
        start_s = past_period(1)
        at_home = leg(start_s + 1, (100, 0, 0, 100, 0))
        await record(stack, at_home)
        unconfirmed = "kind = 'pool_period' AND NOT confirmed"
        await becomes(lambda: journal_count(stack, unconfirmed) == 1, "the period is in the journal alone")
        request_id = os.urandom(16)
        with pytest.raises(aio.AioRpcError) as problem:
            await reprice(stack, model="cut-off", request_id=request_id)
        assert problem.value.code() is StatusCode.UNAVAILABLE
        repricing = f"reprice/{request_id.hex()}/0"
        assert entry(stack, repricing, "confirmed") == 0
        await stack.kill("ledger")
        client.command("ALTER TABLE homeward.corrections DROP CONSTRAINT held")
    # The price of today is no longer that of the entry.
    await with_price(stack, "cut-off", "5", "5")
    await becomes(lambda: entry(stack, repricing, "confirmed") == 1, "the repricing is finished")
    await becomes(lambda: journal_count(stack, unconfirmed) == 0, "the period is finished")
    assert await costs(stack, priced) == [3_000_000]
    _, [borne] = expected([(100, 0, 0, 100, 0)], 500_000, start_s)
    assert await costs(stack, at_home) == [borne]
    assert (await reprice(stack, model="cut-off", request_id=request_id)).difference_nanos == 3_000_000
    await whole(stack)
    raised = await reprice(stack, model="cut-off")
    assert (raised.leg_count, raised.found_count, raised.difference_nanos) == (1, 0, 2_000_000)
    await whole(stack)


async def test_a_request_that_goes_on_after_a_crash_tells_what_it_booked_before(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if what was left to do has come to nothing meanwhile."""
    await record(stack, *(
        leg(NOW_S - 7200 + number, (1000, 0, 0, 0, 0), upstream="cloud", provider="cut", model=model,
            target=leg_pb2.TARGET_CLOUD)
        for number, model in enumerate(("first", "second", "second"))
    ))  # fmt: skip
    monkeypatch.setattr(corrections, "PAGE_LEGS", 1)
    scope = Scope((NOW_S - 7200) * US, (NOW_S - 7000) * US, provider="cut")
    request_id, stopping = os.urandom(16), threading.Event()

    def stops_as_it_books() -> int:
        stopping.set()
        return NOW_S * US

    def go(models: Sequence[str], clock: Callable[[], int], stopping: threading.Event) -> Repriced:
        prices = [
            PriceSettings(
                provider="cut", model=model, input_usd_per_mtok=Decimal(2), output_usd_per_mtok=Decimal(2)
            )
            for model in models
        ]
        file = stack.folder / "ledger" / "journal.sqlite"
        with closing(Database(f"sqlite:///{file}")) as database, writer(stack) as client:
            made = Repricer(Entries(database), PriceList(prices), None, clock, stopping)
            return made.reprice(CorrectionStore(client), scope, request_id, "test")

    with pytest.raises(DomainError, match="about to stop"):
        await asyncio.to_thread(go, ["first", "second"], stops_as_it_books, stopping)
    assert entry(stack, f"reprice/{request_id.hex()}/0", "json_extract(detail, '$.last')") == 0
    booked = entry(stack, f"reprice/{request_id.hex()}/0")
    for _ in range(2):
        done = await asyncio.to_thread(go, ["first"], lambda: NOW_S * US, threading.Event())
        assert done == Repriced(booked, 1, 1, 2, 2_000_000)
    await whole(stack)


async def test_rows_that_are_there_already_are_not_inserted_again(stack: Stack) -> None:
    await whole(stack)
    await stack.kill("ledger")
    [(before,)] = await stack.query("SELECT count() FROM homeward.corrections")
    assert before > 0
    with journal(stack) as db:
        db.execute("UPDATE entry SET confirmed = 0 WHERE kind IN ('repricing', 'pool_period')")
    await stack.start("ledger")
    await whole(stack)
    [(rows, once)] = await stack.query(
        "SELECT count(), uniqExact(leg_id, entry_id) FROM homeward.corrections"
    )
    assert rows == once
    assert rows >= before


def stamp(start_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start_s))


async def with_price(
    stack: Stack, model: str, input_usd: str, output_usd: str, provider: str = "homeward-stand-in"
) -> None:
    """Adds a price to the settings, ahead of those that are there, and starts the ledger anew."""
    if "ledger" in stack._processes:
        await stack.stop("ledger")
    text = stack.settings_file.read_text()
    price = (
        f'[[prices]]\nprovider = "{provider}"\nmodel = "{model}"\n'
        f"input_usd_per_mtok = {input_usd}\noutput_usd_per_mtok = {output_usd}\n\n"
    )
    at = text.index("[[prices]]")
    stack.settings_file.write_text(text[:at] + price + text[at:])
    await stack.start("ledger")
