"""What waits for the disk is bounded: more is sent back, counted, and may come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from homeward.common.v1 import leg_pb2

from services.common.errors import DomainError, Reason
from services.common.outbox import Put
from services.common.settings import ClickHouse
from services.ledger.adapters import spool as module
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.spool import Spool

MAX_PENDING_LEGS = 10


@pytest.fixture
async def spool(
    tmp_path: Path, new_journal: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Spool]:
    """One whose ClickHouse is away."""
    monkeypatch.setattr(module, "MAX_PENDING_LEGS", MAX_PENDING_LEGS)
    database = Database(new_journal())
    made = Spool(
        tmp_path,
        PriceList([]),
        ClickHouse(url="http://127.0.0.1:1"),
        Entries(database),
        None,
        None,
        {},
        max_rows=1000,
        remember_s=60,
    )
    yield made
    await asyncio.to_thread(made.close, 10)
    database.close()


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
