"""One stack for all tests that do not harm it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.stack import Stack


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A running stack, shared; tests that kill parts make their own."""
    async with Stack(tmp_path_factory.mktemp("stack")) as running:
        await running.start()
        yield running
