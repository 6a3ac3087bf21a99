"""What a difference is called, and what to do about it."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from playbook.reconcile.cells import ALL_MODELS, Cell
from playbook.reconcile.explain import Billed, Booked, Explained, Parts, added
from playbook.reconcile.words import exact, next_step, notes, signed, told

DAY = date(2026, 11, 2)


def cell(parts: Parts, residual: int = 0, *, undivided: bool = False, **changes: Any) -> Cell:
    """A cell of a thousand tokens at $2.50, billed at $3."""
    given: dict[str, Any] = {
        "provider": "openai",
        "time": (DAY, DAY),
        "model": "gpt-4o",
        "explained": Explained(
            1_000_000, 1_000_000 + parts.total + residual, parts, residual, abs(residual), undivided
        ),
        "billed": {"input": Billed(3_000_000, Fraction(1000))},
        "booked": Booked(tokens={"input": 1000}, legs=1),
        "rates": {"input": Fraction(2500)},
        "uncounted": 0,
        **changes,
    }
    return Cell(**given)


@pytest.mark.parametrize(
    ("found", "within", "expected"),
    [
        (cell(Parts()), True, "nothing: the bill is as the book says."),
        (cell(Parts(other_purposes=5)), True, "nothing: what differs are experiments"),
        (
            cell(Parts(unbooked=5)),
            True,
            "look for keys that call openai past the router, first for gpt-4o on 2026",
        ),
        (
            cell(Parts(unbooked=-5)),
            True,
            "see whether the legs of gpt-4o on 2026-11-02 were counted by estimate",
        ),
        (cell(Parts(price=5)), True, "if that was agreed, put it into [[prices]] for gpt-4o on 2026-11-02"),
        (cell(Parts(price=5)), True, "(dollars per million: input $3)"),
        (cell(Parts(unknown_price=5)), True, "`homeward ledger unknown` lists them"),
        (
            cell(Parts(token_class=5)),
            True,
            "ask openai for the usage of gpt-4o on 2026-11-02: input 1.0k billed",
        ),
        (cell(Parts(), 5, undivided=True), False, "ask the provider for a costs export with line items"),
        (cell(Parts(), 5), False, "no part explains it"),
        (cell(Parts(price=5, unbooked=-6)), True, "see whether the legs"),
    ],
)
def test_the_largest_part_says_what_to_do(found: Cell, within: bool, expected: str) -> None:
    """And names where it is largest."""
    assert expected in next_step([found], found.explained, within)


def test_the_worst_cell_is_named() -> None:
    """Of several."""
    cells = [cell(Parts(unbooked=5)), cell(Parts(unbooked=50), model="small")]
    assert "first for small on" in next_step(cells, added(item.explained for item in cells), True)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cell(Parts()), "–"),
        (cell(Parts(price=2_000_000_000, unbooked=-3_000_000_000)), "unbooked -$3.00, price +$2.00"),
        (cell(Parts(price=2_000_000_000), 1, undivided=True), "price +$2.00, not told apart"),
        (cell(Parts(), 1), "nothing"),
    ],
)
def test_the_parts_of_a_line_are_told_the_largest_first(found: Cell, expected: str) -> None:
    """And what is not told apart, as that."""
    assert told(found.explained) == expected


@pytest.mark.parametrize(
    ("cells", "foreign", "without_amount", "expected"),
    [
        ([cell(Parts())], [], 0, []),
        ([cell(Parts(), model=ALL_MODELS)], [], 0, ["The bill names no models"]),
        (
            [cell(Parts(), 5, undivided=True), cell(Parts())],
            [],
            0,
            ["Of 1 of 2 lines the bill gives no quantities"],
        ),
        ([cell(Parts(), booked=Booked())], [], 0, ["The book has no leg of 'openai'"]),
        ([cell(Parts(), uncounted=3)], [], 0, ["3 legs without a price have no token counts"]),
        (
            [cell(Parts())],
            [("EUR", 4)],
            2,
            ["Only dollars are compared; left out: 4 in EUR", "2 lines have no amount"],
        ),
    ],
)
def test_what_one_must_know_is_told(
    cells: list[Cell], foreign: list[tuple[str, int]], without_amount: int, expected: list[str]
) -> None:
    """And nothing else."""
    found = notes(cells, foreign, without_amount)
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("nanos", "expected"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (-1_500_000_000, "-$1.50"),
        (1_234_567_890_000_000_000, "$1,234,567,890.00"),
        (73_240_000, "$0.07324"),
    ],
)
def test_exact_amounts_have_all_their_digits(nanos: int, expected: str) -> None:
    """So that a column adds up by hand."""
    assert exact(nanos) == expected


@pytest.mark.parametrize(("nanos", "expected"), [(0, "$0.00"), (10**9, "+$1.00"), (-(10**9), "-$1.00")])
def test_differences_have_a_sign(nanos: int, expected: str) -> None:
    """But zero."""
    assert signed(nanos) == expected
