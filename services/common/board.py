"""A value that changes now and then, and those who wait for the change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Board(Generic[T]):
    """The current value under a version. A watcher that is slow misses what was replaced meanwhile."""

    def __init__(self, value: T, version: int) -> None:
        self.value = value
        self.version = version
        self._changed = asyncio.Event()
        self._closed = False

    def post(self, value: T, version: int) -> None:
        """Replaces the value and wakes all watchers."""
        self.value = value
        self.version = version
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Ends all watches: a server that stops would wait for them."""
        self._closed = True
        self._changed.set()

    async def watch(self, known_version: int) -> AsyncIterator[T]:
        """The value as soon as its version is another than the known one, then after each change; ends when
        the board is closed."""
        while not self._closed:
            changed = self._changed
            if self.version != known_version:
                known_version = self.version
                yield self.value
            else:
                await changed.wait()
