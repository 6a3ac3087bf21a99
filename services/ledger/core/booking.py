"""A batch of legs becomes an entry: what each leg costs, and what the lines of the entry add up to.

The legs stand in columns, and a batch is priced with a few operations on arrays: `pricing.price` says what
one leg costs, `price_batch` the same of twenty thousand. What the amounts follow from (the rates, and which
server belongs to which GPU pool) goes into the entry's detail, so that the batch can be priced again from
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.ledger.core import book
from services.ledger.core.pricing import (
    NOT_BILLED,
    PENDING,
    TOKENS_PER_RATE,
    UNKNOWN,
    Price,
    Rate,
    Rates,
    Tokens,
    price,
)

Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

CLASSES = 5
"""Classes of tokens, in the order of `book.TokenClass`; the sixth part is a price of the call itself."""
MAX_LEG_NANOS = 10**14
"""The largest cost of one leg that is believed, $100,000; above it the cost is unknown. The sum over the legs
of a batch then fits 64 bits."""
MAX_BATCH_LEGS = 50_000
LEFT_OUT = "left_out"
"""In an entry's detail: rows of its batch that another ledger had booked."""
_MAX_PRODUCT = 2**62


class BookedOtherwiseError(Exception):
    """A batch does not give the entry that it gave before."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Rates, and the time in which they hold."""

    from_unix_s: int
    until_unix_s: int
    """The first second in which they no longer hold."""
    rates: Rates | None
    """None: nobody knows them."""


LookUp: TypeAlias = Callable[[str, str, int], Holding]
"""The rates of a provider's model at a time in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Words:
    """A column of texts: the different ones, and which of them each row has."""

    texts: Sequence[str]
    codes: Ints

    @staticmethod
    def of(column: Iterable[str]) -> Words:
        """The column, text by text."""
        seen: dict[str, int] = {}
        codes = [seen.setdefault(text, len(seen)) for text in column]
        return Words(list(seen), np.array(codes, dtype=np.int64))

    def mapped(self, word: Callable[[str], str]) -> Words:
        """Another text for each."""
        words = Words.of(word(text) for text in self.texts)
        return Words(words.texts, words.codes[self.codes] if self.texts else self.codes)


@dataclass(frozen=True, slots=True)
class Legs:
    """What booking must know of a batch, a row for each leg."""

    workload: Words
    target: Words
    purpose: Words
    upstream: Words
    provider: Words
    model: Words
    start_unix_s: Ints
    counts: Ints
    """Tokens, shape (legs, CLASSES); 0 where unknown."""
    known: Flags
    """Where `counts` is known, of the same shape."""
    billed: Flags
    """False where the server refused the call or was not reached."""

    def __len__(self) -> int:
        return len(self.start_unix_s)


@dataclass(frozen=True, slots=True)
class Priced:
    """What the legs of a batch cost, a row for each leg."""

    known: Flags
    """False where the cost is unknown."""
    parts_nanos: Ints
    """Nano-dollars by `book.TokenClass`, shape (legs, 6); 0 where unknown."""
    pool: Words
    """The GPU pool that the leg ran on; empty in the cloud."""
    source: Words
    version: Words

    @property
    def cost_nanos(self) -> Ints:
        """Nano-dollars, 0 where unknown."""
        total: Ints = self.parts_nanos.sum(axis=1)
        return total


def book_batch(
    batch: str,
    legs: Legs,
    look_up: LookUp,
    pools: Mapping[str, str],
    left_out: Sequence[Sequence[int]] = (),
) -> tuple[Priced, book.Draft]:
    """Prices a batch, and adds up its entry.

    Args:
        batch: its name.
        legs: at most MAX_BATCH_LEGS.
        look_up: where rates come from.
        pools: the GPU pool of each upstream that belongs to one.
        left_out: which rows of the batch are not among the legs, as it was sealed: from and before which.
    """
    used: list[tuple[str, str, Holding]] = []
    priced = _price(legs, look_up, pools, used)
    detail: dict[str, Any] = {
        "rates": [
            {
                "provider": provider,
                "model": model,
                "from_unix_s": held.from_unix_s,
                "until_unix_s": held.until_unix_s,
                "rates": None if held.rates is None else held.rates.to_dict(),
            }
            for provider, model, held in used
        ],
        "pools": {name: pools[name] for name in legs.upstream.texts if name in pools},
    }
    if left_out:
        detail[LEFT_OUT] = [list(stretch) for stretch in left_out]
    return priced, book.draft(book.Kind.LEGS, batch, lines(legs, priced), detail=detail)


def book_again(booked: book.Draft, legs: Legs) -> Priced:
    """Prices a batch that has its entry already: with the rates of the entry.

    Raises:
        BookedOtherwiseError: the legs do not give this entry.
    """
    priced = _price(legs, _recorded(booked), booked.detail["pools"], [])
    again = book.draft(book.Kind.LEGS, booked.batch, lines(legs, priced))
    if (again.kind, again.lines, again.postings) != (booked.kind, booked.lines, booked.postings):
        raise BookedOtherwiseError(
            f"batch {booked.batch} gives {again.leg_count} legs for {again.cost_nanos} nano-dollars,"
            f" its entry in the journal has {booked.leg_count} for {booked.cost_nanos}"
        )
    return priced


def lines(legs: Legs, priced: Priced) -> list[book.Line]:
    """The legs of a batch by their accounts."""
    creditors = Words.of(
        [book.pool(name) if name else "" for name in priced.pool.texts]
        + [book.provider(name) for name in legs.provider.texts]
    )
    of_pool = np.array([bool(name) for name in priced.pool.texts], dtype=bool)[priced.pool.codes]
    creditor = creditors.codes[
        np.where(of_pool, priced.pool.codes, len(priced.pool.texts) + legs.provider.codes)
    ]
    key = legs.workload.codes
    for texts, codes in (
        (legs.target.texts, legs.target.codes),
        (legs.purpose.texts, legs.purpose.codes),
        (creditors.texts, creditor),
    ):
        key = key * len(texts) + codes
    order = np.argsort(key, kind="stable")
    begins = np.flatnonzero(np.diff(key[order], prepend=-1))
    sums = np.add.reduceat(priced.parts_nanos[order], begins, axis=0)
    unknown = np.add.reduceat(~priced.known[order], begins, dtype=np.int64)
    sizes = np.diff(begins, append=len(order))
    found: list[book.Line] = []
    for first, size, missing, amounts in zip(
        order[begins].tolist(), sizes.tolist(), unknown.tolist(), sums.tolist(), strict=True
    ):
        fresh, cached, written, output, reasoning, request = amounts
        found.append(
            book.Line(
                workload=legs.workload.texts[legs.workload.codes[first]],
                target=legs.target.texts[legs.target.codes[first]],
                purpose=legs.purpose.texts[legs.purpose.codes[first]],
                creditor=creditors.texts[creditor[first]],
                leg_count=size,
                unknown_count=missing,
                parts_nanos=(fresh, cached, written, output, reasoning, request),
            )
        )
    return found


def price_batch(counts: Ints, known: Flags, rates: Rates) -> tuple[Flags, Ints]:
    """What legs of the same rates cost: `pricing.price` of each.

    Args:
        counts: tokens, shape (legs, CLASSES).
        known: where they are known.
        rates: what they cost.

    Returns:
        Where the cost is known, and its parts in nano-dollars, shape (legs, 6), 0 where it is not.
    """
    all_input: Ints = counts[:, :3].sum(axis=1)
    priceable = known.all(axis=1)
    running = np.zeros(len(counts), dtype=np.int64)
    rounded = np.zeros(len(counts), dtype=np.int64)
    parts = np.zeros((len(counts), CLASSES + 1), dtype=np.int64)
    highest = max((_highest(rate) for rate in rates.by_class if rate is not None), default=0)
    # A rate in nano-dollars a million tokens times absurdly many tokens passes 64 bits.
    small = counts.max(axis=1, initial=0) <= _MAX_PRODUCT // (CLASSES * max(1, highest))
    if highest > _MAX_PRODUCT:
        small[:] = False
    within = np.where(small[:, None], counts, 0)
    for index, rate in enumerate(rates.by_class):
        if rate is None:
            priceable &= counts[:, index] == 0
        elif highest <= _MAX_PRODUCT:
            running += within[:, index] * _at(rate, all_input)
        before = rounded
        rounded = _divided(running)
        parts[:, index] = rounded - before
    parts[:, CLASSES] = rates.per_request
    priceable &= small & (rounded <= MAX_LEG_NANOS - rates.per_request)
    parts[~priceable] = 0
    for row in np.flatnonzero(~small).tolist():
        cost = _believed(price(_tokens(counts[row], known[row]), rates))
        if cost.parts_nanos is not None:
            priceable[row], parts[row] = True, cost.parts_nanos
    return priceable, parts


def _price(
    legs: Legs, look_up: LookUp, pools: Mapping[str, str], used: list[tuple[str, str, Holding]]
) -> Priced:
    size = len(legs)
    pool = legs.upstream.mapped(lambda name: pools.get(name, ""))
    of_pool = np.array([bool(name) for name in pool.texts], dtype=bool)[pool.codes]
    known = ~legs.billed
    parts = np.zeros((size, CLASSES + 1), dtype=np.int64)
    labels: list[tuple[str, str]] = [_label(UNKNOWN), _label(NOT_BILLED), _label(PENDING)]
    label = np.where(legs.billed, np.where(of_pool, 2, 0), 1)
    open_ = np.flatnonzero(legs.billed & ~of_pool)
    for provider, model, held, rows in _by_rates(legs, open_, look_up):
        used.append((provider, model, held))
        if held.rates is None:
            continue
        found, amounts = price_batch(legs.counts[rows], legs.known[rows], held.rates)
        known[rows], parts[rows] = found, amounts
        labels.append((held.rates.source, held.rates.version))
        label[rows[found]] = len(labels) - 1
    sources, versions = Words.of(item[0] for item in labels), Words.of(item[1] for item in labels)
    return Priced(
        known=known,
        parts_nanos=parts,
        pool=pool,
        source=Words(sources.texts, sources.codes[label]),
        version=Words(versions.texts, versions.codes[label]),
    )


def _by_rates(legs: Legs, rows: Ints, look_up: LookUp) -> Iterable[tuple[str, str, Holding, Ints]]:
    """The rows, in groups that share their rates."""
    key = legs.provider.codes[rows] * len(legs.model.texts) + legs.model.codes[rows]
    rows = rows[np.lexsort((legs.start_unix_s[rows], key))]
    key = legs.provider.codes[rows] * len(legs.model.texts) + legs.model.codes[rows]
    for group in np.split(rows, np.flatnonzero(np.diff(key)) + 1) if len(rows) else ():
        provider = legs.provider.texts[legs.provider.codes[group[0]]]
        model = legs.model.texts[legs.model.codes[group[0]]]
        starts = legs.start_unix_s[group]
        begin = 0
        while begin < len(group):
            held = look_up(provider, model, int(starts[begin]))
            end = int(np.searchsorted(starts, held.until_unix_s))
            yield provider, model, held, group[begin:end]
            begin = end


def _recorded(booked: book.Draft) -> LookUp:
    kept: dict[tuple[str, str], list[Holding]] = {}
    for item in booked.detail["rates"]:
        rates = None if item["rates"] is None else Rates.from_dict(item["rates"])
        held = Holding(item["from_unix_s"], item["until_unix_s"], rates)
        kept.setdefault((item["provider"], item["model"]), []).append(held)

    def look_up(provider: str, model: str, unix_s: int) -> Holding:
        for held in kept.get((provider, model), ()):
            if held.from_unix_s <= unix_s < held.until_unix_s:
                return held
        raise BookedOtherwiseError(
            f"the entry of batch {booked.batch} has no rates of {provider}/{model} at {unix_s}"
        )

    return look_up


def _highest(rate: Rate) -> int:
    return max(rate.base, *(tier for _, tier in rate.tiers)) if rate.tiers else rate.base


def _at(rate: Rate, all_input: Ints) -> Ints:
    found = np.full(len(all_input), rate.base, dtype=np.int64)
    for above, tier in rate.tiers:
        found[all_input > above] = tier
    return found


def _divided(total: Ints) -> Ints:
    whole, rest = np.divmod(total, TOKENS_PER_RATE)
    up = (2 * rest > TOKENS_PER_RATE) | ((2 * rest == TOKENS_PER_RATE) & (whole % 2 == 1))
    rounded: Ints = whole + up
    return rounded


def _tokens(counts: Ints, known: Flags) -> Tokens:
    fresh, cached, written, output, reasoning = (
        count if is_known else None for count, is_known in zip(counts.tolist(), known.tolist(), strict=True)
    )
    return Tokens(fresh, cached, written, output, reasoning)


def _believed(cost: Price) -> Price:
    return cost if cost.cost_nanos is None or cost.cost_nanos <= MAX_LEG_NANOS else UNKNOWN


def _label(cost: Price) -> tuple[str, str]:
    return cost.source, cost.version
