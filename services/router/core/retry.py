"""When to try an upstream again, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same call may succeed. The SDKs of OpenAI and Anthropic retry the same."""


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: delta-seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(header)
    except (TypeError, ValueError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds())


def wait_before_retry_s(
    attempt: int,
    *,
    max_attempts: int,
    base_s: float,
    max_wait_s: float,
    asked_s: float | None,
    uniform: float,
) -> float | None:
    """Seconds to wait after the failed attempt number `attempt`, or None to give up.

    Exponential with full jitter (Brooker 2015, "Exponential Backoff And Jitter"): uniform in
    [0, base · 2^(attempt-1)]. A server's Retry-After is a lower bound; if it asks for more than
    `max_wait_s`, waiting would only hold the application up.

    Args:
        attempt: from 1.
        asked_s: what Retry-After said, if it did.
        uniform: a draw from [0, 1).
    """
    if attempt >= max_attempts:
        return None
    if asked_s is not None and asked_s > max_wait_s:
        return None
    jittered = uniform * min(max_wait_s, base_s * float(2 ** (attempt - 1)))
    return max(jittered, asked_s or 0.0)
