"""Explains why a bill and the book differ: by traffic, price and token class, and what stays unexplained.

All within a cell: a model in a time. With q billed and b booked tokens of a class, r the book's rate and B
the amount billed, the difference of the amounts is, class by class,

    B - b r = (B - q r) + (q - b) r

The first part is price: the same tokens at another rate. Of the second, tokens that are too many in one class
and missing in another of the same side (input, output) have moved between classes; what is left over was
billed and never booked, or booked and never billed. Amounts are rounded to nano-dollars, half to even, and
what that loses is in the residual, so that parts and residual add up to the difference exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction

from playbook.inventory.line_items import CACHE_WRITE, CACHED_INPUT, INPUT, OUTPUT, REQUEST

SIDES = ((INPUT, CACHED_INPUT, CACHE_WRITE), (OUTPUT,), (REQUEST,))
"""Classes between which the same tokens can be billed."""
CLASSES = tuple(name for side in SIDES for name in side)


@dataclass(frozen=True, slots=True)
class Billed:
    """What a bill has of a class."""

    nanos: int
    quantity: Fraction | None
    """Tokens, or requests; None if the bill does not say."""


@dataclass(frozen=True, slots=True)
class Booked:
    """What the book has of a cell."""

    production_nanos: int = 0
    """Of legs of production whose price is known."""
    other_nanos: int = 0
    """Of shadow, noise, judge and probe legs whose price is known."""
    nanos: Mapping[str, int | Fraction] = field(default_factory=dict)
    """Of all priced legs, by class; they add up to the two above."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Of all priced legs, by class; of `request`, how many."""
    legs: int = 0
    """Priced ones."""
    unpriced_tokens: Mapping[str, int] = field(default_factory=dict)
    """Of legs without a price."""
    unpriced_legs: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a difference is made of, in nano-dollars; positive is billed beyond the book."""

    unbooked: int = 0
    """Tokens beyond the booked ones, at the book's rate; negative if booked ones were not billed."""
    price: int = 0
    """The same tokens at another rate."""
    token_class: int = 0
    """The same tokens in another class."""
    unknown_price: int = 0
    """Legs that the book has without a price, at the rate that the others have."""
    other_purposes: int = 0
    """Legs of experiments, which the book keeps apart from production."""
    other_charges: int = 0
    """Lines that are for no text tokens: audio, images, storage, tools."""

    def __add__(self, other: Parts) -> Parts:
        return Parts(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(Parts)))

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, item.name) for item in fields(Parts))


@dataclass(frozen=True, slots=True)
class Explained:
    """A difference and what explains it."""

    book_nanos: int
    """Production."""
    bill_nanos: int
    parts: Parts
    residual_nanos: int
    residual_size_nanos: int
    """Without sign, so that those of several cells do not even out."""
    undivided: bool = False
    """Some of the residual can't be told apart, because the bill gives no quantities."""

    @property
    def difference_nanos(self) -> int:
        """What was billed beyond the book."""
        return self.bill_nanos - self.book_nanos

    def __add__(self, other: Explained) -> Explained:
        return Explained(
            self.book_nanos + other.book_nanos,
            self.bill_nanos + other.bill_nanos,
            self.parts + other.parts,
            self.residual_nanos + other.residual_nanos,
            self.residual_size_nanos + other.residual_size_nanos,
            self.undivided or other.undivided,
        )


NOTHING = Explained(0, 0, Parts(), 0, 0)


@dataclass(frozen=True, slots=True)
class _Side:
    unbooked: Fraction = Fraction(0)
    price: Fraction = Fraction(0)
    token_class: Fraction = Fraction(0)
    unknown_price: Fraction = Fraction(0)
    undivided: bool = False


def explain(
    billed: Mapping[str, Billed],
    booked: Booked,
    list_rates: Mapping[str, Fraction],
    *,
    other_charges: int = 0,
    unclassed: int = 0,
) -> Explained:
    """What explains the difference of a cell.

    Args:
        billed: by class.
        booked: all legs of the cell.
        list_rates: nano-dollars a token by class, as the price list has them; used where the book's
            costs follow from them, and where the book has no priced tokens.
        other_charges: nano-dollars billed for what is no text token.
        unclassed: nano-dollars billed for the model without saying for which class; they can't be told apart.
    """
    sides = [_side(names, billed, booked, list_rates, unclassed != 0) for names in SIDES]
    parts = Parts(
        unbooked=round(sum((side.unbooked for side in sides), Fraction(0))),
        price=round(sum((side.price for side in sides), Fraction(0))),
        token_class=round(sum((side.token_class for side in sides), Fraction(0))),
        unknown_price=round(sum((side.unknown_price for side in sides), Fraction(0))),
        other_purposes=booked.other_nanos,
        other_charges=other_charges,
    )
    bill = sum(item.nanos for item in billed.values()) + other_charges + unclassed
    residual = bill - booked.production_nanos - parts.total
    return Explained(
        book_nanos=booked.production_nanos,
        bill_nanos=bill,
        parts=parts,
        residual_nanos=residual,
        residual_size_nanos=abs(residual),
        undivided=any(side.undivided for side in sides),
    )


def rate(name: str, booked: Booked, list_rates: Mapping[str, Fraction]) -> Fraction | None:
    """The book's rate of a class in nano-dollars a token; None if neither the book nor the list has one.

    It is the list's where the book's costs follow from it but for the rounding of each leg, else the average.
    """
    listed, count = list_rates.get(name), booked.tokens.get(name, 0)
    if not count:
        return listed
    amount = booked.nanos.get(name, 0)
    if listed is not None and abs(listed * count - amount) <= booked.legs:
        return listed
    return Fraction(amount) / count


def added(items: Iterable[Explained]) -> Explained:
    """All of them together."""
    found = NOTHING
    for item in items:
        found += item
    return found


def _side(
    names: tuple[str, ...],
    billed: Mapping[str, Billed],
    booked: Booked,
    list_rates: Mapping[str, Fraction],
    unclassed: bool,
) -> _Side:
    bill = {name: billed.get(name, Billed(0, Fraction(0))) for name in names}
    rates: dict[str, Fraction] = {}
    for name in names:
        found = rate(name, booked, list_rates)
        if found is None:
            # Nothing else is known: what the bill says is the rate, and the difference is traffic.
            quantity = bill[name].quantity
            found = Fraction(bill[name].nanos) / quantity if quantity else Fraction(0)
        rates[name] = found
    unknown = sum((booked.unpriced_tokens.get(name, 0) * rates[name] for name in names), Fraction(0))
    if unclassed or any(item.quantity is None and item.nanos for item in bill.values()):
        return _Side(unknown_price=unknown, undivided=True)
    counts = {name: item.quantity or Fraction(0) for name, item in bill.items()}
    beyond = {
        name: counts[name] - booked.tokens.get(name, 0) - booked.unpriced_tokens.get(name, 0)
        for name in names
    }
    more = sum((amount for amount in beyond.values() if amount > 0), Fraction(0))
    less = -sum((amount for amount in beyond.values() if amount < 0), Fraction(0))
    moved = min(more, less)
    unbooked = shifted = Fraction(0)
    for name, amount in beyond.items():
        # Which of the tokens that are too many have moved nobody can tell: each class in proportion.
        part = amount * moved / (more if amount > 0 else less) if amount else Fraction(0)
        shifted += part * rates[name]
        unbooked += (amount - part) * rates[name]
    return _Side(
        unbooked=unbooked,
        price=sum((bill[name].nanos - counts[name] * rates[name] for name in names), Fraction(0)),
        token_class=shifted,
        unknown_price=unknown,
    )
