"""Splits a byte stream into server-sent events without changing a byte of them (WHATWG HTML, 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.common.errors import DomainError, Reason

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Largest event that is waited for: above any answer's, and what a broken server may cost in memory."""

DONE = b"[DONE]"
"""The payload that ends a stream of OpenAI's."""

_END = re.compile(rb"\n\r?\n|\r\r")


class Splitter:
    """Takes chunks as they arrive, gives whole events with the blank line that ends them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events that the chunk completes.

        Raises:
            DomainError: UPSTREAM_BROKEN if an event is larger than MAX_EVENT_BYTES.
        """
        data = self._rest + chunk if self._rest else chunk
        done = 0
        for match in _END.finditer(data):
            yield data[done : match.end()]
            done = match.end()
        self._rest = data[done:]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise DomainError(
                Reason.UPSTREAM_BROKEN,
                f"an event is larger than {MAX_EVENT_BYTES} bytes",
                detail="event too large",
            )

    def rest(self) -> bytes:
        """What has arrived of an event that is not whole."""
        return self._rest


def payload(event: bytes) -> bytes:
    """The data of an event; empty for a comment or an event without data."""
    if event.startswith(b"data:") and b"\ndata:" not in event and b"\r" not in event:
        line_end = event.find(b"\n")
        return event[5 : line_end if line_end > 0 else len(event)].strip()
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def event(data: bytes, name: str = "") -> bytes:
    """One event."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"
