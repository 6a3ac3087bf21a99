"""What tests of several parts share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.postgres import database_url, new_journal, postgres

__all__ = ["database_url", "new_journal", "postgres"]

TOUR = "test_migration"
"""How the files of tests/e2e begin that share the tour's run."""


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Keeps the tests of a file on one worker: they share what takes seconds to start."""
    for item in items:
        tour = item.path.parent.name == "e2e" and item.path.name.startswith(TOUR)
        item.add_marker(pytest.mark.xdist_group(TOUR if tour else str(item.path)))
