"""Identifiers: UUIDv7 (RFC 9562), which sort by the time of their making."""

from __future__ import annotations

import random

_random = random.Random()
"""Seeded by the system at the start of each process. Ids must be unique, not unguessable, and a system
call for each costs more than all the rest."""


def uuid7(unix_ns: int, entropy: bytes | None = None) -> bytes:
    """A UUIDv7 as 16 bytes, from nanoseconds since the epoch and 10 random bytes."""
    tail = entropy if entropy is not None else _random.randbytes(10)
    head = (unix_ns // 1_000_000).to_bytes(6, "big")
    return head + bytes(((tail[0] & 0x0F) | 0x70, tail[1], (tail[2] & 0x3F) | 0x80)) + tail[3:10]


def uuid_text(value: bytes) -> str:
    """The usual 8-4-4-4-12 form of 16 bytes."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
