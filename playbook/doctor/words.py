"""Sizes and times in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

_BYTES = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_TIMES = ((86_400, "d"), (3600, "h"), (60, "min"))


def size(count: float) -> str:
    """`12.3 GiB`."""
    number = float(count)
    for unit in _BYTES[:-1]:
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} {_BYTES[-1]}"


def span(seconds: float) -> str:
    """`3 d`, `2 h`, `12 s`; below ten seconds with a decimal, below one in milliseconds."""
    for length, unit in _TIMES:
        if abs(seconds) >= length:
            return f"{seconds / length:.0f} {unit}"
    if abs(seconds) >= 10:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if abs(seconds) >= 1 else f"{seconds * 1000:.0f} ms"


def listed(names: Iterable[object], most: int = 5) -> str:
    """`a, b, c and 4 more`."""
    all_names = sorted(map(str, names))
    more = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {more} more" if more > 0 else "")
