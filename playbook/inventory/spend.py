"""What an organisation spends in the cloud, workload by workload.

A registered workload is one whatever its providers. All else is a group of what an export has: the requests
with the same fixed parts, else a project, else a key, else a user, each with its model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

WHOLE_MONTH_DAYS = 28
"""A month that is made of fewer days is an extrapolation."""

Kind = Literal["registered", "named", "prompt", "project", "key", "user", "model"]
"""What a workload of the list is: registered; named but not registered; or a group by the thing that tells it
apart."""
Source = Literal["usage", "cost", "legs", "export"]
"""Imported tokens, imported bills, legs that the router booked; of days also all that an export is of."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens by what they cost; disjoint."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    """Reasoning included."""

    @property
    def all_input(self) -> int:
        """Of the three classes of input."""
        return self.input + self.cached_input + self.cache_write

    @property
    def total(self) -> int:
        """Of all classes."""
        return self.all_input + self.output

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.cached_input + other.cached_input,
            self.cache_write + other.cache_write,
            self.output + other.output,
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A row of `inventory_usage.sql` or `inventory_legs.sql`."""

    source: Source
    workload: str
    fingerprint: str
    provider: str
    model: str
    who_kind: str
    who: str
    models: tuple[str, ...]
    coarse: bool
    """Some of its buckets are longer than a day, so its days say nothing."""
    daily: tuple[tuple[date, int | None, int], ...]
    """Day, requests (None if unknown), tokens."""
    requests: int | None
    unknown_requests: int
    """Rows that do not say how many requests they are."""
    tokens: Tokens
    cost_nanos: int
    """Of the rows with a price."""
    priced_rows: int
    unpriced_rows: int
    unpriced_tokens: int
    currencies: tuple[str, ...]
    """Of bills that are not in dollars, and so not in `cost_nanos`."""
    task_types: Mapping[str, int]
    """Requests by kind of work; "" is unknown."""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes groups one workload."""
        if self.workload:
            return ("workload", self.workload)
        if self.fingerprint:
            return ("prompt", self.fingerprint, self.provider, self.model)
        return (self.who_kind or "model", self.who, self.provider, self.model)


@dataclass(frozen=True, slots=True)
class Window:
    """The days of which something is known of a provider."""

    provider: str
    first: date
    last: date
    days: int
    """Of them, without gaps in which nothing was imported."""

    @property
    def extrapolated(self) -> bool:
        """A month of it is more than what was seen."""
        return self.days < WHOLE_MONTH_DAYS


@dataclass(frozen=True, slots=True)
class Workload:
    """A line of the inventory. None is unknown, which is not zero."""

    name: str
    kind: Kind
    sources: tuple[Source, ...]
    providers: tuple[str, ...]
    models: tuple[str, ...]
    requests: int | None
    """In the window; None if no row says."""
    unknown_requests: int
    tokens: Tokens
    """In the window."""
    cost_nanos: int | None
    """In the window, of what has a price; None if nothing has."""
    unpriced_tokens: int
    """In the window, without a price."""
    unpriced_rows: int
    month_nanos: int | None
    """A month of 30.44 days, of what has a price."""
    month_requests: int | None
    month_tokens: Tokens
    first_day: date | None
    """On which it was used first; None if its buckets are longer than days."""
    days: int
    """Covered ones from that day to the last of the window; of longer buckets, all."""
    active_days: int | None
    """Days on which it was used; None if its buckets are longer."""
    variation: float | None
    """Coefficient of variation of its daily requests (tokens, if requests are unknown) in those days; None if
    it can't be told."""
    task_type: str
    """The commonest that is known; empty if none is."""
    task_type_share: float | None
    """Share of the requests of known kind that are of it."""
    currencies: tuple[str, ...] = ()
    extrapolated: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """The groups that were too many to be read one by one."""

    groups: int = 0
    cost_nanos: int = 0
    tokens: int = 0
    unpriced_tokens: int = 0
    month_nanos: int = 0


@dataclass(frozen=True, slots=True)
class Bill:
    """List price and bill of a provider on the days that both have."""

    provider: str
    days: int
    list_nanos: int | None
    billed_nanos: int | None
    unpriced_rows: int


@dataclass(frozen=True, slots=True)
class Spend:
    """All that was spent, as far as it is known."""

    workloads: tuple[Workload, ...]
    rest: Rest
    windows: tuple[Window, ...]
    bills: tuple[Bill, ...] = ()
    left_out_legs: Mapping[str, int] = field(default_factory=dict)
    """By provider: days of which booked legs do not count, because imports cover them."""
    left_out_costs: Mapping[str, int] = field(default_factory=dict)
    """By provider: days of which bills do not count, because tokens are imported."""

    @property
    def tokens(self) -> int:
        """In the window, all of them."""
        return sum(item.tokens.total for item in self.workloads) + self.rest.tokens

    @property
    def unpriced_tokens(self) -> int:
        """Of them, those without a price."""
        return sum(item.unpriced_tokens for item in self.workloads) + self.rest.unpriced_tokens

    @property
    def cost_nanos(self) -> int:
        """In the window, of what has a price."""
        return sum(item.cost_nanos or 0 for item in self.workloads) + self.rest.cost_nanos

    @property
    def month_nanos(self) -> int:
        """A month, of what has a price."""
        return sum(item.month_nanos or 0 for item in self.workloads) + self.rest.month_nanos
