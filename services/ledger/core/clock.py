"""A clock for what can't be taken back: it is never further on than the time that has gone by."""

from __future__ import annotations

from collections.abc import Callable

STANDS_S = 3600.0
"""For how long a clock must stand somewhere else to be believed."""


def steady(
    clock: Callable[[], int], elapsed_s: Callable[[], float], stands_s: float = STANDS_S
) -> Callable[[], int]:
    """The clock, but a leap forth counts only when it has stood for a while.

    So a clock that was behind when the process started, and one that drifts, are followed in the end. One
    that is set back is followed at once, and so is its return. What it says at the beginning is believed.

    Args:
        clock: microseconds since 1970, wherever somebody sets it.
        elapsed_s: seconds of a clock that does not jump, as `time.monotonic`, wherever it begins.
        stands_s: seconds for which a leap must stand, and at most twice that. Looks that are further apart
            make it longer.

    Returns:
        A clock in microseconds since 1970, to be looked at every few seconds.
    """

    def ahead_us(gone_s: float, now_us: int) -> int:
        return now_us - int(gone_s * 1e6)

    turned_s = elapsed_s()
    limit_us = ahead_us(turned_s, clock())
    present, before = (limit_us, limit_us), (limit_us, limit_us)

    def look() -> int:
        nonlocal turned_s, limit_us, present, before
        gone_s, now_us = elapsed_s(), clock()
        seen_us = ahead_us(gone_s, now_us)
        if gone_s - turned_s >= stands_s:
            turned_s, before, present = gone_s, present, (seen_us, seen_us)
        present = min(present[0], seen_us), max(present[1], seen_us)
        lowest_us, highest_us = min(before[0], present[0]), max(before[1], present[1])
        limit_us = min(max(limit_us, lowest_us), highest_us)
        return min(now_us, int(gone_s * 1e6) + limit_us)

    return look
