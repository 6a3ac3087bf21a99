"""What unnamed requests cost, asked of a real ClickHouse."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from deploy.local.ports import free_ports
from services.classifier.adapters.spend import CHUNK_IDS, Spend
from services.common.ids import uuid7
from services.common.settings import ClickHouse
from services.ledger.adapters.clickhouse import connect, migrate
from tests.support.stack import SECRETS, Stack

# The processes belong to the event loop that started them.
pytestmark = pytest.mark.asyncio(loop_scope="module")

COLUMNS = ("leg_id", "request_id", "start_time", "purpose", "cost_nanos")


@pytest.fixture(scope="module")
async def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouse]:
    """A server with the tables."""
    async with Stack(tmp_path_factory.mktemp("spend")) as stack:
        await stack.start("clickhouse")
        settings = ClickHouse(
            url=f"http://127.0.0.1:{stack.ports['clickhouse']}", password=SECRETS.clickhouse_password
        )
        with closing(connect(settings)) as client:
            migrate(client)
        yield settings


async def book(settings: ClickHouse, legs: list[tuple[bytes, str, int | None]]) -> None:
    """Puts (request, purpose, cost) into the legs."""
    now = datetime.now(UTC)
    rows = [[uuid.uuid4(), uuid.UUID(bytes=request), now, purpose, cost] for request, purpose, cost in legs]

    def insert() -> None:
        with closing(connect(settings)) as client:
            client.insert("homeward.legs", rows, column_names=COLUMNS)

    await asyncio.to_thread(insert)


async def test_a_request_costs_what_its_production_legs_cost_together(clickhouse: ClickHouse) -> None:
    one, two, shadowed, unknown, unbooked = (uuid7(time.time_ns()) for _ in range(5))
    old = uuid.uuid4().bytes
    await book(
        clickhouse,
        [
            (one, "production", 5),
            (two, "production", 0),
            (two, "production", 7),
            (shadowed, "production", 3),
            (shadowed, "shadow", 100),
            (shadowed, "judge", None),
            (unknown, "production", 1),
            (unknown, "production", None),
            (old, "production", 11),
        ],
    )
    asked = [one, two, shadowed, unknown, unbooked, old, one, b"", b"short"]
    costs = await asyncio.to_thread(Spend(clickhouse).cost_nanos, asked)
    # Not zero: unknown. And what is not booked is not there.
    assert costs == {one: 5, two: 7, shadowed: 3, unknown: None, old: 11}


async def test_more_ids_than_fit_into_one_query_are_asked_for_in_several(clickhouse: ClickHouse) -> None:
    requests = [uuid7(time.time_ns()) for _ in range(2 * CHUNK_IDS + 1)]
    await book(clickhouse, [(request, "production", at) for at, request in enumerate(requests)])
    costs = await asyncio.to_thread(Spend(clickhouse).cost_nanos, requests)
    assert costs == {request: at for at, request in enumerate(requests)}


async def test_without_requests_nobody_is_asked_and_without_clickhouse_nothing_is_known() -> None:
    (port,) = free_ports(1)
    spend = Spend(ClickHouse(url=f"http://127.0.0.1:{port}"))
    assert spend.cost_nanos([]) == {}
    assert await asyncio.to_thread(spend.cost_nanos, [uuid7(time.time_ns())]) is None
