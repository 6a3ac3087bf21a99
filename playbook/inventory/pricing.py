"""List prices of imported tokens, many rows at once.

The same arithmetic as `services.ledger.core.pricing.price`, on columns. What differs is that a row may stand
for many requests: a price of the call counts for each of them, and which of them were long enough for a
long-context price is not known. Those rows are priced at the base tier, and their price version says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from playbook.inventory.columns import COUNTS, TEXT
from services.ledger.adapters.prices import PriceList
from services.ledger.core.booking import Holding
from services.ledger.core.pricing import TOKENS_PER_RATE, Rate, Rates, Tokens, price

BASE_TIER = " base tier"
"""Ends the price version of rows whose long requests may have cost more."""
PART_NAMES = (
    "input_cost_nanos",
    "cached_input_cost_nanos",
    "cache_write_cost_nanos",
    "output_cost_nanos",
    "reasoning_cost_nanos",
    "request_cost_nanos",
)
"""In the order of `book.TokenClass`."""
NO_MODEL = "the export names no model"
NO_PROVIDER = "nobody says whose model it is"
NO_PRICE = "no price list has the model"
NO_BATCH_PRICE = "no price list has a batch price at that time"
NO_COUNTS = "token counts are missing"
NO_RATE = "the price list lacks a token class"
CHANGES = "the price changes within the bucket"
_SAFE = 2**62
"""Below it, sums of products fit 64 bits."""

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


class Pricer:
    """Adds list prices to tables."""

    def __init__(self, prices: PriceList) -> None:
        self._prices = prices

    def priced(self, table: pa.Table) -> pa.Table:
        """A table of `columns.SCHEMA` with cost, parts, price source and version, and why any are unknown.

        Rows of cost get none: they are bills, not list prices.
        """
        sheet = _Sheet(table)
        if table.num_rows and not pc.all(pc.equal(table.column("kind"), "cost")).as_py():
            self._fill(table, sheet)
        return sheet.finish(table)

    def _fill(self, table: pa.Table, sheet: _Sheet) -> None:
        providers, provider_names = codes(table, "provider")
        models, model_names = codes(table, "model")
        batch = sheet.batch.astype(np.int64)
        groups = (providers * len(model_names) + models) * 2 + batch
        for group, rows in _split(groups, sheet.wanted):
            pair, is_batch = divmod(int(group), 2)
            provider, model = provider_names[pair // len(model_names)], model_names[pair % len(model_names)]
            if not model or not provider:
                sheet.unknown(rows, NO_PROVIDER if model else NO_MODEL)
                continue

            def holding(unix_s: int, of: tuple[str, str, bool] = (provider, model, bool(is_batch))) -> Any:
                return self._holding(*of[:2], unix_s, batch=of[2])

            missing = NO_BATCH_PRICE if is_batch else NO_PRICE
            for rates, found in _by_rates(sheet, rows, holding):
                if rates is None:
                    sheet.unknown(found, missing)
                else:
                    _apply(sheet, found, rates)

    def _holding(self, provider: str, model: str, unix_s: int, *, batch: bool) -> Holding:
        """By the name as it is, else without its maker's, as OpenRouter writes it: `openai/gpt-4o`."""
        held = self._prices.holding(provider, model, unix_s, batch=batch)
        bare = model.removeprefix(f"{provider}/")
        if held.rates is not None or bare == model:
            return held
        other = self._prices.holding(provider, bare, unix_s, batch=batch)
        # What changes under either name ends it.
        return replace(other, until_unix_s=min(held.until_unix_s, other.until_unix_s))


class _Sheet:
    """The columns that prices are computed from and written to."""

    def __init__(self, table: pa.Table) -> None:
        length = table.num_rows
        counts = [table.column(name).combine_chunks() for name in COUNTS]
        self.counts: list[Ints] = [_ints(column) for column in counts]
        self.known: Bools = np.ones(length, np.bool_)
        for column in counts:
            self.known &= _bools(column.is_valid())
        requests = table.column("requests").combine_chunks()
        self.requests, self.requests_known = _ints(requests), _bools(requests.is_valid())
        self.batch = _bools(table.column("batch").combine_chunks())
        long = table.column("long_context").combine_chunks()
        self.long_known, self.long = _bools(long.is_valid()), _bools(long.fill_null(False))
        micros = [
            _ints(table.column(name).combine_chunks().cast(pa.int64())) for name in ("start_time", "end_time")
        ]
        self.start_s, self.end_s = micros[0] // 1_000_000, -(-micros[1] // 1_000_000)
        self.bucket: Bools = micros[1] > micros[0]
        unpriced, reasons = codes(table, "unpriced")
        self.wanted: Bools = np.isin(unpriced, [n for n, reason in enumerate(reasons) if not reason])
        self.parts: Ints = np.zeros((len(PART_NAMES), length), np.int64)
        self.priced: Bools = np.zeros(length, np.bool_)
        self.reasons = _Words(length, given=(unpriced, reasons))
        self.sources = _Words(length)
        self.versions = _Words(length)
        self.unknown(np.flatnonzero(~self.wanted))

    def unknown(self, rows: Ints, reason: str | None = None) -> None:
        """These rows have no price."""
        if len(rows):
            self.sources.put(rows, "unknown")
            if reason is not None:
                self.reasons.put(rows, reason)

    def finish(self, table: pa.Table) -> pa.Table:
        """The table with what was filled in."""
        missing = ~self.priced
        for name, values in zip(PART_NAMES, self.parts, strict=True):
            table = table.append_column(name, pa.array(values, mask=missing))
        table = table.append_column("cost_nanos", pa.array(self.parts.sum(axis=0), mask=missing))
        if pc.all(pc.equal(table.column("kind"), "cost")).as_py():
            self.sources = _Words(table.num_rows)
        table = table.append_column("price_source", self.sources.column())
        table = table.append_column("price_version", self.versions.column())
        at = table.schema.get_field_index("unpriced")
        return table.set_column(at, "unpriced", self.reasons.column())


class _Words:
    """A column of few different texts."""

    def __init__(self, length: int, given: tuple[Ints, list[str]] | None = None) -> None:
        indices, words = given or (np.zeros(length, np.int64), [""])
        self._indices: Ints = indices.copy()
        self._words = list(words) or [""]

    def put(self, rows: Ints, word: str) -> None:
        if word not in self._words:
            self._words.append(word)
        self._indices[rows] = self._words.index(word)

    def column(self) -> pa.Array:
        return pa.DictionaryArray.from_arrays(
            pa.array(self._indices.astype(np.int32)), pa.array(self._words, pa.string())
        )


def _by_rates(sheet: _Sheet, rows: Ints, holding: Callable[[int], Any]) -> list[tuple[Rates | None, Ints]]:
    """The rows by the rates that hold when they began; a bucket in which they change has none."""
    seconds, where = np.unique(sheet.start_s[rows], return_inverse=True)
    known: list[Rates | None] = []
    of_second: Ints = np.zeros(len(seconds), np.int64)
    until_s: Ints = np.zeros(len(seconds), np.int64)
    at = 0
    while at < len(seconds):
        held = holding(int(seconds[at]))
        end = max(at + 1, int(np.searchsorted(seconds, held.until_unix_s)))
        if held.rates not in known:
            known.append(held.rates)
        of_second[at:end] = known.index(held.rates)
        until_s[at:end] = held.until_unix_s
        at = end
    of_row = of_second[where]
    crossing = np.flatnonzero(sheet.bucket[rows] & (until_s[where] < sheet.end_s[rows]))
    changed = [
        int(n)
        for n in crossing
        if not _holds(holding, known[of_row[n]], int(until_s[where[n]]), int(sheet.end_s[rows[n]]))
    ]
    if changed:
        sheet.unknown(rows[changed], CHANGES)
        of_row[changed] = -1
    return [(rates, rows[of_row == n]) for n, rates in enumerate(known) if (of_row == n).any()]


def _holds(holding: Callable[[int], Any], rates: Rates | None, from_s: int, until_s: int) -> bool:
    while from_s < until_s:
        held = holding(from_s)
        if held.rates != rates:
            return False
        from_s = held.until_unix_s
    return True


def _apply(sheet: _Sheet, rows: Ints, rates: Rates) -> None:
    """Prices rows that have the same rates."""
    uncounted = ~sheet.known[rows]
    if rates.per_request:
        uncounted |= ~sheet.requests_known[rows]
    sheet.unknown(rows[uncounted], NO_COUNTS)
    rows = rows[~uncounted]
    unrated = np.zeros(len(rows), np.bool_)
    for counts, rate in zip(sheet.counts, rates.by_class, strict=True):
        if rate is None:
            unrated |= counts[rows] > 0
    sheet.unknown(rows[unrated], NO_RATE)
    rows = rows[~unrated]
    if not any(rate is not None and rate.tiers for rate in rates.by_class):
        _price(sheet, rows, rates, rates.version)
        return
    single = sheet.requests_known[rows] & (sheet.requests[rows] == 1)
    told = ~single & sheet.long_known[rows]
    base = _flat(rates, lambda rate: rate.base)
    top = _flat(rates, lambda rate: rate.tiers[-1][1] if rate.tiers else rate.base)
    _price(sheet, rows[single], rates, rates.version)
    _price(sheet, rows[told & ~sheet.long[rows]], base, rates.version)
    _price(sheet, rows[told & sheet.long[rows]], top, rates.version)
    _price(sheet, rows[~single & ~told], base, rates.version + BASE_TIER)


def _price(sheet: _Sheet, rows: Ints, rates: Rates, version: str) -> None:
    if not len(rows):
        return
    counts = [values[rows] for values in sheet.counts]
    requests = sheet.requests[rows]
    # Rates without a class of tokens that none of the rows has.
    classes = [rate or Rate(0) for rate in rates.by_class]
    most = sum(
        int(values.max()) * max(rate.base, *(tier for _, tier in rate.tiers), 0)
        for values, rate in zip(counts, classes, strict=True)
    )
    if max(most, int(requests.max()) * rates.per_request * TOKENS_PER_RATE) >= _SAFE:
        _price_singly(sheet, rows, rates, version)
        return
    all_input = counts[0] + counts[1] + counts[2]
    total: Ints = np.zeros(len(rows), np.int64)
    rounded: Ints = np.zeros(len(rows), np.int64)
    for part, (values, rate) in enumerate(zip(counts, classes, strict=True)):
        nanos: Ints = np.full(len(rows), rate.base, np.int64)
        for above, tier in rate.tiers:
            nanos[all_input > above] = tier
        total = total + values * nanos
        now = _half_even(total)
        sheet.parts[part, rows] = now - rounded
        rounded = now
    if rates.per_request:
        sheet.parts[5, rows] = requests * rates.per_request
    sheet.priced[rows] = True
    sheet.sources.put(rows, rates.source)
    sheet.versions.put(rows, version)


def _price_singly(sheet: _Sheet, rows: Ints, rates: Rates, version: str) -> None:
    """With integers that have no bound: buckets of billions of tokens."""
    for row in rows:
        counts = [int(values[row]) for values in sheet.counts]
        requests = int(sheet.requests[row])
        of_row = replace(rates, per_request=rates.per_request * requests)
        found = price(Tokens(*counts), of_row)
        if found.parts_nanos is None:
            sheet.unknown(rows[rows == row], NO_COUNTS)
            continue
        sheet.parts[:, row] = found.parts_nanos
        sheet.priced[row] = True
        sheet.sources.put(rows[rows == row], rates.source)
        sheet.versions.put(rows[rows == row], version)


def _half_even(total: Ints) -> Ints:
    whole, rest = np.divmod(total, TOKENS_PER_RATE)
    twice = 2 * rest
    rounded: Ints = whole + ((twice > TOKENS_PER_RATE) | ((twice == TOKENS_PER_RATE) & (whole % 2 == 1)))
    return rounded


def _flat(rates: Rates, chosen: Callable[[Rate], int]) -> Rates:
    """The rates without tiers."""
    fresh, cached, written, output, reasoning = (
        None if rate is None else Rate(chosen(rate)) for rate in rates.by_class
    )
    return replace(
        rates, input=fresh, cached_input=cached, cache_write=written, output=output, reasoning=reasoning
    )


def codes(table: pa.Table, name: str) -> tuple[Ints, list[str]]:
    """A column of texts as numbers, and the texts that they stand for."""
    column = table.column(name)
    if column.type != TEXT:
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], pa.string()).dictionary_encode()
    return whole.indices.to_numpy(zero_copy_only=False).astype(np.int64), whole.dictionary.to_pylist()


def _split(groups: Ints, wanted: Bools) -> list[tuple[int, Ints]]:
    """The wanted rows of each group."""
    rows = np.flatnonzero(wanted)
    order = rows[np.argsort(groups[rows], kind="stable")]
    if not len(order):
        return []
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]])
    ends = np.r_[starts[1:], len(order)]
    return [(int(sorted_groups[a]), order[a:b]) for a, b in zip(starts, ends, strict=True)]


def _ints(column: pa.Array) -> Ints:
    values: Ints = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return values


def _bools(column: pa.Array) -> Bools:
    values: Bools = column.to_numpy(zero_copy_only=False).astype(np.bool_)
    return values
