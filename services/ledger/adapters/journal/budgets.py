"""Budgets in the journal's database: what is spent and set aside in each period, over all ledgers.

Every change takes one lock, so that two ledgers on one PostgreSQL never decide on the same money, and never
wait for each other in a circle: who also holds a chain's head has taken that first. Changes come in groups,
so the lock is held once for many of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from services.common.budgets import DAY_S, Rule, covering, period_end, period_start, rules_of
from services.common.settings import Budget
from services.ledger.adapters.journal.database import Database, metadata
from services.ledger.core.budgets import Decision, Held, Key, Page, Sheet, Spent, began_unix_s

T = TypeVar("T")

__all__ = ["Budgets", "Release", "Reserve", "Spent", "Standing"]

LATE_S = 8 * DAY_S
"""For how long after its period has ended money stays set aside: a router may keep a leg for a week, and if
its cost is unknown, what was set aside counts. A period that has ended stops nobody."""
CLEAN_EVERY_S = 3600
CHUNK = 500
"""Parameters of one statement: far below the limit of any database."""
LOCK = 0x686F6D65776172
"""Names the lock among PostgreSQL's advisory locks: `homewar`."""

_pages = sql.Table(
    "budget_period",
    metadata,
    sql.Column("budget", sql.Text, primary_key=True),
    sql.Column("period_start", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("period_end", sql.BigInteger, nullable=False, index=True),
    sql.Column("spent_nanos", sql.BigInteger, nullable=False),
    sql.Column("reserved_nanos", sql.BigInteger, nullable=False),
    sql.Column("unknown_count", sql.BigInteger, nullable=False),
)
_held = sql.Table(
    "reservation",
    metadata,
    sql.Column("leg_id", sql.LargeBinary(16), primary_key=True),
    sql.Column("budget", sql.Text, primary_key=True),
    sql.Column("period_start", sql.BigInteger, nullable=False),
    sql.Column("period_end", sql.BigInteger, nullable=False, index=True),
    sql.Column("amount_nanos", sql.BigInteger, nullable=False),
    sql.Column("spent", sql.Boolean, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Reserve:
    """Asks for money for a leg."""

    leg_id: bytes
    workload: str
    key_name: str
    purpose: str
    amount_nanos: int | None
    """The most that it can cost; None if nobody knows."""


@dataclass(frozen=True, slots=True)
class Release:
    """Says what a leg cost that will not be booked: 0 if it was never called."""

    leg_id: bytes
    amount_nanos: int | None
    """None leaves what is set aside, as spent."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands in its current period."""

    rule: Rule
    period_start: int
    page: Page


class Budgets:
    """The budgets of the settings."""

    def __init__(self, database: Database, budgets: Mapping[str, Budget]) -> None:
        self._database = database
        self.rules = rules_of(budgets)
        """Sorted by name."""
        self._periods = {rule.name: rule.period for rule in self.rules}
        self._clean_at = 0

    def covering(self, workload: str, key_name: str, purpose: str) -> tuple[Rule, ...]:
        """The budgets that a leg falls under."""
        return covering(self.rules, workload, key_name, purpose)

    def change(self, changes: Sequence[Reserve | Release], now_unix_s: int) -> list[Decision | None]:
        """Makes changes in one transaction, in their order. They are durable when it returns.

        Returns:
            A decision for each Reserve, None for each Release.

        Raises:
            DomainError: STORAGE_UNAVAILABLE. Whether anything was changed may be unknown; who asks again for
                the same legs gets no more money.
        """
        with self._database.writing() as db:
            _lock(db)
            rules = [
                self.covering(item.workload, item.key_name, item.purpose) if isinstance(item, Reserve) else ()
                for item in changes
            ]
            times = [began_unix_s(item.leg_id, now_unix_s) for item in changes]
            sheet = _Loaded(db, self._periods, (item.leg_id for item in changes))
            sheet.load(
                (rule.name, period_start(rule.period, time))
                for covered, time in zip(rules, times, strict=True)
                for rule in covered
            )
            decisions: list[Decision | None] = []
            for item, covered, time in zip(changes, rules, times, strict=True):
                if isinstance(item, Reserve):
                    decisions.append(sheet.sheet.reserve(covered, item.leg_id, item.amount_nanos, time))
                else:
                    sheet.sheet.release(item.leg_id, item.amount_nanos)
                    decisions.append(None)
            sheet.save()
            if now_unix_s >= self._clean_at:
                _clean(db, now_unix_s)
                self._clean_at = now_unix_s + CLEAN_EVERY_S
        return decisions

    def settle(self, db: Connection, legs: Iterable[Spent]) -> None:
        """Books the costs of cloud legs, or what corrections change about them, in a transaction of the
        caller's. Call it once for each leg: the journal's entry sees to that."""
        if not self.rules:
            return
        cloud = list(legs)
        if not cloud:
            return
        _lock(db)
        rules = [self.covering(leg.workload, leg.key_name, leg.purpose) for leg in cloud]
        sheet = _Loaded(db, self._periods, (leg.leg_id for leg in cloud if leg.leg_id))
        sheet.load(
            (rule.name, period_start(rule.period, leg.start_unix_s))
            for covered, leg in zip(rules, cloud, strict=True)
            for rule in covered
        )
        for leg, covered in zip(cloud, rules, strict=True):
            sheet.sheet.settle(covered, leg)
        sheet.save()

    def standing(self, now_unix_s: int) -> list[Standing]:
        """How each budget stands, sorted by name.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        starts = {rule.name: period_start(rule.period, now_unix_s) for rule in self.rules}
        with self._database.reading() as db:
            pages = _read_pages(db, starts.items())
        return [
            Standing(rule, starts[rule.name], pages.get((rule.name, starts[rule.name]), Page()))
            for rule in self.rules
        ]


class _Loaded:
    """The part of the tables that a transaction changes; the lock is held."""

    def __init__(self, db: Connection, periods: Mapping[str, str], leg_ids: Iterable[bytes]) -> None:
        self._db = db
        self._periods = periods
        self._ends: dict[Key, int] = {}
        held: dict[bytes, dict[str, Held]] = {}
        for chunk in _chunks(dict.fromkeys(leg_ids)):
            for row in db.execute(sql.select(_held).where(_held.c.leg_id.in_(chunk))):
                item = Held(row.period_start, row.amount_nanos, row.spent)
                held.setdefault(bytes(row.leg_id), {})[row.budget] = item
                self._ends[row.budget, row.period_start] = row.period_end
        self.sheet = Sheet(held=held)
        self._held_before = {leg_id: dict(items) for leg_id, items in held.items()}
        self._before: dict[Key, tuple[int, int, int]] = {}

    def load(self, keys: Iterable[Key]) -> None:
        """Reads the pages of these keys, and of what is set aside for the legs."""
        wanted = {*keys, *self._ends}
        self.sheet.pages = _read_pages(self._db, wanted)
        self._before = {key: _values(page) for key, page in self.sheet.pages.items()}
        for budget, start in wanted - set(self._ends):
            self._ends[budget, start] = period_end(self._periods[budget], start)

    def save(self) -> None:
        """Writes what has changed."""
        new_pages, changed = [], []
        for key, page in self.sheet.pages.items():
            row = {"budget": key[0], "period_start": key[1], "period_end": self._ends[key]}
            row |= dict(zip(("spent_nanos", "reserved_nanos", "unknown_count"), _values(page), strict=True))
            if key not in self._before:
                if any(_values(page)):
                    new_pages.append(row)
            elif self._before[key] != _values(page):
                changed.append({f"{name}_": value for name, value in row.items()})
        gone, added = [], []
        for leg_id in self._held_before.keys() | self.sheet.held.keys():
            before, after = self._held_before.get(leg_id, {}), self.sheet.held.get(leg_id, {})
            if before == after:
                continue
            # A leg's rows go together: most legs have few, and lose them all.
            if before:
                gone.append(leg_id)
            for budget, item in after.items():
                added.append(
                    {
                        "leg_id": leg_id,
                        "budget": budget,
                        "period_start": item.period_start,
                        "period_end": self._ends[budget, item.period_start],
                        "amount_nanos": item.amount_nanos,
                        "spent": item.spent,
                    }
                )
        for chunk in _chunks(gone):
            self._db.execute(sql.delete(_held).where(_held.c.leg_id.in_(chunk)))
        for statement, rows in (
            (sql.insert(_pages), new_pages),
            (_UPDATE, changed),
            (sql.insert(_held), added),
        ):
            if rows:
                self._db.execute(statement, rows)


_UPDATE = (
    sql.update(_pages)
    .where(
        _pages.c.budget == sql.bindparam("budget_"), _pages.c.period_start == sql.bindparam("period_start_")
    )
    .values(
        spent_nanos=sql.bindparam("spent_nanos_"),
        reserved_nanos=sql.bindparam("reserved_nanos_"),
        unknown_count=sql.bindparam("unknown_count_"),
    )
)


def _lock(db: Connection) -> None:
    # SQLite has one writer as it is.
    if db.dialect.name == "postgresql":
        db.execute(sql.select(sql.func.pg_advisory_xact_lock(LOCK)))


def _read_pages(db: Connection, keys: Iterable[Key]) -> dict[Key, Page]:
    wanted = set(keys)
    found: dict[Key, Page] = {}
    # By start: legs that come together have begun in few periods, whatever the number of budgets.
    for chunk in _chunks({start for _, start in wanted}):
        for row in db.execute(sql.select(_pages).where(_pages.c.period_start.in_(chunk))):
            if (row.budget, row.period_start) in wanted:
                found[row.budget, row.period_start] = Page(
                    row.spent_nanos, row.reserved_nanos, row.unknown_count
                )
    return found


def _clean(db: Connection, now_unix_s: int) -> None:
    """Lets go what was set aside in periods that are long over. What was spent stays, one row a period: a
    clock that is years ahead for once would take the present month with it."""
    over = now_unix_s - LATE_S
    db.execute(sql.delete(_held).where(_held.c.period_end <= over))
    db.execute(
        sql.update(_pages)
        .where(_pages.c.period_end <= over, _pages.c.reserved_nanos != 0)
        .values(reserved_nanos=0)
    )


def _values(page: Page) -> tuple[int, int, int]:
    return (page.spent_nanos, page.reserved_nanos, page.unknown_count)


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = list(items)
    for at in range(0, len(rest), CHUNK):
        yield rest[at : at + CHUNK]
