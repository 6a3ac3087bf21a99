"""How the journal stands, for `homeward doctor`."""

from __future__ import annotations

from homeward.common.v1 import info_pb2

from services.common.errors import DomainError
from services.ledger.adapters.journal.database import Database, seen_head
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.journal.rows import CHAIN
from services.ledger.core.book import Kind


def journal_info(database: Database, entries: Entries) -> info_pb2.JournalInfo:
    """The last entry, and those of which ClickHouse may not have the rows. May wait for the database."""
    info = info_pb2.JournalInfo()
    try:
        with database.reading() as db:
            info.entry_id = seen_head(db, CHAIN)[0]
        for entry in entries.read(info.entry_id - 1, 1) if info.entry_id else ():
            info.entry_time.FromMicroseconds(entry.book_unix_us)
        unconfirmed = [entry for kind in Kind for entry in entries.unconfirmed(kind)]
    except DomainError as error:
        return info_pb2.JournalInfo(problem=error.message)
    info.unconfirmed_count = len(unconfirmed)
    if unconfirmed:
        info.unconfirmed_time.FromMicroseconds(min(entry.book_unix_us for entry in unconfirmed))
    return info
