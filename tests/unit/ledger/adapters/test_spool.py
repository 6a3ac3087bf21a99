"""What waits for the disk is bounded, and budgets do not wait for ClickHouse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from homeward.common.v1 import leg_pb2, usage_pb2

from services.common.errors import DomainError, Reason
from services.common.ids import uuid7
from services.common.outbox import Put
from services.common.settings import Budget, ClickHouse
from services.ledger.adapters import spool as module
from services.ledger.adapters.journal.budgets import Budgets, Reserve
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.spool import Spool
from services.ledger.config import PriceSettings
from tests.support.stack import until

MAX_PENDING_LEGS = 10
PRICE = PriceSettings(
    provider="homeward-cloud",
    model="house-mini",
    effective_from=date(2020, 1, 1),
    input_usd_per_mtok=Decimal(1),
    output_usd_per_mtok=Decimal(1),
)
"""A thousand tokens cost a tenth of a cent."""


@pytest.fixture
def database(new_journal: Callable[[], str]) -> Iterator[Database]:
    made = Database(new_journal())
    yield made
    made.close()


@pytest.fixture
def budgets(database: Database) -> Budgets:
    return Budgets(database, {"all": Budget(limit_usd=Decimal(1), period="month")})


@pytest.fixture
async def spool(
    tmp_path: Path, database: Database, budgets: Budgets, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Spool]:
    """One whose ClickHouse is away."""
    monkeypatch.setattr(module, "MAX_PENDING_LEGS", MAX_PENDING_LEGS)
    monkeypatch.setattr(module, "AHEAD_S", 0.0)
    made = Spool(
        tmp_path,
        PriceList([PRICE]),
        ClickHouse(url="http://127.0.0.1:1"),
        Entries(database),
        budgets,
        None,
        {},
        max_rows=1000,
        remember_s=60,
    )
    yield made
    await asyncio.to_thread(made.close, 10)


def legs(first: int, count: int) -> list[leg_pb2.Leg]:
    return [leg_pb2.Leg(leg_id=number.to_bytes(16, "big")) for number in range(first, first + count)]


async def test_more_than_may_wait_for_the_disk_is_sent_back_and_counted(spool: Spool) -> None:
    with spool._arrived:  # the writer can't begin
        first = asyncio.create_task(spool.put(legs(0, 8)))
        second = asyncio.create_task(spool.put(legs(8, 2)))
        await asyncio.sleep(0)
        with pytest.raises(DomainError) as caught:
            await spool.put(legs(10, 1))
        assert caught.value.reason is Reason.QUEUE_FULL
        assert (caught.value.metadata["queue"], caught.value.retry_after_s) == ("commits", 5)
        assert spool.sent_back == 1
    assert (await first, await second) == (Put(8, 0), Put(2, 0))
    assert await spool.put(legs(9, 2)) == Put(1, 1)


async def test_a_call_larger_than_may_wait_is_taken_when_nothing_waits(spool: Spool) -> None:
    assert await spool.put(legs(0, MAX_PENDING_LEGS + 1)) == Put(MAX_PENDING_LEGS + 1, 0)
    assert spool.sent_back == 0


async def test_while_clickhouse_is_away_legs_are_booked_and_what_was_set_aside_for_them_is_free(
    spool: Spool, database: Database, budgets: Budgets
) -> None:
    now_unix_s = int(time.time())
    for number in range(3):
        leg = leg_pb2.Leg(
            leg_id=uuid7(time.time_ns()),
            target=leg_pb2.TARGET_CLOUD,
            outcome=leg_pb2.OUTCOME_OK,
            provider=PRICE.provider,
            model=PRICE.model,
            usage=usage_pb2.Usage(
                input_tokens=1000,
                cached_input_tokens=0,
                cache_write_tokens=0,
                output_tokens=0,
                reasoning_tokens=0,
            ),
        )
        leg.start_time.FromSeconds(now_unix_s)
        [decision] = budgets.change([Reserve(leg.leg_id, "", "", "production", 50_000_000)], now_unix_s)
        assert decision is not None
        assert decision.stopped_by is None
        await spool.put([leg])

        async def settled(spent_nanos: int = (number + 1) * 1_000_000) -> bool:
            [standing] = await asyncio.to_thread(budgets.standing, now_unix_s)
            return (standing.page.reserved_nanos, standing.page.spent_nanos) == (0, spent_nanos)

        await until(settled, "what the leg cost has taken the place of what was set aside")
    entries = Entries(database).read(0, 10)
    assert sum(entry.draft.leg_count for entry in entries) == 3
    assert not any(entry.confirmed for entry in entries), "their rows are not in ClickHouse"
