"""What an export says, whatever its format: a row for each bucket of usage, each request or line of cost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

FIRST_TIME = datetime(2015, 1, 1, tzinfo=UTC)
"""No provider sold tokens before: an earlier time is a mistake, such as a duration in place of a time."""
END_TIME = datetime(2100, 1, 1, tzinfo=UTC)
"""A time from here on is a mistake too, such as the year 9999 for "never"."""
MAX_TOKENS = 2**53
"""Counts above are a mistake: JSON's numbers are not exact beyond, and no organisation uses as many."""
EXCERPT_CHARS = 200
"""How much of a bad row is kept at most."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A fact of an export. None is unknown, which is not zero."""

    kind: Literal["usage", "cost"]
    """Tokens that were used, or money that was billed."""
    line: int
    """Line of the file, or the ordinal of the record where several stand on a line; from 1."""
    start_time: datetime
    """UTC."""
    end_time: datetime
    """UTC; the start for a single request."""
    row_key: bytes
    """16 bytes of the natural key: the same fact imported again has the same."""
    provider: str = ""
    """Empty, as the texts below, if the export does not say."""
    model: str = ""
    project: str = ""
    key_name: str = ""
    user: str = ""
    service_tier: str = ""
    batch: bool = False
    requests: int | None = None
    input_tokens: int | None = None
    """Neither read from nor written to a cache: the five counts are disjoint."""
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    """Without reasoning, if the export tells it apart; else with it."""
    reasoning_tokens: int | None = None
    billed_nanos: int | None = None
    """Nano-units of `currency`; negative for a credit."""
    currency: str = ""
    """ISO 4217, upper case."""
    line_item: str = ""
    token_class: str = ""
    """`input`, `cached_input`, `cache_write`, `output`: what a line of cost is paid for."""
    quantity: Decimal | None = None
    quantity_unit: str = ""
    fingerprint: str = ""
    """Hex digest of the request's fixed parts, empty without text."""
    grouping: str = ""
    """By which dimensions a bucket is split, such as `model,project`; `embeddings:model` where an API counts
    for itself; empty for single requests."""
    unpriced: str = ""
    """Why a list price of the tokens can't be told, such as `audio tokens`."""
    known_by_id: bool = False
    """The key is that of an id that the export gives the request: another row with it is the same fact."""
    long_context: bool | None = None
    """Whether all of the row's requests are above, or all below, the threshold of long-context prices."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be counted, and why."""

    line: int
    reason: str
    excerpt: str
    """What stands there, without the text of any prompt; at most EXCERPT_CHARS."""


def row_key(*parts: object) -> bytes:
    """16 bytes that tell a fact from all others.

    Args:
        parts: the natural key; their texts are joined by a sign that no name has.
    """
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
