"""The second half of a correction: its rows in ClickHouse, after its entry in the journal.

All that the rows follow from stands in the entry, so whoever finds an unconfirmed one makes the very same
rows again, and ClickHouse knows those that it has by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from services.ledger.adapters.corrections import CorrectionStore
from services.ledger.adapters.journal.rows import Entry
from services.ledger.core.booking import BookedOtherwiseError, Priced
from services.ledger.core.corrections import BookedLegs, Corrections, Lines

Page: TypeAlias = tuple[BookedLegs, Priced, Corrections]
"""Legs, what they are to cost, and what that changes."""


def insert_rows(store: CorrectionStore, entry: Entry, pages: Callable[[], Iterable[Page]]) -> None:
    """Inserts the rows of a correction entry.

    Args:
        store: where they go.
        entry: it.
        pages: makes its corrections, always the same ones.

    Raises:
        BookedOtherwiseError: they do not give the entry; nothing was inserted.
    """
    lines = Lines()
    for booked, _, made in pages():
        lines.add(booked, made)
    draft = entry.draft
    if lines.lines() != draft.lines:
        legs = sum(line.leg_count for line in lines.lines())
        cost_nanos = sum(sum(line.parts_nanos) for line in lines.lines())
        raise BookedOtherwiseError(
            f"the legs of {draft.batch} give {legs} corrections of {cost_nanos} nano-dollars,"
            f" its entry in the journal has {draft.leg_count} of {draft.cost_nanos}"
        )
    shared = {"correct_time": entry.book_unix_us, "entry_id": entry.entry_id, "batch": draft.batch}
    for number, (booked, priced, made) in enumerate(pages()):
        if len(made):
            store.insert(booked, priced, made, shared, token=f"{draft.batch}-{number}")
