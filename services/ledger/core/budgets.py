"""What may still be spent: budgets, and money that is set aside for legs that are under way.

A leg falls under every budget whose words fit it. Before it is called, the most that it can cost is set
aside in each of them; when it is booked, its cost takes that place. So what is spent and what is set aside
never pass the limit together, whoever asks in whatever order, as long as no leg costs more than was set
aside for it. All amounts are integer nano-dollars; times are whole seconds since the epoch, periods UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.common.budgets import AtCap, Rule, period_end, period_start
from services.ledger.core.pricing import TOKENS_PER_RATE, Rate, Rates

MAX_AMOUNT_NANOS = 10**14
"""The most that is set aside for a leg: a hundred thousand dollars. No leg costs that, and sums stay far from
what a column of 64 bits can hold."""
MAX_SKEW_S = 3600
"""How far a leg's own time may be from the ledger's clock and still say in which period it began."""


def began_unix_s(leg_id: bytes, now_unix_s: int) -> int:
    """When a leg began: its id is a UUIDv7 (RFC 9562), whose first 48 bits are milliseconds.

    So a leg that reserves a moment after midnight does so where it will be booked. A time that is far from
    the ledger's own is not believed.
    """
    said = int.from_bytes(leg_id[:6], "big") // 1000
    return said if leg_id[6] >> 4 == 7 and abs(said - now_unix_s) <= MAX_SKEW_S else now_unix_s


def most(rates: Rates | None, input_tokens: int, output_tokens: int) -> int | None:
    """The most that a leg can cost, rounded up; None if a rate that it needs is unknown.

    Nobody knows beforehand which tokens a cache will have or which are reasoning, so all of the input and
    all of the output count at the dearest rate of their classes.
    """
    if rates is None:
        return None
    total = 0
    for count, needed, others in (
        (input_tokens, rates.input, (rates.cached_input, rates.cache_write)),
        (output_tokens, rates.output, (rates.reasoning,)),
    ):
        if count and needed is None:
            return None
        known = [rate for rate in (needed, *others) if rate is not None]
        total += count * max((_dearest(rate, input_tokens) for rate in known), default=0)
    return min(MAX_AMOUNT_NANOS, -(-total // TOKENS_PER_RATE) + rates.per_request)


def _dearest(rate: Rate, input_tokens: int) -> int:
    # The request may turn out shorter than feared, and a lower step need not be a cheaper one.
    return max([rate.base, *(price for above, price in rate.tiers if input_tokens > above)])


@dataclass(slots=True)
class Page:
    """A budget in one period."""

    spent_nanos: int = 0
    """What booked legs have cost; may be negative after a correction."""
    reserved_nanos: int = 0
    """Set aside for legs that are under way."""
    unknown_count: int = 0
    """Booked legs whose cost nobody knows. What was set aside for them counts as spent."""


@dataclass(frozen=True, slots=True)
class Held:
    """Money of one budget that is set aside for one leg."""

    period_start: int
    amount_nanos: int
    spent: bool = False
    """True once the leg is booked at an unknown cost: the amount stands in `spent_nanos` until the cost is
    found."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What may be done with a leg."""

    budgets: tuple[str, ...]
    """Those that it falls under."""
    over: tuple[str, ...] = ()
    """Of them, those that it passes and that only alert."""
    stopped_by: Rule | None = None
    """The budget that keeps it from the cloud; None if it may go."""
    left_nanos: int = 0
    """Of that budget."""
    end_unix_s: int = 0
    """When that budget begins anew."""


@dataclass(frozen=True, slots=True)
class Spent:
    """A booked cloud leg, or by how much a correction changes one."""

    leg_id: bytes
    """16 bytes. Empty for a correction of a leg whose cost was known."""
    workload: str
    key_name: str
    purpose: str
    """The word: `production`."""
    start_unix_s: int
    cost_nanos: int | None
    """None is unknown. Of a correction, the difference."""
    found: bool = False
    """True for a correction that finds a cost that was unknown; it has the leg's id."""


Key = tuple[str, int]
"""A budget's name and the start of a period."""


@dataclass(slots=True)
class Sheet:
    """The pages and the money set aside that a few changes concern; absent is zero."""

    pages: dict[Key, Page] = field(default_factory=dict)
    held: dict[bytes, dict[str, Held]] = field(default_factory=dict)
    """By leg and budget."""

    def page(self, key: Key) -> Page:
        """The page of a budget in a period."""
        return self.pages.setdefault(key, Page())

    def reserve(
        self, rules: Sequence[Rule], leg_id: bytes, amount_nanos: int | None, began_unix_s: int
    ) -> Decision:
        """Sets money aside in all the budgets, or in none of them.

        Args:
            rules: the budgets that the leg falls under.
            leg_id: a leg that has money set aside gets no more.
            amount_nanos: the most that it can cost. None is unknown and can't be shown to fit.
            began_unix_s: when the leg began.
        """
        names = tuple(rule.name for rule in rules)
        if leg_id in self.held:
            return Decision(names)
        over: list[str] = []
        stopped: Rule | None = None
        for rule in rules:
            page = self.page((rule.name, period_start(rule.period, began_unix_s)))
            used = page.spent_nanos + page.reserved_nanos
            if amount_nanos is not None and used + amount_nanos <= rule.limit_nanos:
                continue
            if rule.at_cap is AtCap.ALERT:
                over.append(rule.name)
            elif stopped is None or rule.at_cap > stopped.at_cap:
                stopped = rule
        if stopped is not None:
            start = period_start(stopped.period, began_unix_s)
            page = self.page((stopped.name, start))
            left = stopped.limit_nanos - page.spent_nanos - page.reserved_nanos
            return Decision(names, tuple(over), stopped, max(0, left), period_end(stopped.period, start))
        if amount_nanos:
            for rule in rules:
                start = period_start(rule.period, began_unix_s)
                self.page((rule.name, start)).reserved_nanos += amount_nanos
                self.held.setdefault(leg_id, {})[rule.name] = Held(start, amount_nanos)
        return Decision(names, tuple(over))

    def release(self, leg_id: bytes, amount_nanos: int | None) -> None:
        """Replaces what is set aside for a leg that will not be booked; None leaves it, as spent."""
        for budget, item in list(self.held.get(leg_id, {}).items()):
            if item.spent:
                continue
            self._take_back(budget, item)
            if amount_nanos is None:
                self._stand(leg_id, budget, item)
            else:
                self.page((budget, item.period_start)).spent_nanos += amount_nanos
                self._drop(leg_id, budget)

    def settle(self, rules: Sequence[Rule], spent: Spent) -> None:
        """Replaces what is set aside for a leg by its cost, in the period in which it began.

        Args:
            rules: the budgets that the leg falls under now.
            spent: the leg. Its cost counts also where nothing was set aside: it was spent all the same.
        """
        held = dict(self.held.get(spent.leg_id, {})) if spent.leg_id else {}
        starts = {rule.name: period_start(rule.period, spent.start_unix_s) for rule in rules}
        for budget in {**starts, **held}:
            item = held.get(budget)
            if item is not None:
                self._take_back(budget, item)
            start = starts.get(budget, item.period_start if item else 0)
            if spent.cost_nanos is None:
                self._stand(spent.leg_id, budget, item or Held(start, 0))
                continue
            self.page((budget, start)).spent_nanos += spent.cost_nanos
            if spent.found and item is None:
                page = self.page((budget, start))
                page.unknown_count = max(0, page.unknown_count - 1)
            if item is not None:
                self._drop(spent.leg_id, budget)

    def _take_back(self, budget: str, item: Held) -> None:
        page = self.page((budget, item.period_start))
        if item.spent:
            page.spent_nanos -= item.amount_nanos
            page.unknown_count -= 1
        else:
            page.reserved_nanos -= item.amount_nanos

    def _stand(self, leg_id: bytes, budget: str, item: Held) -> None:
        page = self.page((budget, item.period_start))
        page.spent_nanos += item.amount_nanos
        page.unknown_count += 1
        # Nothing was set aside: there is nothing to remember, and legs of unknown price may be many.
        if item.amount_nanos:
            self.held[leg_id][budget] = Held(item.period_start, item.amount_nanos, spent=True)

    def _drop(self, leg_id: bytes, budget: str) -> None:
        self.held[leg_id].pop(budget, None)
        if not self.held[leg_id]:
            del self.held[leg_id]
