"""Sends a sealed batch of legs on: to the journal first, then to ClickHouse.

The entry fixes what the legs cost. Whatever is killed in between, the batch comes again under the same name
and is priced with the rates that stand in its entry, whatever the price list says by then; ClickHouse knows
its rows by the name, and so do the views that are fed by them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from clickhouse_connect.driver.client import Client
from sqlalchemy.engine import Connection

from services.common.outbox import Batch
from services.common.words import Target, label
from services.ledger.adapters import clickhouse
from services.ledger.adapters.journal.budgets import Budgets
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.leg_columns import LegColumns
from services.ledger.adapters.prices import PriceList
from services.ledger.core.booking import Priced, book_again, book_batch
from services.ledger.core.budgets import Spent

_CLOUD = label(Target.CLOUD)


class Shipper:
    """Books batches and inserts their rows."""

    def __init__(
        self, prices: PriceList, entries: Entries, budgets: Budgets | None, pools: Mapping[str, str]
    ) -> None:
        """
        Args:
            prices: where rates come from.
            entries: the journal.
            budgets: settled with each new entry.
            pools: the GPU pool of each upstream that belongs to one.
        """
        self._prices = prices
        self._entries = entries
        self._budgets = budgets
        self._pools = pools

    def ship(self, client: Client, batch: Batch) -> None:
        """Returns when the batch is in the journal and in ClickHouse. To be repeated until it returns.

        Raises:
            DomainError: STORAGE_UNAVAILABLE, of the journal.
            clickhouse_connect.driver.exceptions.Error, OSError: ClickHouse does not take it.
            BookedOtherwiseError: the batch has an entry that it does not give.
        """
        columns = LegColumns(batch.payloads)
        priced, draft = book_batch(batch.token, columns.legs, self._prices.holding, self._pools)

        def settle(db: Connection) -> None:
            if self._budgets is not None:
                self._budgets.settle(db, _spent(columns, priced))

        entry = self._entries.append(draft, now_unix_us=time.time_ns() // 1000, also=settle)
        if entry.draft != draft:
            # It was booked before something was killed, at other prices.
            priced = book_again(entry.draft, columns.legs)
        clickhouse.insert_block(client, columns.block(priced, entry.entry_id, batch.token), batch.token)
        self._entries.confirm(entry.entry_id)


def _spent(columns: LegColumns, priced: Priced) -> Iterator[Spent]:
    legs = columns.legs
    rows: zip[tuple[Any, ...]] = zip(
        columns.leg_ids,
        legs.target.codes.tolist(),
        legs.workload.codes.tolist(),
        columns.key_names,
        legs.purpose.codes.tolist(),
        legs.start_unix_s.tolist(),
        priced.cost_nanos.tolist(),
        priced.known.tolist(),
        strict=True,
    )
    for leg_id, target, workload, key_name, purpose, start_unix_s, cost_nanos, known in rows:
        if legs.target.texts[target] == _CLOUD:
            yield Spent(
                leg_id=leg_id,
                workload=legs.workload.texts[workload],
                key_name=key_name,
                purpose=legs.purpose.texts[purpose],
                start_unix_s=start_unix_s,
                cost_nanos=cost_nanos if known else None,
            )
