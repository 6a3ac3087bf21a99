"""One stack for all tests that do not harm it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from tests.support.stack import SECRETS, Stack


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A running stack, shared; tests that kill parts make their own."""
    async with Stack(tmp_path_factory.mktemp("stack")) as running:
        await running.start()
        yield running


@pytest.fixture(scope="module")
async def client(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """The unmodified OpenAI SDK, of the file's own stack where it has one."""
    async with AsyncOpenAI(base_url=stack.base_url, api_key=SECRETS.api_key, max_retries=0) as made:
        yield made
