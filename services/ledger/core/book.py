"""The book: what a batch of legs costs, as one entry whose debits equal its credits.

An expense account is a workload × target × purpose × token class; it is debited. What it is owed to is
credited: a provider, or a pool of GPUs of the organisation's own. A pool's hours that served nobody are an
expense too, its idle account. Amounts are integer nano-dollars: positive is a debit, negative a credit.

Money that nobody knows is in no account. How many legs of unknown cost an entry has stands in its lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote


class TokenClass(StrEnum):
    """What money is paid for, in the order in which costs are split."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    CACHE_WRITE = "cache_write"
    OUTPUT = "output"
    REASONING = "reasoning"
    REQUEST = "request"
    """A price of the call itself, whatever its tokens."""


class Kind(StrEnum):
    """What an entry books."""

    LEGS = "legs"
    """A sealed batch of legs."""
    REPRICING = "repricing"
    """The differences that another price makes to legs of before. Never an edit."""
    POOL_PERIOD = "pool_period"
    """A pool's period, spread over the legs that it served, and its idle rest."""


class UnbalancedError(Exception):
    """The amounts of an entry do not add up to zero."""


@dataclass(frozen=True, slots=True)
class Line:
    """The legs of a batch that share their accounts."""

    workload: str
    """Empty for requests that were not named."""
    target: str
    """`cloud` or `sovereign`."""
    purpose: str
    creditor: str
    """Of `provider` or `pool` below."""
    leg_count: int
    unknown_count: int
    """Of them, those whose cost is not known. Negative in an entry that finds out."""
    parts_nanos: tuple[int, int, int, int, int, int]
    """Cost by TokenClass, in its order."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from the other lines of an entry."""
        return (self.workload, self.target, self.purpose, self.creditor)


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount on an account."""

    account: str
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has its place in the chain."""

    kind: Kind
    batch: str
    """Names what is booked: no two entries have the same."""
    lines: tuple[Line, ...]
    postings: tuple[Posting, ...]
    """By account, none of zero; their sum is zero."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What the amounts follow from: the rates, the period. JSON."""

    @property
    def leg_count(self) -> int:
        """Legs of all lines."""
        return sum(line.leg_count for line in self.lines)

    @property
    def unknown_count(self) -> int:
        """Legs of all lines whose cost is unknown."""
        return sum(line.unknown_count for line in self.lines)

    @property
    def cost_nanos(self) -> int:
        """What the legs cost, without idle hours."""
        return sum(sum(line.parts_nanos) for line in self.lines)


def draft(
    kind: Kind,
    batch: str,
    lines: Iterable[Line],
    *,
    idle: Mapping[str, int] | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Draft:
    """The entry of some legs.

    Args:
        kind: what it books.
        batch: its name.
        lines: no two with the same key.
        idle: nano-dollars of idle hours by name of the pool.
        detail: what the amounts follow from.
    """
    kept = tuple(sorted(lines, key=lambda line: line.key))
    amounts: dict[str, int] = {}

    def post(debit: str, credit: str, amount_nanos: int) -> None:
        amounts[debit] = amounts.get(debit, 0) + amount_nanos
        amounts[credit] = amounts.get(credit, 0) - amount_nanos

    for line in kept:
        for token_class, amount in zip(TokenClass, line.parts_nanos, strict=True):
            if amount:
                post(expense(line.workload, line.target, line.purpose, token_class), line.creditor, amount)
    for name, amount in (idle or {}).items():
        post(idle_account(name), pool(name), amount)
    postings = tuple(Posting(account, amounts[account]) for account in sorted(amounts) if amounts[account])
    return Draft(kind, batch, kept, balanced(postings), dict(detail or {}))


def balanced(postings: Sequence[Posting]) -> tuple[Posting, ...]:
    """The postings, if they add up to zero.

    Raises:
        UnbalancedError: they do not.
    """
    total = sum(posting.amount_nanos for posting in postings)
    if total:
        raise UnbalancedError(f"debits and credits differ by {total} nano-dollars")
    return tuple(postings)


def expense(workload: str, target: str, purpose: str, token_class: TokenClass) -> str:
    """The account of what a workload's tokens of a class cost."""
    return "/".join(("expense", *(quote(part, safe="") for part in (workload, target, purpose, token_class))))


def provider(name: str) -> str:
    """The account of what a provider is owed."""
    return f"provider/{quote(name, safe='')}"


def pool(name: str) -> str:
    """The account of a GPU pool's hours."""
    return f"pool/{quote(name, safe='')}"


def idle_account(name: str) -> str:
    """The account of a pool's hours that served nobody."""
    return f"idle/{quote(name, safe='')}"
