"""Looks at what may hang, such as a folder of a dead file system, in a thread that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def apart(look: Callable[[], T]) -> T:
    """What `look` gives or raises. The loop's own threads are waited for at the end; this one is not."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[T] = loop.create_future()

    def give(settle: Callable[[Any], None], value: Any) -> None:
        if not told.done():
            settle(value)

    def run() -> None:
        settle: Callable[[Any], None]
        value: Any
        try:
            settle, value = told.set_result, look()
        except Exception as error:
            settle, value = told.set_exception, error
        # The loop may be closed by then.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(give, settle, value)

    threading.Thread(target=run, daemon=True).start()
    return await told
