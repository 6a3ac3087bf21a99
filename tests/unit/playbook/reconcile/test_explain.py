"""Differences of bill and book fall into parts that add up."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.reconcile.explain import CLASSES, Billed, Booked, Explained, Parts, added, explain

LIST = {"input": Fraction(2500), "cached_input": Fraction(1250), "output": Fraction(10_000)}


def book(**counts: int) -> Booked:
    """Production legs of the list's price."""
    nanos = {name: count * LIST[name] for name, count in counts.items()}
    return Booked(production_nanos=int(sum(nanos.values())), nanos=nanos, tokens=counts, legs=1)


def bill(**lines: tuple[int, int | None]) -> dict[str, Billed]:
    """Nano-dollars and tokens by class."""
    return {
        name: Billed(nanos, None if count is None else Fraction(count))
        for name, (nanos, count) in lines.items()
    }


@pytest.mark.parametrize(
    ("billed", "booked", "expected"),
    [
        pytest.param(
            bill(input=(2_500_000, 1000), output=(1_000_000, 100)),
            book(input=1000, output=100),
            Parts(),
            id="the same",
        ),
        pytest.param(
            bill(input=(5_000_000, 2000), output=(2_000_000, 200)),
            book(input=1000, output=100),
            Parts(unbooked=3_500_000),
            id="a request that was not booked",
        ),
        pytest.param(
            bill(input=(2_500_000, 1000)),
            book(input=1000, output=100),
            Parts(unbooked=-1_000_000),
            id="not billed",
        ),
        pytest.param(
            bill(input=(3_000_000, 1000)), book(input=1000), Parts(price=500_000), id="another rate"
        ),
        pytest.param(
            bill(input=(1_500_000, 600), cached_input=(500_000, 400)),
            book(input=1000),
            Parts(token_class=-500_000),
            id="tokens were cached",
        ),
        pytest.param(
            # 1,500 more: 400 have moved to cached, and 1,100 are new, in proportion of the classes that grew.
            bill(input=(1_500_000, 600), cached_input=(1_250_000, 1000), cache_write=(0, 500)),
            book(input=1000),
            Parts(
                unbooked=round(Fraction(1100 * 1000, 1500) * 1250),
                token_class=round(Fraction(400 * 1000, 1500) * 1250) - 400 * 2500,
            ),
            id="moved and new at once",
        ),
        pytest.param(
            bill(input=(2_500_000, 1000)),
            Booked(unpriced_tokens={"input": 1000}, unpriced_legs=1),
            Parts(unknown_price=2_500_000),
            id="booked without a price, which the list has now",
        ),
        pytest.param(
            bill(cache_write=(700, 7)),
            Booked(unpriced_tokens={"cache_write": 7}, unpriced_legs=1),
            Parts(unknown_price=700),
            id="booked without a price, which only the bill has",
        ),
        pytest.param(
            bill(input=(2_500_000, 1000)),
            Booked(other_nanos=2_500_000, nanos={"input": 2_500_000}, tokens={"input": 1000}, legs=1),
            Parts(other_purposes=2_500_000),
            id="an experiment",
        ),
    ],
)
def test_what_explains_a_difference_is_named(
    billed: dict[str, Billed], booked: Booked, expected: Parts
) -> None:
    """Each by its own, without a residual beyond rounding."""
    found = explain(billed, booked, LIST)
    assert found.parts == expected
    assert abs(found.residual_nanos) <= 1


def test_without_a_quantity_nothing_is_told_apart() -> None:
    """It stays in the residual, and says so."""
    found = explain(bill(input=(3_000_000, None)), book(input=1000), LIST)
    assert (found.parts, found.residual_nanos, found.undivided) == (Parts(), 500_000, True)


def test_a_side_without_quantities_leaves_the_other_side_alone() -> None:
    """Output is told apart though input is not."""
    found = explain(
        bill(input=(2_500_001, None), output=(2_000_000, 200)), book(input=1000, output=100), LIST
    )
    assert (found.parts, found.residual_nanos) == (Parts(unbooked=1_000_000), 1)


def test_a_model_without_classes_is_not_told_apart() -> None:
    """Its tokens could be of any class."""
    found = explain({}, book(input=1000), LIST, unclassed=2_600_000)
    assert (found.parts, found.residual_nanos, found.undivided) == (Parts(), 100_000, True)


def test_the_books_own_rate_counts_where_the_list_has_another() -> None:
    """What was booked at a negotiated rate is compared at that rate."""
    booked = Booked(production_nanos=2_000_000, nanos={"input": 2_000_000}, tokens={"input": 1000}, legs=1)
    found = explain(bill(input=(4_000_000, 2000)), booked, LIST)
    assert found.parts == Parts(unbooked=2_000_000)


amounts = st.integers(-(10**12), 10**15)
counts = st.integers(0, 10**9)
quantities = st.one_of(st.none(), st.fractions(0, 10**9, max_denominator=1000))
classes = st.sampled_from(CLASSES)
bookings = st.builds(
    Booked,
    production_nanos=amounts,
    other_nanos=amounts,
    nanos=st.dictionaries(classes, amounts),
    tokens=st.dictionaries(classes, counts),
    legs=counts,
    unpriced_tokens=st.dictionaries(classes, counts),
    unpriced_legs=counts,
)
explained = st.builds(
    explain,
    st.dictionaries(classes, st.builds(Billed, amounts, quantities)),
    bookings,
    st.dictionaries(classes, st.fractions(0, 10**6, max_denominator=10**6)),
    other_charges=amounts,
    unclassed=amounts,
)


@given(explained)
def test_parts_and_residual_add_up_to_the_difference_exactly(found: Explained) -> None:
    """Whatever the figures, to the nano-dollar."""
    assert found.parts.total + found.residual_nanos == found.difference_nanos
    assert found.difference_nanos == found.bill_nanos - found.book_nanos


@given(st.lists(explained, max_size=5))
def test_sums_of_cells_add_up_too(found: list[Explained]) -> None:
    """A day of several models is explained as exactly as each of them."""
    whole = added(found)
    assert whole.parts.total + whole.residual_nanos == whole.difference_nanos
    assert whole.residual_size_nanos == sum(abs(item.residual_nanos) for item in found)


@given(
    st.dictionaries(
        classes, st.tuples(counts, counts, st.integers(0, 10**5), st.integers(0, 10**5)), min_size=1
    )
)
def test_with_quantities_nothing_but_rounding_is_left(
    figures: dict[str, tuple[int, int, int, int]],
) -> None:
    """At whole rates all is explained but what the rounding of four parts loses."""
    booked = Booked(
        production_nanos=sum(count * rate for count, _, rate, _ in figures.values()),
        nanos={name: count * rate for name, (count, _, rate, _) in figures.items()},
        tokens={name: count for name, (count, _, _, _) in figures.items()},
        legs=1,
    )
    billed = {name: Billed(count * rate, Fraction(count)) for name, (_, count, _, rate) in figures.items()}
    assert explain(billed, booked, {}).residual_size_nanos <= 4
