"""What tests of several parts share."""

from __future__ import annotations

from tests.support.postgres import database_url, new_journal, postgres

__all__ = ["database_url", "new_journal", "postgres"]
