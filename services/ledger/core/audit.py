"""Whether the book and its rows say the same: an entry's lines against what ClickHouse has of its batch.

Only what the journal fixes can be compared: how many legs, how many of unknown cost, and what they cost by
token class, for each workload × target × purpose × creditor. That each row's parts add up to its cost is
looked at too, since the journal has the parts and analysts read the cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from services.ledger.core.book import Draft, Line, TokenClass

UNNAMED = "(unnamed)"
IDLE = "idle/"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows in ClickHouse of an entry that share their accounts."""

    batch: str
    line: Line
    """As an entry would book them."""
    cost_nanos: int
    """Sum of the rows' costs, which their parts must give."""
    unsplit_count: int
    """Rows whose own parts do not add up to their cost."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where the book is not whole."""

    what: str
    """In words: what is wrong there."""
    entry_id: int | None = None
    """None if it is in no entry."""
    batch: str = ""
    workload: str | None = None
    """Of the line; None if it is not about one line. Empty is the line of requests without a name."""
    target: str | None = None
    purpose: str | None = None
    creditor: str | None = None
    figure: str = ""
    book: int | None = None
    """What the journal says; None if it says nothing."""
    clickhouse: int | None = None

    def __str__(self) -> str:
        place = []
        if self.entry_id is not None:
            place.append(f"entry {self.entry_id}")
        if self.batch:
            place.append(f"batch {self.batch}")
        if self.workload is not None:
            line = (self.workload or UNNAMED, self.target or "?", self.purpose or "?", self.creditor or "?")
            place.append(" × ".join(line))
        return ": ".join((", ".join(place), self.what)) if place else self.what


def first_difference(
    entry_id: int, entry: Draft, rows: Sequence[Rows], *, confirmed: bool
) -> Difference | None:
    """The first place where an entry and its rows differ; None if they agree.

    Args:
        entry_id: the entry's number.
        entry: what the journal has.
        rows: all that ClickHouse has under that number, no two with the same batch and key.
        confirmed: the journal knows that all rows have arrived. If not, some may be missing, because an
            insert that goes to several months is not there at once; none may be too many.
    """
    for found in rows:
        if found.batch != entry.batch:
            what = (
                f"ClickHouse has {_legs(found.line.leg_count)} of this entry under the batch {found.batch!r}"
            )
            return Difference(what, entry_id, entry.batch, clickhouse=found.line.leg_count)
    there = {found.line.key: found for found in rows}
    for line in entry.lines:
        problem = _compare(line, there.pop(line.key, None), confirmed=confirmed)
        if problem is not None:
            return _at(line, entry_id, entry.batch, *problem)
    for found in there.values():
        problem = ("legs", None, found.line.leg_count)
        return _at(found.line, entry_id, entry.batch, *problem)
    return None


def idle_nanos(entry: Draft) -> Mapping[str, int]:
    """What an entry posts for idle hours, in nano-dollars by pool."""
    return {
        unquote(posting.account.removeprefix(IDLE)): posting.amount_nanos
        for posting in entry.postings
        if posting.account.startswith(IDLE)
    }


def _compare(line: Line, found: Rows | None, *, confirmed: bool) -> tuple[str, int | None, int | None] | None:
    """(figure, book, ClickHouse) of the first figure that differs."""
    if found is None:
        return ("legs", line.leg_count, 0) if confirmed and line.leg_count else None
    if line.leg_count != found.line.leg_count and (confirmed or found.line.leg_count > line.leg_count):
        return "legs", line.leg_count, found.line.leg_count
    if found.unsplit_count:
        return "legs whose six costs do not add up to their cost", 0, found.unsplit_count
    if line.leg_count != found.line.leg_count:
        return None
    figures = [("legs of unknown cost", line.unknown_count, found.line.unknown_count)]
    figures += [
        (f"cost of {token_class.replace('_', ' ')} in nano-dollars", booked, there)
        for token_class, booked, there in zip(
            TokenClass, line.parts_nanos, found.line.parts_nanos, strict=True
        )
    ]
    figures.append(("cost in nano-dollars", sum(line.parts_nanos), found.cost_nanos))
    return next((figure for figure in figures if figure[1] != figure[2]), None)


def _at(
    line: Line, entry_id: int, batch: str, figure: str, book: int | None, clickhouse: int | None
) -> Difference:
    said = "nothing" if book is None else f"{book:,}"
    return Difference(
        f"{figure}: {said} in the journal, {clickhouse or 0:,} in ClickHouse",
        entry_id,
        batch,
        *line.key,
        figure=figure,
        book=book,
        clickhouse=clickhouse,
    )


def _legs(count: int) -> str:
    return "1 leg" if count == 1 else f"{count:,} legs"
