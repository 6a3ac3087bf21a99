"""Money and counts as people read them in a table. The exact figures are in --json."""

from __future__ import annotations

NANOS_PER_DOLLAR = 1_000_000_000
_STEPS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def dollars(nanos: int | None) -> str:
    """`$12,345`, `$12.34`, `$0.0012`; unknown if it is."""
    if nanos is None:
        return "unknown"
    sign, amount = ("-" if nanos < 0 else ""), abs(nanos) / NANOS_PER_DOLLAR
    if amount >= 1000:
        return f"{sign}${amount:,.0f}"
    if amount >= 0.01 or not nanos:
        return f"{sign}${amount:,.2f}"
    return f"{sign}${amount:.2g}" if amount >= 0.0001 else f"{sign}<$0.0001"


def short_dollars(nanos: int) -> str:
    """`$12k`, `$1.2M`, `$340`, `<$1`: for pictures and ranges, whose digits nobody believes."""
    sign, amount = ("-" if nanos < 0 else ""), abs(nanos) / NANOS_PER_DOLLAR
    return f"{sign}${_short(amount)}" if amount >= 1 or not nanos else f"{sign}<$1"


def between(low: int, high: int) -> str:
    """A range of nano-dollars; what would read the same at both ends is told once."""
    first, last = short_dollars(low), short_dollars(high)
    if first == last:
        return first if first.endswith("<$1") else f"about {first}"
    return f"{first} to {last}" if low < 0 else f"{first}–{last}"


def count(number: int | None) -> str:
    """`1.2M`, `340`; unknown if it is."""
    return "unknown" if number is None else _short(number)


def percent(share: float) -> str:
    """`38 %`, `0.4 %`, and never 100 % of what is not all."""
    shown = f"{share:.0%}" if share >= 0.01 or not share else f"{share:.1%}"
    if share < 1 and shown == "100%":
        shown = f"{min(share, 0.999):.1%}"
    return shown.replace("%", " %")


def _short(number: float) -> str:
    for size, letter in _STEPS:
        if number >= size:
            amount = number / size
            return f"{amount:.1f}{letter}" if amount < 10 else f"{amount:,.0f}{letter}"
    return f"{number:,.0f}"
