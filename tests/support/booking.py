"""Legs as routers send them, callers that keep what was not acknowledged, and the proof that each is booked
once."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from grpc import StatusCode, aio
from homeward.common.v1 import leg_pb2, usage_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from typer.testing import CliRunner, Result

from playbook.cli import app
from tests.support.stack import SECRETS, Stack, until

POOL = "rack"
RAISED = datetime(2026, 10, 1, tzinfo=UTC)
"""When the price of the large model went up."""

SETTINGS = """
[upstreams.home]
target = "sovereign"
base_url = "http://127.0.0.1:9/v1"
provider = "homeward-home"
models = ["small-llama"]

[pools.rack]
upstreams = ["home"]
gpus = 8
hardware_usd = 250000
hosting_usd_per_month = 3000
settle_s = 1

[[prices]]
provider = "homeward-stand-in"
model = "stand-in-large"
input_usd_per_mtok = 2.50
cached_input_usd_per_mtok = 1.25
output_usd_per_mtok = 10

[[prices]]
provider = "homeward-stand-in"
model = "stand-in-large"
effective_from = 2026-10-01
input_usd_per_mtok = 3.0000007
cached_input_usd_per_mtok = 1.5
output_usd_per_mtok = 12
"""
"""For `extra_settings`: a pool, a price that changes on a day, and one of no whole nano-dollars a token."""

# Dollars per million tokens: input, cached input, written to the cache, output; as in the settings.
_MINI = ("0.15", "0.075", "0.15", "0.60")
_LARGE = ("2.50", "1.25", "2.50", "10")
_LARGE_RAISED = ("3.0000007", "1.5", "3.0000007", "12")

_AGAIN = (
    StatusCode.UNAVAILABLE,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.DEADLINE_EXCEEDED,
)
"""What a caller hears of a ledger that was killed, or that takes nothing now."""
CALL_S = 10.0
CHUNK_LEGS = 500
SENT_TWICE = 0.02
"""Share of the chunks that come again although they were acknowledged."""
_SHAPES = 400
_DAY_US = 86_400_000_000
_RAISED_US = int(RAISED.timestamp()) * 10**6


@dataclass(frozen=True, slots=True)
class Shape:
    """What legs have in common: all but their ids and times."""

    leg: leg_pb2.Leg
    days_ago: tuple[float, float] | None
    """The legs began between these; None leaves it to the caller."""
    cost_nanos: int | None
    """By the settings above, without the ledger's code; None if nobody can know."""
    raised_nanos: int | None
    """From RAISED on."""


@dataclass(slots=True)
class Sent:
    """What was sent: of each leg its id, and what they must cost."""

    leg_ids: set[bytes] = field(default_factory=set)
    acknowledged: int = 0
    repeated: int = 0
    """Calls that were made again because the first had no answer, or to see that nothing happens twice."""
    cost_nanos: int = 0
    unknown: int = 0
    """Legs without a price of their own: no price is known, or they are a pool's."""
    of_pool: int = 0
    """Of the unknown, those that a pool's period will price."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Calls without an answer, by code."""


class Legs:
    """Legs of a few hundred shapes, the same for the same seed and time."""

    def __init__(self, seed: int, now_us: int, days: float, sent: Sent) -> None:
        self._random = random.Random(seed)
        self._days = days
        self._now_us = now_us
        self._sent = sent
        self._shapes = [_shape(self._random) for _ in range(_SHAPES)]

    def take(self, count: int) -> list[leg_pb2.Leg]:
        """The next ones, which count as sent."""
        return [self._next() for _ in range(count)]

    def _next(self) -> leg_pb2.Leg:
        shape = self._shapes[self._random.randrange(_SHAPES)]
        first, last = (self._days, 0.0) if shape.days_ago is None else shape.days_ago
        began_us = self._now_us - int(self._random.uniform(first, last) * _DAY_US)
        leg = leg_pb2.Leg()
        leg.CopyFrom(shape.leg)
        ids = self._random.randbytes(56)
        leg.leg_id, leg.request_id, leg.trace_id, leg.span_id = ids[:16], ids[16:32], ids[32:48], ids[48:]
        leg.start_time.seconds, leg.start_time.nanos = began_us // 10**6, began_us % 10**6 * 1000
        sent = self._sent
        sent.leg_ids.add(ids[:16])
        cost = shape.raised_nanos if began_us >= _RAISED_US else shape.cost_nanos
        sent.cost_nanos += cost or 0
        sent.unknown += cost is None
        sent.of_pool += cost is None and leg.upstream == "home"
        return leg


@asynccontextmanager
async def ledger_stack(folder: Path, *others: str, **environment: str) -> AsyncIterator[Stack]:
    """A ledger with its ClickHouse, and other parts. They are killed at the end: nobody waits for what they
    still have."""
    stack = Stack(folder, SETTINGS, **environment)
    parts = ("clickhouse", "ledger", *others)
    try:
        await stack.start(*parts)
        yield stack
    finally:
        for name in reversed(parts):
            with suppress(KeyError):
                await stack.kill(name)


class Callers:
    """Several callers of one ledger. Each keeps its legs until they are acknowledged, as a router does."""

    def __init__(self, stack: Stack, *, seed: int = 1, callers: int = 4, days: float = 120) -> None:
        """`days` is how long ago the oldest legs began."""
        self.sent = Sent()
        self._stack = stack
        self._random = random.Random(seed)
        self._callers = callers
        self._legs = Legs(seed, time.time_ns() // 1000, days, self.sent)

    async def book(self, count: int, chunk_legs: int = CHUNK_LEGS) -> None:
        """Returns when so many legs more are acknowledged."""
        chunks = iter(_chunks(self._legs, count, chunk_legs))
        async with _channel(self._stack) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            await asyncio.gather(*(self._call(stub, chunks) for _ in range(self._callers)))

    async def _call(
        self, stub: ledger_pb2_grpc.LedgerServiceAsyncStub, chunks: Iterator[Sequence[leg_pb2.Leg]]
    ) -> None:
        for chunk in chunks:
            request = ledger_pb2.RecordRequest(legs=chunk)
            while not await self._acknowledged(stub, request):
                self.sent.repeated += 1
                await asyncio.sleep(0.05 + self._random.random() / 10)
            self.sent.acknowledged += len(chunk)
            if self._random.random() < SENT_TWICE:
                self.sent.repeated += 1
                await self._acknowledged(stub, request)

    async def _acknowledged(
        self, stub: ledger_pb2_grpc.LedgerServiceAsyncStub, request: ledger_pb2.RecordRequest
    ) -> bool:
        try:
            done = await stub.Record(request, timeout=CALL_S)
        except aio.AioRpcError as error:
            if error.code() not in _AGAIN:
                raise
            self.sent.refusals[error.code().name] += 1
            return False
        assert done.booked_count + done.duplicate_count == len(request.legs)
        return True


def _chunks(legs: Legs, count: int, size: int) -> Iterator[Sequence[leg_pb2.Leg]]:
    while count > 0:
        yield legs.take(min(size, count))
        count -= size


def _channel(stack: Stack) -> aio.Channel:
    # A killed ledger is back within a second or two; the usual pause grows to minutes.
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
    return aio.insecure_channel(f"127.0.0.1:{stack.ports['ledger']}", options=options)


def _shape(at: random.Random) -> Shape:
    leg = leg_pb2.Leg(
        workload=at.choice(("ticket-triage", "summaries", "")),
        key_name=at.choice(("demo", "care", "editors")),
        purpose=at.choices(leg_pb2.Purpose.values()[1:6], (85, 5, 4, 4, 2))[0],
        target=leg_pb2.TARGET_CLOUD,
        upstream="cloud",
        provider="homeward-stand-in",
        api="chat.completions",
        streamed=at.random() < 0.5,
        latency_us=int(at.lognormvariate(13, 1)),
        outcome=leg_pb2.OUTCOME_OK,
        http_status=200,
        attempts=1,
    )
    leg.model = at.choices(("stand-in-mini", "stand-in-large", "mystery"), (60, 37, 3))[0]
    days_ago = None
    if at.random() < 0.05:
        leg.target, leg.upstream, leg.provider = leg_pb2.TARGET_SOVEREIGN, "home", "homeward-home"
        leg.model, days_ago = "small-llama", (0.05, 0.15)
    leg.model_requested = leg.model
    whole, cached = int(at.lognormvariate(6.5, 1)), int(at.lognormvariate(5, 1.5)) * (at.random() < 0.3)
    ended = at.choices(("ok", "rejected", "cancelled", "silent"), (93, 3, 3, 1))[0]
    if ended == "rejected":
        leg.outcome, leg.http_status, leg.error_reason = (
            leg_pb2.OUTCOME_REJECTED,
            429,
            "UPSTREAM_RATE_LIMITED",
        )
    elif ended == "cancelled":
        leg.outcome = leg_pb2.OUTCOME_CANCELLED
    if ended in ("ok", "cancelled"):
        leg.usage.CopyFrom(
            usage_pb2.Usage(
                input_tokens=whole,
                cached_input_tokens=cached,
                cache_write_tokens=int(at.lognormvariate(5, 1)) * (at.random() < 0.1),
                output_tokens=int(at.lognormvariate(5, 1)),
                reasoning_tokens=int(at.lognormvariate(6, 1)) * (at.random() < 0.2),
                source=usage_pb2.USAGE_SOURCE_UPSTREAM,
            )
        )
    return Shape(leg, days_ago, _cost_nanos(leg, _LARGE), _cost_nanos(leg, _LARGE_RAISED))


def _cost_nanos(leg: leg_pb2.Leg, large: Sequence[str]) -> int | None:
    used = leg.usage
    if leg.outcome in (leg_pb2.OUTCOME_REJECTED, leg_pb2.OUTCOME_UNREACHABLE):
        return 0
    if leg.upstream == "home" or leg.model == "mystery" or not used.HasField("output_tokens"):
        return None
    counts = (
        used.input_tokens,
        used.cached_input_tokens,
        used.cache_write_tokens,
        used.output_tokens + used.reasoning_tokens,
    )
    prices = _MINI if leg.model == "stand-in-mini" else large
    # Dollars a million tokens are thousands of nano-dollars a token. Rounded half to even, once.
    return round(sum(Fraction(price) * 1000 * count for price, count in zip(prices, counts, strict=True)))


async def all_booked(stack: Stack, legs: int) -> None:
    """Waits until ClickHouse has so many legs and the journal knows it, as long as there are ever more."""
    before = booked = -1

    async def further() -> bool:
        nonlocal booked
        booked = journal_count(stack, "kind = 'legs' AND confirmed")
        return booked > before or is_all()

    def is_all() -> bool:
        return booked == legs and spool_count(stack) == 0

    while not is_all():
        before = booked
        await until(further, f"{legs} legs are booked and confirmed; {booked} are")


async def verified(stack: Stack, *options: str) -> dict[str, Any]:
    """What `homeward ledger verify --json` says, and its exit code as `exit_code`."""
    done = await asyncio.to_thread(run_verify, stack, "--json", *options)
    assert done.stdout, (done.exit_code, done.stderr, done.exception)
    return {**json.loads(done.stdout), "exit_code": done.exit_code}


def run_verify(stack: Stack, *options: str) -> Result:
    """`homeward ledger verify`, as the analysts' user."""
    environment = {
        "HOMEWARD_CLICKHOUSE__USER": "analyst",
        "HOMEWARD_CLICKHOUSE__PASSWORD": SECRETS.analyst_password,
    }
    arguments = ["verify", "--settings", str(stack.settings_file), *options]
    return CliRunner().invoke(app, ["ledger", *arguments], env=environment)


async def assert_whole(stack: Stack, sent: Sent) -> dict[str, Any]:
    """Checks that sent = acknowledged = rows = journal, at the right cost, and that verify says whole."""
    count = len(sent.leg_ids)
    await all_booked(stack, count)
    assert sent.acknowledged == count
    found = [uuid.UUID(str(row[0])).bytes for row in await stack.query("SELECT leg_id FROM homeward.legs")]
    assert len(found) == count
    assert set(found) == sent.leg_ids
    told = await verified(stack)
    assert told["difference"] is None
    assert (told["whole"], told["exit_code"]) == (True, 0)
    assert told["legs"] == count
    assert told["owed_nanos"].get("provider/homeward-stand-in", 0) == sent.cost_nanos
    # What a pool's legs cost is found when its period is over.
    assert sent.unknown - sent.of_pool <= told["unknown_legs"] <= sent.unknown
    return told


def journal_count(stack: Stack, where: str = "1", what: str = "coalesce(sum(leg_count), 0)") -> int:
    """A figure of the journal's entries; 0 if there is no journal yet."""
    return _count(stack, "journal.sqlite", f"SELECT {what} FROM entry WHERE {where}")


def spool_count(stack: Stack, where: str = "payload IS NOT NULL") -> int:
    """Rows of the spool; 0 if there is no spool yet."""
    return _count(stack, "spool.sqlite", f"SELECT count(*) FROM item WHERE {where}")


def _count(stack: Stack, file: str, query: str) -> int:
    path = stack.folder / "ledger" / file
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return int(db.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0


async def becomes(condition: Callable[[], bool], what: str) -> None:
    """As `until`, for a condition that does not wait."""

    async def true() -> bool:
        return condition()

    await until(true, what)
