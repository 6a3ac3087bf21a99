"""A batch of legs and its entry: each leg costs what `price` says, and none is lost between the two."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ledger.adapters.spool import BATCH_LEGS
from services.ledger.core import book
from services.ledger.core.booking import (
    CLASSES,
    MAX_BATCH_LEGS,
    MAX_LEG_NANOS,
    BookedOtherwiseError,
    Holding,
    Legs,
    Priced,
    Words,
    book_again,
    book_batch,
    price_batch,
)
from services.ledger.core.pricing import NOT_BILLED, PENDING, UNKNOWN, Price, Rate, Rates, Tokens, price

DAY_S = 86_400
TOKENS = Tokens(1000, 0, 0, 10, 0)

nanos_per_mtok = st.integers(0, 10**11) | st.integers(0, 2**70)
rate = st.builds(
    lambda base, tiers: Rate(base, tuple(sorted(tiers))),
    nanos_per_mtok,
    st.lists(st.tuples(st.integers(0, 10**6), nanos_per_mtok), max_size=2, unique_by=lambda tier: tier[0]),
)
rates = st.builds(
    Rates,
    st.sampled_from("ab"),
    st.sampled_from("vw"),
    *(st.none() | rate for _ in range(5)),
    st.integers(0, 9),
)
count = st.none() | st.just(0) | st.integers(0, 10**6) | st.integers(0, 10**15)
token_rows = st.lists(st.builds(Tokens, *(count for _ in range(5))), max_size=12)


def columns(rows: Sequence[Tokens]) -> tuple[np.ndarray, np.ndarray]:
    """Counts and whether they are known, as booking reads them."""
    table = [[row.input, row.cached_input, row.cache_write, row.output, row.reasoning] for row in rows]
    counts = np.array([[item or 0 for item in row] for row in table], np.int64).reshape(-1, CLASSES)
    known = np.array([[item is not None for item in row] for row in table], bool).reshape(-1, CLASSES)
    return counts, known


def believed(cost: Price) -> Price:
    return UNKNOWN if (cost.cost_nanos or 0) > MAX_LEG_NANOS else cost


@settings(max_examples=300)
@given(token_rows, rates)
def test_a_batch_is_priced_as_each_of_its_legs(rows: list[Tokens], some: Rates) -> None:
    known, parts = price_batch(*columns(rows), some)
    expected = [believed(price(row, some)) for row in rows]
    assert known.tolist() == [cost.cost_nanos is not None for cost in expected]
    assert parts.tolist() == [list(cost.parts_nanos or [0] * 6) for cost in expected]


@pytest.mark.parametrize("bits", [60, 61, 62, 63, 64, 65])
@pytest.mark.parametrize("classes", [1, 5])
def test_sums_around_64_bits_are_those_of_one_leg(bits: int, classes: int) -> None:
    nanos = Rate(15 * 10**9)
    some = Rates("s", "v", nanos, nanos, nanos, nanos, nanos)
    most = 2**bits // (nanos.base * classes)
    rows = [
        Tokens(*([tokens] * classes), *([0] * (CLASSES - classes)))
        for tokens in (most - 1, most, most + 1, 1000)
    ]
    _, parts = price_batch(*columns(rows), some)
    assert parts.tolist() == [list(believed(price(row, some)).parts_nanos or [0] * 6) for row in rows]
    assert parts[:3].any()


def test_the_largest_batch_of_the_largest_costs_fits_64_bits() -> None:
    assert BATCH_LEGS <= MAX_BATCH_LEGS
    assert MAX_LEG_NANOS * MAX_BATCH_LEGS < 2**63


class Leg:
    """A leg in words, for tests."""

    def __init__(
        self,
        *,
        workload: str = "triage",
        target: str = "cloud",
        purpose: str = "production",
        upstream: str = "openai",
        provider: str = "openai",
        model: str = "gpt",
        start_unix_s: int = 0,
        tokens: Tokens = TOKENS,
        billed: bool = True,
    ) -> None:
        self.words = (workload, target, purpose, upstream, provider, model)
        self.start_unix_s, self.tokens, self.billed = start_unix_s, tokens, billed


def legs_of(rows: Sequence[Leg]) -> Legs:
    counts, known = columns([row.tokens for row in rows])
    words = [Words.of(column) for column in zip(*(row.words for row in rows), strict=True)]
    workload, target, purpose, upstream, provider, model = words
    return Legs(
        workload=workload,
        target=target,
        purpose=purpose,
        upstream=upstream,
        provider=provider,
        model=model,
        start_unix_s=np.array([row.start_unix_s for row in rows], np.int64),
        counts=counts,
        known=known,
        billed=np.array([row.billed for row in rows], bool),
    )


def prices(priced: Priced) -> list[tuple[int | None, str, str, str]]:
    """Cost, source, version and pool of each leg."""
    return [
        (
            int(cost) if known else None,
            priced.source.texts[priced.source.codes[row]],
            priced.version.texts[priced.version.codes[row]],
            priced.pool.texts[priced.pool.codes[row]],
        )
        for row, (cost, known) in enumerate(zip(priced.cost_nanos, priced.known, strict=True))
    ]


def flat(version: str, nanos: int) -> Rates:
    return Rates("list", version, Rate(nanos), Rate(nanos), Rate(nanos), Rate(nanos), Rate(nanos))


class List:
    """A price list: the model `gpt` costs more at night, others are unknown."""

    def __init__(self, factor: int = 1) -> None:
        self._factor = factor
        self.asked = 0

    def holding(self, provider: str, model: str, unix_s: int) -> Holding:
        self.asked += 1
        if model != "gpt":
            return Holding(-(2**62), 2**62, None)
        half = unix_s // (DAY_S // 2)
        version, nanos = ("day", 10**6) if half % 2 else ("night", 2 * 10**6)
        begin = half * (DAY_S // 2)
        return Holding(begin, begin + DAY_S // 2, flat(version, nanos * self._factor))


POOLS = {"home": "gpus"}


def test_each_leg_has_the_price_of_its_time_and_the_entry_adds_them_up() -> None:
    rows = [
        Leg(),
        Leg(start_unix_s=DAY_S // 2),
        Leg(model="mystery"),
        Leg(billed=False),
        Leg(upstream="home", provider="us", target="sovereign", model="llama"),
        Leg(upstream="home", provider="us", target="sovereign", model="llama", billed=False),
        Leg(workload="", purpose="judge", start_unix_s=3 * DAY_S, tokens=Tokens(None, 0, 0, 1, 0)),
        Leg(start_unix_s=DAY_S // 2 - 1),
    ]
    listed = List()
    priced, draft = book_batch("b-1", legs_of(rows), listed.holding, POOLS)
    assert prices(priced) == [
        (2020, "list", "night", ""),
        (1010, "list", "day", ""),
        (None, UNKNOWN.source, "", ""),
        (0, NOT_BILLED.source, "", ""),
        (None, PENDING.source, "", "gpus"),
        (0, NOT_BILLED.source, "", "gpus"),
        (None, UNKNOWN.source, "", ""),
        (2020, "list", "night", ""),
    ]
    assert draft.lines == (
        book.Line("", "cloud", "judge", "provider/openai", 1, 1, (0, 0, 0, 0, 0, 0)),
        book.Line("triage", "cloud", "production", "provider/openai", 5, 1, (5000, 0, 0, 50, 0, 0)),
        book.Line("triage", "sovereign", "production", "pool/gpus", 2, 1, (0, 0, 0, 0, 0, 0)),
    )
    assert (draft.kind, draft.batch) == (book.Kind.LEGS, "b-1")
    assert draft.detail["pools"] == POOLS
    # Once for each period of a model, not for each leg.
    assert listed.asked == 4


leg = st.builds(
    Leg,
    workload=st.sampled_from(("", "a", "b")),
    target=st.sampled_from(("cloud", "sovereign")),
    purpose=st.sampled_from(("production", "noise")),
    upstream=st.sampled_from(("openai", "home")),
    provider=st.sampled_from(("p", "q")),
    model=st.sampled_from(("gpt", "mystery")),
    start_unix_s=st.integers(0, 3 * DAY_S),
    tokens=st.builds(Tokens, *(st.none() | st.integers(0, 10**6) for _ in range(5))),
    billed=st.booleans(),
)


@settings(max_examples=150)
@given(st.lists(leg, min_size=1, max_size=30), st.randoms())
def test_nothing_is_lost_between_legs_and_lines_in_any_order(rows: list[Leg], rng: random.Random) -> None:
    priced, draft = book_batch("b", legs_of(rows), List().holding, POOLS)
    assert draft.leg_count == len(rows)
    assert draft.unknown_count == int((~priced.known).sum())
    assert draft.cost_nanos == int(priced.cost_nanos.sum())
    assert sum(posting.amount_nanos for posting in draft.postings) == 0
    owed = -sum(item.amount_nanos for item in draft.postings if item.account.startswith(("provider", "pool")))
    assert owed == draft.cost_nanos
    shuffled = list(rows)
    rng.shuffle(shuffled)
    assert book_batch("b", legs_of(shuffled), List().holding, POOLS)[1].lines == draft.lines


@settings(max_examples=100)
@given(st.lists(leg, min_size=1, max_size=20))
def test_a_batch_with_an_entry_is_priced_from_the_entry_alone(rows: list[Leg]) -> None:
    legs = legs_of(rows)
    priced, draft = book_batch("b", legs, List().holding, POOLS)
    stored = replace(draft, detail=json.loads(json.dumps(draft.detail)))
    assert stored == draft
    assert prices(book_again(stored, legs)) == prices(priced)


def other(draft: book.Draft, **changes: object) -> book.Draft:
    return replace(draft, detail={**draft.detail, **changes})


def without_rates(draft: book.Draft) -> Mapping[str, object]:
    return {"rates": []}


def dearer(draft: book.Draft) -> Mapping[str, object]:
    night = {**draft.detail["rates"][0], "rates": flat("night", 3 * 10**6).to_dict()}
    return {"rates": [night]}


@pytest.mark.parametrize("harm", [without_rates, dearer])
def test_an_entry_that_its_batch_does_not_give_is_an_error(
    harm: Callable[[book.Draft], Mapping[str, object]],
) -> None:
    legs = legs_of([Leg()])
    _, draft = book_batch("b", legs, List().holding, POOLS)
    with pytest.raises(BookedOtherwiseError, match="batch b"):
        book_again(other(draft, **harm(draft)), legs)
    with pytest.raises(BookedOtherwiseError, match="2 legs"):
        book_again(draft, legs_of([Leg(), Leg()]))
