"""What tests of several parts share."""

from __future__ import annotations

from hypothesis import settings

from tests.support.postgres import database_url, new_journal, postgres

__all__ = ["database_url", "new_journal", "postgres"]

# An example's time says how busy the machine is, and nothing of what it tests.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
