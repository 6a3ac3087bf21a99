"""What traffic repeats by, and windows that span it: docs/verdict.md shows why they must. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from playbook.replay import duration_us

Cycle = Literal["week", "day", "none"]

CYCLES: Mapping[str, tuple[str, int]] = {"week": ("7d", 2), "day": ("1d", 14)}
"""The shortest window that spans a cycle, and how many of them make two weeks."""
MIN_WINDOWS = 14
"""Where nothing is known to repeat."""


def windows_of(cycle: Cycle, window: str | None) -> tuple[int, int]:
    """Microseconds of a window, and how many are needed unless somebody says otherwise.

    Args:
        cycle: what the traffic repeats by.
        window: `30s`, `15m`, `1h`, `7d`; None: the cycle's.

    Raises:
        ValueError: it is no length of time, or not whole cycles; or there is neither.
    """
    if cycle not in CYCLES:
        if window is None:
            raise ValueError("--cycle none needs a --window: nothing says how long one should be")
        return duration_us(window), MIN_WINDOWS
    shortest, least = CYCLES[cycle]
    cycle_us = duration_us(shortest)
    length_us = cycle_us if window is None else duration_us(window)
    if length_us < cycle_us or length_us % cycle_us:
        raise ValueError(
            f"--window {window} does not span the traffic's cycle, a {cycle}. Where some of its hours are"
            " better than others, such windows say READY falsely, more often than α allows (docs/verdict.md)."
            f" Leave --window out, give a multiple of {shortest}, or --cycle none if it has no rhythm"
        )
    return length_us, max(1, -(-least * cycle_us // length_us))
