"""A fact: a value that somebody can look up again. Every number of the document is one.

A fact has a reference, which says where to look: a query with its parameters, an entry of the journal, what
shadow or the classifier answers, a setting, a published figure, or how it follows from other facts. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

NOT_MEASURED = "not measured"
"""How a value that nobody has is written. Never zero."""
NOT_SET, NOT_DECLARED = "not set", "not declared"
"""How a setting is written that nobody has made, and one that only the organisation can make."""
NANOS_PER_DOLLAR = 1_000_000_000
LONGEST_MONTHS = 120
"""A payback that takes longer is written as that."""
GAP = "\u00a0"
"""Between a number and its unit: no line ends there."""

Value = int | float | str | bool | None


class Kind(StrEnum):
    """What a reference points to; the value is its letter in the document."""

    QUERY = "Q"
    JOURNAL = "J"
    SHADOW = "A"
    REGISTRY = "R"
    SETTING = "S"
    PUBLISHED = "P"
    COMPUTED = "C"


KINDS: Mapping[Kind, str] = {
    Kind.QUERY: "query of the book",
    Kind.JOURNAL: "entry of the journal",
    Kind.SHADOW: "answer of ShadowService",
    Kind.REGISTRY: "answer of ClassifierService",
    Kind.SETTING: "setting",
    Kind.PUBLISHED: "published figure",
    Kind.COMPUTED: "computed from other facts",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a value can be looked up."""

    kind: Kind
    name: str
    """With the kind and the parameters it is unique: `latency`, `decision 12`, `workloads.triage.owner`."""
    detail: str = ""
    """The query itself, the entry's hash, the citation, or how it is computed."""
    parameters: tuple[tuple[str, Any], ...] = ()
    """Of a query."""
    rows: int | None = None
    """How many rows a query gave."""
    inputs: tuple[Fact, ...] = ()
    """What it is computed from."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it another reference."""
        return self.kind.value, self.name, json.dumps(self.parameters, default=str)


@dataclass(frozen=True, slots=True)
class Fact:
    """A value with its unit, how it is written, and where it comes from."""

    key: str
    """The same in each document of the same things: `latency/triage/cloud/p95_us`."""
    value: Value
    """None: not measured."""
    unit: str
    reference: Reference
    text: str = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.value, float) and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)
        object.__setattr__(self, "text", written(self.value, self.unit))

    @property
    def known(self) -> bool:
        """Whether it was measured."""
        return self.value is not None

    @property
    def there(self) -> bool:
        """Whether somebody has measured or declared it."""
        return self.known and self.value not in (NOT_SET, NOT_DECLARED)

    @property
    def number(self) -> float | None:
        """Its value as a number; None if it is none."""
        return float(self.value) if isinstance(self.value, (int, float)) else None


def computed(key: str, value: Value, unit: str, how: str, inputs: Sequence[Fact], *, name: str = "") -> Fact:
    """A fact that follows from others.

    Args:
        key: names it.
        value: None if one of the inputs is not known.
        unit: as in `UNITS`.
        how: the formula, in words.
        inputs: at least one.
        name: of the reference; those of the same name have one entry, and must have the same inputs. Left
            out: the key.
    """
    if not inputs:
        raise ValueError(f"{key} is computed from nothing")
    return Fact(key, value, unit, Reference(Kind.COMPUTED, name or key, how, inputs=tuple(inputs)))


def published(name: str, value: Value, unit: str, citation: str) -> Fact:
    """A figure that somebody else has published, and where.

    Raises:
        ValueError: there is no citation.
    """
    if not citation.strip():
        raise ValueError(f"{name} is published nowhere")
    return Fact(f"published/{name}", value, unit, Reference(Kind.PUBLISHED, name, citation))


def references(facts: Sequence[Fact]) -> Iterator[Reference]:
    """Of facts, each once, and after each those that it is computed from."""
    seen: set[tuple[str, str, str]] = set()
    waiting = [fact.reference for fact in reversed(facts)]
    while waiting:
        reference = waiting.pop()
        if reference.key in seen:
            continue
        seen.add(reference.key)
        yield reference
        waiting += [fact.reference for fact in reversed(reference.inputs)]


def written(value: Value, unit: str) -> str:
    """A value as it stands in the document.

    Raises:
        ValueError: there is no such unit.
    """
    if unit not in UNITS:
        raise ValueError(f"no unit {unit!r}")
    if value is None:
        return NOT_MEASURED
    return UNITS[unit](value).replace("-", "−") if unit in _SIGNED else UNITS[unit](value)


def _dollars(nanos: Any) -> str:
    return _usd(nanos / NANOS_PER_DOLLAR)


def _usd(amount: Any) -> str:
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    if size >= 0.01 or not size:
        return f"{sign}${size:,.2f}"
    return f"{sign}${_plain(size)}" if size >= 1e-12 else "$0.00"


def _plain(size: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{size:.{min(12, 1 - math.floor(math.log10(size)))}f}"


def _share(value: Any) -> str:
    percent = value * 100
    digits = 0 if abs(percent) >= 10 or percent == round(percent) else 1 if abs(percent) >= 0.1 else 3
    shown = f"{percent:.{digits}f}"
    # Never all of what is not all, and never none of what is some.
    if value < 1 and shown == "100":
        shown = f"{min(percent, 99.9):.1f}"
    return f"{shown}{GAP}%"


def _milliseconds(value_us: Any) -> str:
    value = value_us / 1000
    if value >= 10_000:
        return f"{value / 1000:,.1f}{GAP}s"
    return f"{value:,.0f}{GAP}ms" if value >= 10 else f"{value:.1f}{GAP}ms"


def _seconds(value: Any) -> str:
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if value >= 2 * size or (value >= size and value % size == 0):
            count = round(value / size)
            return f"{count}{GAP}{'day' if name == 'days' and count == 1 else name}"
    return f"{value:.0f}{GAP}s" if value >= 10 or value == round(value) else f"{value:.2f}{GAP}s"


def _moment(value: Any) -> str:
    return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _months(value: Any) -> str:
    digits = 0 if abs(value - round(value)) < 0.05 else 1
    return f"{value:,.{digits}f}{GAP}month{'' if digits == 0 and round(value) == 1 else 's'}"


def _payback(value: Any) -> str:
    """Beyond what any plan reaches the months themselves mean nothing."""
    return _months(value) if value <= LONGEST_MONTHS else f"over {LONGEST_MONTHS // 12}{GAP}years"


def _general(value: Any) -> str:
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 0.001 or not size:
        return f"{value:.4g}" if size < 999.9 else f"{value:.0f}"
    return ("-" if value < 0 else "") + _plain(size) if size >= 1e-12 else "0"


UNITS: Mapping[str, Callable[[Any], str]] = {
    "count": lambda value: f"{round(value):,}",
    "nanos": _dollars,
    "nanos a month": lambda value: f"{_dollars(value)}{GAP}a{GAP}month",
    "usd": _usd,
    "usd a million tokens": lambda value: f"{_usd(value)}{GAP}per{GAP}million",
    "share": _share,
    "share a year": lambda value: f"{_share(value)}{GAP}a{GAP}year",
    "us": _milliseconds,
    "s": _seconds,
    "time": _moment,
    "date": lambda value: str(value)[:10],
    "difference": lambda value: f"{value:+.3f}",
    "log": lambda value: f"{value:.2f}",
    "number": _general,
    "weeks": lambda value: f"{_general(value)}{GAP}weeks",
    "months": _months,
    "payback": _payback,
    "years": lambda value: f"{_general(value)}{GAP}years",
    "days": lambda value: f"{_general(value)}{GAP}days",
    "yes": lambda value: "yes" if value else "no",
    "text": str,
    "hash": lambda value: f"{str(value)[:12]}…",
    "picture": lambda value: f"{str(value)[:12]}…",
}
"""How a value is written by its unit. Times are UTC."""
_SIGNED = frozenset(
    {"count", "nanos", "nanos a month", "usd", "share", "difference", "log", "number", "months"}
)
