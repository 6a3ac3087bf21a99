"""Whether the chain of entries is what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sql

from services.ledger.adapters.journal.database import BrokenChainError, Database, seen_head
from services.ledger.adapters.journal.rows import (
    CHAIN,
    ENTRIES,
    POSTINGS,
    Entry,
    entry_hash,
    entry_of,
    load_postings,
)
from services.ledger.core.book import Draft, Kind, Posting, UnbalancedError, balanced
from services.ledger.core.book import draft as make_draft

_PAGE = 500
_BEFORE_ALL = -(2**63)
_IDLE = "idle/"
_MAX_NANOS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Checked:
    """What is to be said of one place in the chain."""

    entry_id: int
    entry: Entry | None
    """None if it is missing or can't be read; then there is a problem."""
    problem: str | None
    """None if it is whole."""


def check(database: Database) -> Iterator[Checked]:
    """Goes through the chain in its order, in little memory.

    An entry is checked against the hash that stands at the one before it: a change is a problem of the entry
    that was changed, or of the next if its hash was made anew, and not of all that follow. What is appended
    meanwhile is checked too.
    """
    after_id, expected_id = _BEFORE_ALL, 1
    before: bytes | None = b""
    last = Checked(0, None, None)
    while True:
        with database.reading() as db:
            page = sql.select(ENTRIES).where(ENTRIES.c.entry_id > after_id).order_by(ENTRIES.c.entry_id)
            rows = {row.entry_id: row for row in db.execute(page.limit(_PAGE))}
            within = POSTINGS.c.entry_id > after_id
            more = len(rows) == _PAGE
            if more:
                after_id = max(rows)
                within = sql.and_(within, POSTINGS.c.entry_id <= after_id)
            posted = load_postings(db, within)
            head_id, head_sha256 = seen_head(db, CHAIN)
        for entry_id in sorted(rows.keys() | posted.keys()):
            if entry_id < expected_id:
                yield Checked(entry_id, None, f"entry {entry_id} stands before the first")
                continue
            if entry_id > expected_id:
                yield Checked(expected_id, None, _missing(expected_id, entry_id - 1))
                before = None
            last = _checked(entry_id, rows.get(entry_id), posted.get(entry_id, ()), before)
            yield last
            before = rows[entry_id].entry_sha256 if entry_id in rows else None
            expected_id = entry_id + 1
        if more:
            continue
        if head_id >= expected_id:
            yield Checked(expected_id, None, _missing(expected_id, head_id))
        elif last.problem is None and (head_id, head_sha256) != (last.entry_id, before):
            yield Checked(last.entry_id, None, f"the journal's last entry should be {head_id}, as it was")
        return


def problem_of(draft: Draft) -> str | None:
    """Why these lines and postings can't be one entry; None if they can."""
    if draft.kind is Kind.LEGS and any(not 0 <= line.unknown_count <= line.leg_count for line in draft.lines):
        return "a line has more legs of unknown cost than legs"
    try:
        balanced(draft.postings)
    except UnbalancedError as error:
        return str(error)
    amounts = (draft.cost_nanos, *(posting.amount_nanos for posting in draft.postings))
    if any(abs(amount) > _MAX_NANOS for amount in amounts):
        return "an amount needs more than 64 bits"
    idle = {
        unquote(posting.account.removeprefix(_IDLE)): posting.amount_nanos
        for posting in draft.postings
        if posting.account.startswith(_IDLE)
    }
    made = make_draft(draft.kind, draft.batch, draft.lines, idle=idle)
    if made.lines != draft.lines:
        return "its lines are not in their order"
    if made.postings != draft.postings:
        return "its postings are not those that its lines give"
    return None


def _checked(entry_id: int, row: Any, postings: tuple[Posting, ...], before: bytes | None) -> Checked:
    if row is None:
        return Checked(entry_id, None, f"entry {entry_id} is not there, though its postings are")
    try:
        entry = entry_of(row, postings)
    except BrokenChainError as error:
        return Checked(entry_id, None, str(error))
    return Checked(entry_id, entry, _problem(row, entry, postings, before))


def _problem(row: Any, entry: Entry, postings: Sequence[Posting], before: bytes | None) -> str | None:
    if before is None:
        return f"entry {row.entry_id} can't be checked: the one before it is not there"
    if entry_hash(before, row._mapping, postings) != row.entry_sha256:
        return f"entry {row.entry_id} is not what was written, or not after the entry that is before it"
    kept = entry.draft
    if (row.leg_count, row.unknown_count, row.cost_nanos) != (
        kept.leg_count,
        kept.unknown_count,
        kept.cost_nanos,
    ):
        return "its counts or its cost are not those of its lines"
    return problem_of(kept)


def _missing(first: int, last: int) -> str:
    return f"entry {first} is not there" if first == last else f"entries {first} to {last} are not there"
