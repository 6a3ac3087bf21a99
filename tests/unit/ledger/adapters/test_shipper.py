"""A batch whose connection to the journal was lost: what is committed all the same is booked, and sent on."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import closing
from typing import Any, cast

import pytest
from clickhouse_connect.driver.client import Client
from homeward.common.v1 import leg_pb2

from services.common.outbox import Batch
from services.ledger.adapters.journal.claims import Claims
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.journal.rows import Entry
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.shipper import Shipper
from tests.support.postgres import Postgres


class Inserts:
    """A ClickHouse that takes blocks, or is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.tokens: list[str] = []

    def raw_insert(self, _table: str, *, settings: dict[str, Any], **_: Any) -> None:
        if self.away:
            raise OSError("away")
        self.tokens.append(settings["insert_deduplication_token"])


class SlowClaims(Claims):
    """What is committed by somebody else falls behind the moment in which they were read."""

    then: Callable[[], None]

    def taken(self, leg_ids: Collection[bytes]) -> set[bytes]:
        found = super().taken(leg_ids)
        self.then()
        return found


class SlowEntries(Entries):
    """As SlowClaims."""

    then: Callable[[], None]

    def find(self, batch: str) -> Entry | None:
        found = super().find(batch)
        self.then()
        return found


@pytest.mark.postgres
def test_an_entry_that_is_committed_while_the_batch_comes_again_is_not_taken_for_anothers(
    postgres: Postgres,
) -> None:
    ids = [os.urandom(16) for _ in range(3)]
    legs = [leg_pb2.Leg(leg_id=one, request_id=one, trace_id=one, span_id=one[:8]) for one in ids]
    batch = Batch(1, os.urandom(16), [leg.SerializeToString() for leg in legs])
    with closing(Database(postgres.place())) as database:
        entries, claims, clickhouse = SlowEntries(database), SlowClaims(database, 600), Inserts()
        left = [1]

        def committed() -> None:
            """After the first look at the journal, whatever it looks at."""
            if left:
                left.clear()
                before = Shipper(PriceList([]), Entries(database), None, Claims(database, 600), {})
                with pytest.raises(OSError, match="away"):
                    before.ship(cast(Client, Inserts(away=True)), batch)

        entries.then = claims.then = committed
        shipper = Shipper(PriceList([]), entries, None, claims, {})
        for _ in range(2):
            shipper.ship(cast(Client, clickhouse), batch)
        assert clickhouse.tokens == [batch.token] * 2
        [entry] = entries.read(0, 10)
        assert (entry.draft.leg_count, entry.confirmed) == (3, True)
