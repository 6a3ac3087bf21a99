"""Says in words what explains a difference, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from playbook.inventory.amounts import count, dollars
from playbook.reconcile.cells import ALL_MODELS, Cell
from playbook.reconcile.explain import CLASSES, Explained, Parts

NAMES = {
    "unbooked": "unbooked traffic",
    "price": "price",
    "token_class": "token class",
    "unknown_price": "unknown price in the book",
    "other_purposes": "experiments",
    "other_charges": "other charges",
}
"""Of the parts, in the order of `Parts`."""
SHORT = {
    "unbooked": "unbooked",
    "price": "price",
    "token_class": "class",
    "unknown_price": "no price",
    "other_purposes": "experiments",
    "other_charges": "other charges",
}
NANOS_PER_DOLLAR = 1_000_000_000
TOKENS_PER_RATE = 1_000_000


def signed(nanos: int) -> str:
    """An amount with its sign."""
    return f"+{dollars(nanos)}" if nanos > 0 else dollars(nanos)


def exact(nanos: int) -> str:
    """All digits that count, two at least: `$1,234.56`, `-$0.000000001`."""
    whole, rest = divmod(abs(nanos), NANOS_PER_DOLLAR)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanos < 0 else ''}${whole:,}.{digits}"


def parts_of(parts: Parts) -> list[tuple[str, int]]:
    """Names and amounts of the parts that are not zero, the largest first."""
    found = [(name, getattr(parts, name)) for name in NAMES if getattr(parts, name)]
    return sorted(found, key=lambda item: -abs(item[1]))


def told(explained: Explained) -> str:
    """The parts of a difference on a line."""
    if not explained.difference_nanos and not parts_of(explained.parts):
        return "–"
    words = ", ".join(f"{SHORT[name]} {signed(amount)}" for name, amount in parts_of(explained.parts))
    if explained.undivided:
        words += f"{', ' if words else ''}not told apart"
    return words or "nothing"


def notes(cells: Sequence[Cell], foreign: Sequence[tuple[str, int]], without_amount: int) -> list[str]:
    """What one must know of the bill and of the book to believe the figures."""
    made = []
    undivided = [cell for cell in cells if cell.explained.undivided]
    if any(cell.model == ALL_MODELS for cell in cells):
        made.append(
            "The bill names no models: only days can be compared. Export it grouped by line item to see why"
            " they differ."
        )
    elif undivided:
        made.append(
            f"Of {len(undivided)} of {len(cells)} lines the bill gives no quantities: there unbooked traffic,"
            " price and token class can't be told apart, and stay in the residual."
        )
    strangers = {cell.provider for cell in cells} - {
        cell.provider for cell in cells if cell.booked.legs or cell.booked.unpriced_legs
    }
    if strangers:
        made.append(
            f"The book has no leg of {' or '.join(map(repr, sorted(strangers)))} in this time; if it calls"
            " the provider otherwise, --provider says how."
        )
    uncounted = sum(cell.uncounted for cell in cells)
    if uncounted:
        made.append(
            f"{uncounted:,} legs without a price have no token counts either: their cost shows as unbooked."
        )
    if foreign:
        lines = ", ".join(f"{number:,} in {currency}" for currency, number in foreign)
        made.append(f"Only dollars are compared; left out: {lines}.")
    if without_amount:
        made.append(f"{without_amount:,} lines have no amount and are left out.")
    return made


def next_step(cells: Sequence[Cell], whole: Explained, within: bool) -> str:
    """What to do about the largest part, in a sentence."""
    found = parts_of(whole.parts)
    if whole.undivided and not within:
        return "ask the provider for a costs export with line items and quantities, and reconcile that."
    if not within and not found:
        return "look at the first line above: no part explains it. `homeward ledger verify` proves the book."
    name = next((name for name, _ in found if name not in ("other_purposes", "other_charges")), "")
    if not name:
        return (
            "nothing: what differs are experiments, or charges for what no router sees."
            if found
            else "nothing: the bill is as the book says."
        )
    worst = max(cells, key=lambda cell: abs(getattr(cell.explained.parts, name)))
    where = f"{worst.model} on {day(worst)}"
    if name == "unbooked" and worst.explained.parts.unbooked > 0:
        return f"look for keys that call {worst.provider} past the router, first for {where}."
    if name == "unbooked":
        return (
            f"see whether the legs of {where} were counted by estimate (usage_source in homeward.legs): they"
            " were not billed."
        )
    if name == "price":
        rates = "; ".join(
            f"{token_class} ${float(billed) * TOKENS_PER_RATE / NANOS_PER_DOLLAR:.6g}"
            for token_class, billed in billed_rates(worst).items()
            if billed != worst.rates.get(token_class)
        )
        return (
            f"if that was agreed, put it into [[prices]] for {where} (dollars per million: {rates}), and"
            " `homeward ledger reprice`."
        )
    if name == "unknown_price":
        return (
            "`homeward ledger unknown` lists them; price them in [[prices]], and `homeward ledger reprice`."
        )
    return (
        f"ask {worst.provider} for the usage of {where}: {_moved(worst)}, against what its answers told the"
        " router."
    )


def billed_rates(cell: Cell) -> dict[str, Fraction]:
    """What the bill charges, in nano-dollars a token, by class."""
    return {
        name: Fraction(item.nanos) / item.quantity
        for name in CLASSES
        if (item := cell.billed.get(name)) is not None and item.quantity
    }


def day(cell: Cell) -> str:
    """The cell's time."""
    first, last = cell.time
    return str(first) if first == last else f"{first} to {last}"


def _moved(cell: Cell) -> str:
    """What the bill has more and less of than the book."""
    return ", ".join(
        f"{name} {count(round(item.quantity or 0))} billed and"
        f" {count(cell.booked.tokens.get(name, 0) + cell.booked.unpriced_tokens.get(name, 0))} booked"
        for name, item in cell.billed.items()
        if item.quantity is not None
    )
