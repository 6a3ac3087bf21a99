"""Money for people, from whole nano-dollars: no float on the way. The exact figures are in --json."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

NANOS_PER_DOLLAR = 1_000_000_000
_STEPS = ((Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))


def money(nanos: int) -> str:
    """`$12,345`, `$12.34`, `-$0.0012`: dollars of a thousand and more, else cents, else what there is."""
    usd = abs(Decimal(nanos)) / NANOS_PER_DOLLAR
    sign = "-" if nanos < 0 else ""
    if usd >= 1000:
        return f"{sign}${_rounded(usd, 0):,f}"
    if usd >= Decimal("0.01") or not nanos:
        return f"{sign}${_rounded(usd, 2):,f}"
    return f"{sign}${usd.normalize():f}"


def brief(nanos: int) -> str:
    """`$12k`, `$1.2M`, `$340`, `<$1`: for ranges, whose digits nobody believes."""
    usd = abs(Decimal(nanos)) / NANOS_PER_DOLLAR
    sign = "-" if nanos < 0 else ""
    if nanos and usd < 1:
        return f"{sign}<$1"
    for size, letter in _STEPS:
        if _rounded(usd, 0) >= size:
            amount = usd / size
            return f"{sign}${_rounded(amount, 1 if amount < 10 else 0):,f}{letter}"
    return f"{sign}${_rounded(usd, 0):,f}"


def span(low: int, high: int) -> str:
    """A range: `$12k to $1.2M`; what would read the same at both ends is told once."""
    first, last = brief(low), brief(high)
    return first if first == last else f"{first} to {last}"


def _rounded(value: Decimal, digits: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
