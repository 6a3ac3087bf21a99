"""An entry as rows: the tables `entry` and `posting`, and the hash that chains them.

The hash covers the entry before it, all of the entry and its postings. Only `confirmed` is outside: it says
that the entry's rows are in ClickHouse, which comes later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from services.ledger.adapters.journal.database import BrokenChainError, metadata
from services.ledger.core.book import Draft, Kind, Line, Posting

CHAIN = "entry"
ENTRIES = sql.Table(
    "entry",
    metadata,
    sql.Column("entry_id", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("kind", sql.Text, nullable=False),
    sql.Column("batch", sql.Text, nullable=False, unique=True),
    sql.Column("book_unix_us", sql.BigInteger, nullable=False),
    sql.Column("leg_count", sql.BigInteger, nullable=False),
    sql.Column("unknown_count", sql.BigInteger, nullable=False),
    sql.Column("cost_nanos", sql.BigInteger, nullable=False),
    sql.Column("lines", sql.Text, nullable=False),
    sql.Column("detail", sql.Text, nullable=False),
    sql.Column("confirmed", sql.Boolean, nullable=False),
    sql.Column("entry_sha256", sql.LargeBinary(32), nullable=False),
)
UNCONFIRMED = ENTRIES.c.confirmed == sql.false()
# Few are unconfirmed at any time: finding the first costs nothing, however many entries there are.
sql.Index("entry_unconfirmed", ENTRIES.c.entry_id, sqlite_where=UNCONFIRMED, postgresql_where=UNCONFIRMED)
POSTINGS = sql.Table(
    "posting",
    metadata,
    sql.Column("entry_id", sql.BigInteger, sql.ForeignKey(ENTRIES.c.entry_id), primary_key=True),
    sql.Column("account", sql.Text, primary_key=True),
    sql.Column("amount_nanos", sql.BigInteger, nullable=False),
)
_CHUNK = 500
"""Parameters of one statement: far below the limit of any database."""
_HASHED = (
    "entry_id",
    "kind",
    "batch",
    "book_unix_us",
    "leg_count",
    "unknown_count",
    "cost_nanos",
    "lines",
    "detail",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the book in its place."""

    entry_id: int
    """1, 2, 3, …"""
    book_unix_us: int
    """Microseconds since the epoch."""
    draft: Draft
    confirmed: bool
    """Its rows are in ClickHouse."""
    entry_sha256: bytes


def entry_values(draft: Draft, entry_id: int, book_unix_us: int) -> dict[str, Any]:
    """The columns of an entry that its hash covers."""
    return {
        "entry_id": entry_id,
        "kind": draft.kind.value,
        "batch": draft.batch,
        "book_unix_us": book_unix_us,
        "leg_count": draft.leg_count,
        "unknown_count": draft.unknown_count,
        "cost_nanos": draft.cost_nanos,
        "lines": _json([_line_fields(line) for line in draft.lines]),
        "detail": _json(draft.detail),
    }


def posting_values(draft: Draft, entry_id: int) -> list[dict[str, Any]]:
    """The rows of an entry's postings."""
    return [
        {"entry_id": entry_id, "account": posting.account, "amount_nanos": posting.amount_nanos}
        for posting in draft.postings
    ]


def entry_hash(before: bytes, values: Mapping[Any, Any], postings: Sequence[Posting]) -> bytes:
    """SHA-256 over the hash of the entry before, the columns and the postings by account."""
    digest = hashlib.sha256(before)
    items = [values[name] for name in _HASHED]
    for posting in postings:
        items += (posting.account, posting.amount_nanos)
    for item in items:
        data = str(item).encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()


def load(db: Connection, condition: sql.ColumnElement[bool], limit: int | None = None) -> list[Entry]:
    """Entries that fulfil a condition, ascending.

    Raises:
        BrokenChainError: one can't be read.
    """
    rows = db.execute(sql.select(ENTRIES).where(condition).order_by(ENTRIES.c.entry_id).limit(limit)).all()
    posted: dict[int, tuple[Posting, ...]] = {}
    # By number and not by a subquery, for which PostgreSQL may read the whole table before it knows better.
    for begin in range(0, len(rows), _CHUNK):
        ids = [row.entry_id for row in rows[begin : begin + _CHUNK]]
        posted.update(load_postings(db, POSTINGS.c.entry_id.in_(ids)))
    return [entry_of(row, posted.get(row.entry_id, ())) for row in rows]


def load_postings(db: Connection, condition: sql.ColumnElement[bool]) -> dict[int, tuple[Posting, ...]]:
    """Postings by entry, each entry's by account."""
    found: dict[int, list[Posting]] = {}
    for row in db.execute(sql.select(POSTINGS).where(condition)):
        found.setdefault(row.entry_id, []).append(Posting(row.account, row.amount_nanos))
    # Sorted here: a database's own order of texts depends on its locale.
    return {key: tuple(sorted(items, key=lambda item: item.account)) for key, items in found.items()}


def entry_of(row: Any, postings: tuple[Posting, ...]) -> Entry:
    """The entry of a row.

    Raises:
        BrokenChainError: it can't be read.
    """
    try:
        lines = tuple(_line(*fields) for fields in json.loads(row.lines))
        kept = Draft(Kind(row.kind), row.batch, lines, postings, json.loads(row.detail))
    except (ValueError, TypeError) as error:
        raise BrokenChainError(f"entry {row.entry_id} can't be read: {error}") from error
    return Entry(row.entry_id, row.book_unix_us, kept, row.confirmed, row.entry_sha256)


def _line_fields(line: Line) -> list[Any]:
    named = [line.workload, line.target, line.purpose, line.creditor, line.leg_count, line.unknown_count]
    return [*named, list(line.parts_nanos)]


def _line(
    workload: str,
    target: str,
    purpose: str,
    creditor: str,
    leg_count: int,
    unknown_count: int,
    parts: Sequence[int],
) -> Line:
    first, second, third, fourth, fifth, sixth = parts
    parts_nanos = (first, second, third, fourth, fifth, sixth)
    return Line(workload, target, purpose, creditor, leg_count, unknown_count, parts_nanos)


def _json(value: Any) -> str:
    """Canonical, and ASCII: PostgreSQL's text has no NUL."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
