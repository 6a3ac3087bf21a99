"""Two months of legs for the analysts' pages: booked by a real ledger, and their costs reckoned here anew.

Legs in the cloud go through the ledger's `Record`. Those at home, their pool's closed periods and the
corrections of both are written as the ledger's corrector writes them, with figures that are known here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from google.protobuf import timestamp_pb2
from homeward.common.v1 import leg_pb2, usage_pb2

from services.common.words import Outcome, label
from tests.support import analyst_shadow
from tests.support.analyst_shadow import Shadow
from tests.support.stack import SECRETS, Stack

PRICES = {"stand-in-mini": (150_000_000, 75_000_000, 150_000_000, 600_000_000, 600_000_000)}
"""Nano-dollars per million tokens by class, as in the stack's settings; other models have no price."""
POOL_HOUR_NANOS = 3_210_000_001
PERIOD_S = 3600
ENTRY = 1_000_000
"""Journal entries of the rows that are written past the ledger."""
TOKEN_CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")
PARTS = (*TOKEN_CLASSES, "request")


@dataclass
class Row:
    """A leg as the tests know it."""

    leg_id: uuid.UUID
    start: datetime
    workload: str
    key_name: str
    purpose: str
    target: str
    model: str
    tokens: tuple[int, int, int, int, int] | None
    latency_us: int
    ttft_us: int | None
    outcome: str
    sample_id: str
    trace_id: str
    changes: list[tuple[int, bool]] = field(default_factory=list)
    """Corrections: nano-dollars, and whether the cost was unknown until then."""

    @property
    def booked_nanos(self) -> int | None:
        """What it cost when it was booked."""
        if self.outcome in ("rejected", "unreachable"):
            return 0
        if self.tokens is None or self.model not in PRICES:
            return None
        return round(
            sum(Fraction(n * rate, 10**6) for n, rate in zip(self.tokens, PRICES[self.model], strict=True))
        )

    @property
    def cost_nanos(self) -> int | None:
        """What the book says that it cost now."""
        booked = self.booked_nanos
        if booked is None and not any(found for _, found in self.changes):
            return None
        return (booked or 0) + sum(nanos for nanos, _ in self.changes)

    @property
    def pool(self) -> str:
        """Of its upstream."""
        return "rack" if self.target == "sovereign" else ""

    @property
    def hour(self) -> datetime:
        """In which it began."""
        return self.start.replace(minute=0, second=0, microsecond=0)

    @property
    def all_tokens(self) -> int:
        """Those that somebody counted."""
        return sum(self.tokens or ())


@dataclass
class Book:
    """What was booked."""

    now: datetime
    rows: list[Row] = field(default_factory=list)
    idle: dict[datetime, int] = field(default_factory=dict)
    """Nano-dollars of the pool's idle hours."""
    busy_us: dict[datetime, int] = field(default_factory=dict)
    shadow: Shadow = field(default_factory=Shadow)

    def since(self, start: datetime, *purposes: str) -> list[Row]:
        """Legs that began then or later, of some purposes or of all."""
        return [row for row in self.rows if row.start >= start and (not purposes or row.purpose in purposes)]

    @property
    def today(self) -> datetime:
        """Midnight."""
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0)

    @property
    def month(self) -> datetime:
        """Its first midnight."""
        return self.today.replace(day=1)

    @property
    def last_month(self) -> datetime:
        """The first midnight of the month before."""
        return (self.month - timedelta(days=1)).replace(day=1)


def make(rng: Random, now: datetime, count: int) -> Book:
    """Legs of this month and the last, a third of them of the last day, and what became of their costs."""
    book = Book(now)
    for _ in range(count):
        oldest = now - timedelta(days=1) if rng.random() < 1 / 3 else book.last_month
        book.rows.append(_row(rng, oldest + (now - oldest) * rng.random()))
    _close_periods(rng, book)
    for row in book.rows:
        if row.target == "cloud" and row.booked_nanos and rng.random() < 0.05:
            row.changes.append((rng.randrange(-row.booked_nanos, 1000), False))
        if (
            row.model == "stand-in-unpriced"
            and row.booked_nanos is None
            and row.tokens
            and rng.random() < 0.2
        ):
            row.changes += [(rng.randrange(10**6), True), (rng.randrange(-50, 50), False)]
    book.shadow = analyst_shadow.make(rng, now)
    return book


def _row(rng: Random, start: datetime) -> Row:
    purpose = rng.choices(("production", "shadow", "noise", "judge"), (10, 4, 2, 1))[0]
    target = {"shadow": "sovereign", "noise": "cloud"}.get(purpose) or rng.choice(
        ("cloud", "cloud", "sovereign")
    )
    outcome = rng.choices([label(item) for item in Outcome], (40, 1, 1, 1, 1, 1))[0]
    billed = outcome not in ("rejected", "unreachable")
    tokens = (
        rng.randrange(1, 4000),
        rng.randrange(900),
        rng.randrange(50),
        rng.randrange(1, 700),
        rng.randrange(300),
    )
    latency_us = int(rng.lognormvariate(12.5, 0.8))
    return Row(
        leg_id=uuid.UUID(int=rng.getrandbits(128)),
        start=start.replace(microsecond=rng.randrange(1000) * 1000),
        workload=rng.choice(("ticket-triage", "ticket-triage", "summaries", "")),
        key_name=rng.choice(("shop", "desk", "night batch")),
        purpose=purpose,
        target=target,
        model="small-llama"
        if target == "sovereign"
        else rng.choice(("stand-in-mini",) * 4 + ("stand-in-unpriced",)),
        tokens=tokens if billed and rng.random() < 0.95 else None,
        latency_us=latency_us,
        ttft_us=latency_us // rng.randrange(2, 9) if rng.random() < 0.7 else None,
        outcome=outcome,
        sample_id="" if purpose == "production" else f"{rng.getrandbits(9):032x}",
        trace_id=f"{rng.getrandbits(128):032x}",
    )


def _close_periods(rng: Random, book: Book) -> None:
    """Spreads half of each hour over its legs by tokens; the last two hours are still open."""
    hours: dict[datetime, list[Row]] = {}
    for row in book.rows:
        if row.pool and row.hour < book.now - timedelta(hours=2):
            hours.setdefault(row.hour, []).append(row)
    for hour, rows in hours.items():
        counted = [row for row in rows if row.tokens and row.booked_nanos is None]
        for row in counted:
            share = Fraction(row.all_tokens, sum(other.all_tokens for other in counted))
            row.changes.append((int(POOL_HOUR_NANOS // 2 * share), True))
        book.idle[hour] = POOL_HOUR_NANOS - sum(nanos for row in counted for nanos, _ in row.changes)
        book.busy_us[hour] = rng.randrange(PERIOD_S * 10**6)


def as_leg(row: Row) -> leg_pb2.Leg:
    """What a router sends of it."""
    usage = usage_pb2.Usage(source=usage_pb2.USAGE_SOURCE_UNKNOWN)
    if row.tokens is not None:
        fields: dict[str, Any] = {
            f"{name}_tokens": count for name, count in zip(TOKEN_CLASSES, row.tokens, strict=True)
        }
        usage = usage_pb2.Usage(source=usage_pb2.USAGE_SOURCE_UPSTREAM, **fields)
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(row.start)
    optional: dict[str, Any] = {} if row.ttft_us is None else {"ttft_us": row.ttft_us}
    return leg_pb2.Leg(
        leg_id=row.leg_id.bytes,
        request_id=row.leg_id.bytes,
        trace_id=bytes.fromhex(row.trace_id),
        span_id=b"12345678",
        start_time=timestamp,
        workload=row.workload,
        key_name=row.key_name,
        purpose=leg_pb2.Purpose.Value(f"PURPOSE_{row.purpose.upper()}"),
        target=leg_pb2.TARGET_CLOUD,
        upstream="cloud",
        provider="homeward-stand-in",
        region="eu",
        model_requested=row.model,
        model=row.model,
        api="chat.completions",
        usage=usage,
        latency_us=row.latency_us,
        outcome=leg_pb2.Outcome.Value(f"OUTCOME_{row.outcome.upper()}"),
        attempts=1,
        sample_id=bytes.fromhex(row.sample_id),
        **optional,
    )


def _words(row: Row) -> dict[str, Any]:
    """What a leg's row and the row of its correction have in common."""
    return {
        "leg_id": row.leg_id,
        "start_time": row.start,
        "workload": row.workload,
        "key_name": row.key_name,
        "purpose": row.purpose,
        "target": row.target,
        "upstream": "home" if row.pool else "cloud",
        "provider": "homeward-home" if row.pool else "homeward-stand-in",
        "region": "eu",
        "pool": row.pool,
        "model": row.model,
    }


def write_home(client: Client, rows: Sequence[Row]) -> None:
    """Inserts legs of the pool as the ledger's shipper does."""
    _insert(
        client,
        "homeward.legs",
        [
            {
                **_words(row),
                **{f"{name}_tokens": row.tokens and row.tokens[n] for n, name in enumerate(TOKEN_CLASSES)},
                "latency_us": row.latency_us,
                "ttft_us": row.ttft_us,
                "outcome": row.outcome,
                "sample_id": row.sample_id,
                "trace_id": row.trace_id,
                "cost_nanos": row.booked_nanos,
                "entry_id": ENTRY,
            }
            for row in rows
        ],
    )


def write_corrections(client: Client, rows: Sequence[Row]) -> None:
    """Inserts what changed the legs' costs, as the ledger's corrector does."""
    _insert(
        client,
        "homeward.corrections",
        [
            {
                **_words(row),
                "cost_nanos": nanos,
                "input_cost_nanos": nanos,
                "found": found,
                "entry_id": ENTRY + 1 + number,
            }
            for row in rows
            for number, (nanos, found) in enumerate(row.changes)
        ],
    )


def write_periods(client: Client, book: Book) -> None:
    """Inserts the pool's closed periods; each was closed once before, without any leg."""
    _insert(
        client,
        "homeward.pool_periods",
        [
            {
                "pool": "rack",
                "period_start": hour,
                "period_s": PERIOD_S,
                "cost_nanos": POOL_HOUR_NANOS,
                "leg_cost_nanos": POOL_HOUR_NANOS - idle,
                "idle_nanos": idle,
                "busy_us": busy_us,
                "entry_id": entry_id,
            }
            for hour in book.idle
            for idle, busy_us, entry_id in (
                (book.idle[hour], book.busy_us[hour], ENTRY + 2),
                (POOL_HOUR_NANOS, 0, ENTRY + 1),
            )
        ],
    )


def write_spans(client: Client, row: Row) -> None:
    """Inserts two spans of a request's trace, the inner one first."""
    inner = {
        "Timestamp": row.start + timedelta(milliseconds=1),
        "TraceId": row.trace_id,
        "SpanId": "0" * 15 + "2",
        "ParentSpanId": "0" * 15 + "1",
        "SpanName": "chat",
        "ServiceName": "router",
        "Duration": row.latency_us * 1000,
        "StatusCode": "Ok",
    }
    outer = {
        **inner,
        "Timestamp": row.start,
        "SpanId": "0" * 15 + "1",
        "ParentSpanId": "",
        "SpanName": "POST",
        "ServiceName": "shop",
        "StatusCode": "Unset",
    }
    _insert(client, "otel.otel_traces", [inner, outer])


def _insert(client: Client, table: str, records: Sequence[dict[str, Any]]) -> None:
    client.insert(table, [list(record.values()) for record in records], list(records[0]))


@contextmanager
def writer(stack: Stack) -> Iterator[Client]:
    """A client of the services' user."""
    client = clickhouse_connect.get_client(
        dsn=f"http://127.0.0.1:{stack.ports['clickhouse']}",
        username="homeward",
        password=SECRETS.clickhouse_password,
        autogenerate_session_id=False,
        settings={"async_insert": 0, "deduplicate_blocks_in_dependent_materialized_views": 1},
    )
    try:
        yield client
    finally:
        client.close()


def present() -> datetime:
    """What the queries on the page are told instead of their own clock: now, in whole seconds.

    In the first days of a month there is too little to sum up: then, the end of the month before.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    return now if now.day > 2 else now.replace(day=1) - timedelta(days=1)
