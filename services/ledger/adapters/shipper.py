"""Sends a sealed batch of legs on: to the journal first, then to ClickHouse.

The entry fixes which legs are booked, as another ledger on the journal may have had some of them before, and
what they cost. Whatever is killed in between, the batch comes again under the same name, and is priced with
the rates that stand in its entry, whatever the price list says by then; ClickHouse knows its rows by the
name, and so do the views that are fed by them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from clickhouse_connect.driver.client import Client
from sqlalchemy.engine import Connection

from services.common.outbox import Batch
from services.common.words import Target, label
from services.ledger.adapters import clickhouse
from services.ledger.adapters.journal.budgets import Budgets
from services.ledger.adapters.journal.claims import BookedElsewhereError, Claims
from services.ledger.adapters.journal.entries import Entries, Entry
from services.ledger.adapters.leg_columns import LegColumns
from services.ledger.adapters.prices import PriceList
from services.ledger.core.booking import LEFT_OUT, Priced, book_again, book_batch
from services.ledger.core.budgets import Spent

log = logging.getLogger(__name__)

_TRIES = 100
"""Each but the last finds legs booked in the moment since it looked."""
_CLOUD = label(Target.CLOUD)


class Shipper:
    """Books batches and inserts their rows."""

    def __init__(
        self,
        prices: PriceList,
        entries: Entries,
        budgets: Budgets | None,
        claims: Claims | None,
        pools: Mapping[str, str],
    ) -> None:
        """
        Args:
            prices: where rates come from.
            entries: the journal.
            budgets: settled with each new entry.
            claims: what the other ledgers have booked; None if there are none.
            pools: the GPU pool of each upstream that belongs to one.
        """
        self._prices = prices
        self._entries = entries
        self._budgets = budgets
        self._claims = claims
        self._pools = pools

    def ship(self, client: Client, batch: Batch) -> None:
        """Returns when the batch is in the journal and in ClickHouse. To be repeated until it returns.

        Raises:
            DomainError: STORAGE_UNAVAILABLE, of the journal.
            clickhouse_connect.driver.exceptions.Error, OSError: ClickHouse does not take it.
            BookedOtherwiseError: the batch has an entry that it does not give.
            BookedElsewhereError: others book its legs faster than it can look.
        """
        booked = self._booked(batch)
        if booked is None:
            return
        columns, priced, entry = booked
        clickhouse.insert_block(client, columns.block(priced, entry.entry_id, batch.token), batch.token)
        self._entries.confirm(entry.entry_id)
        if self._claims is not None:
            self._claims.clean()

    def book(self, batch: Batch) -> None:
        """Returns when the batch is in the journal. Its rows come to ClickHouse by `ship`.

        Raises:
            DomainError, BookedOtherwiseError, BookedElsewhereError: as `ship`.
        """
        self._booked(batch)

    def _booked(self, batch: Batch) -> tuple[LegColumns, Priced, Entry] | None:
        """The batch's legs, what they cost, and their entry; None if others have booked them all."""
        for _ in range(_TRIES - 1):
            try:
                return self._booked_at_once(batch)
            except BookedElsewhereError:
                # Another ledger was first with one of the legs: look again what is left.
                continue
        return self._booked_at_once(batch)

    def _booked_at_once(self, batch: Batch) -> tuple[LegColumns, Priced, Entry] | None:
        columns = LegColumns(batch.payloads)
        left_out = self._left_out(batch.token, columns)
        if left_out:
            gone = {row for first, end in left_out for row in range(first, end)}
            kept = [payload for row, payload in enumerate(batch.payloads) if row not in gone]
            log.info("%d of %d legs were booked by another ledger", len(gone), len(batch.payloads))
            if not kept:
                return None
            columns = LegColumns(kept)
        priced, draft = book_batch(batch.token, columns.legs, self._prices.holding, self._pools, left_out)

        def also(db: Connection) -> None:
            if self._claims is not None:
                self._claims.claim(db, columns.leg_ids)
            if self._budgets is not None:
                self._budgets.settle(db, _spent(columns, priced))

        entry = self._entries.append(draft, now_unix_us=time.time_ns() // 1000, also=also)
        if entry.draft != draft:
            # It was booked before something was killed, at other prices.
            priced = book_again(entry.draft, columns.legs)
        return columns, priced, entry

    def _left_out(self, token: str, columns: LegColumns) -> list[list[int]]:
        """Stretches of the batch, from and before which row, that other ledgers have booked."""
        if self._claims is None:
            return []
        # In this order: who sees the claims of the batch's own entry, which a connection that was lost may
        # commit at any moment, then sees the entry too.
        taken = self._claims.taken(columns.leg_ids)
        entry = self._entries.find(token)
        if entry is not None:
            # As it was when it was booked, whatever is known by now.
            stretches: list[list[int]] = entry.draft.detail.get(LEFT_OUT, [])
            return stretches
        found: list[list[int]] = []
        for row, leg_id in enumerate(columns.leg_ids) if taken else ():
            if leg_id not in taken:
                continue
            if found and found[-1][1] == row:
                found[-1][1] += 1
            else:
                found.append([row, row + 1])
        return found


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
