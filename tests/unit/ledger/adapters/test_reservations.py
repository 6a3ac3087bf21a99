"""Changes of many callers in one commit; nobody waits for good."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import pytest

from services.common.errors import DomainError, Reason
from services.common.ids import uuid7
from services.common.settings import Budget
from services.ledger.adapters import reservations
from services.ledger.adapters.journal.budgets import Budgets, Release, Reserve
from services.ledger.adapters.journal.database import Database
from services.ledger.adapters.reservations import Reservations
from services.ledger.core.budgets import Decision
from tests.support.stack import until

SETTINGS = {"all": Budget(limit_usd=Decimal("0.000001"), period="month")}
"""1,000 nano-dollars."""


class Watched(Budgets):
    """Tells the size of each group, and lets one only begin when the test says so."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, SETTINGS)
        self.groups: list[int] = []
        self.may_begin = threading.Event()
        self.may_begin.set()
        self.fails: Exception | None = None

    def change(self, changes: Sequence[Reserve | Release], now_unix_s: int) -> list[Decision | None]:
        self.groups.append(len(changes))
        self.may_begin.wait(30)
        if self.fails is not None:
            raise self.fails
        return super().change(changes, now_unix_s)


@pytest.fixture
def budgets(new_journal: Callable[[], str]) -> Iterator[Watched]:
    database = Database(new_journal())
    yield Watched(database)
    database.close()


def asked(amount: int = 10) -> Reserve:
    return Reserve(uuid7(time.time_ns()), "triage", "crm", "production", amount)


async def begun(budgets: Watched, groups: int) -> None:
    async def true() -> bool:
        return len(budgets.groups) >= groups

    await until(true, f"{groups} groups have begun")


async def test_what_comes_during_a_commit_is_in_the_next_one(budgets: Watched) -> None:
    queue = Reservations(budgets)
    budgets.may_begin.clear()
    first = asyncio.create_task(queue.put([asked()]))
    await begun(budgets, 1)
    others = [asyncio.create_task(queue.put([asked(), asked()])) for _ in range(60)]
    await asyncio.sleep(0)
    budgets.may_begin.set()
    answers = [await first, *await asyncio.gather(*others)]
    assert budgets.groups == [1, 120]
    assert [len(answer) for answer in answers] == [1] + [2] * 60
    allowed = [item for answer in answers for item in answer if item and item.stopped_by is None]
    assert len(allowed) == 100, "1,000 nano-dollars in tens"
    queue.close(5)


async def test_a_full_queue_refuses_and_takes_again(
    budgets: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "MAX_WAITING", 3)
    queue = Reservations(budgets)
    budgets.may_begin.clear()
    first = asyncio.create_task(queue.put([asked()]))
    await begun(budgets, 1)
    waiting = asyncio.create_task(queue.put([asked()] * 3))
    await asyncio.sleep(0)
    with pytest.raises(DomainError) as caught:
        await queue.put([asked()])
    assert caught.value.reason is Reason.QUEUE_FULL
    assert caught.value.metadata == {"queue": "reservations", "limit": "3", "retry_after_s": "1"}
    budgets.may_begin.set()
    await asyncio.gather(first, waiting)
    await queue.put([asked()])
    queue.close(5)


async def test_nothing_is_set_aside_for_a_caller_that_has_gone(budgets: Watched) -> None:
    queue = Reservations(budgets)
    budgets.may_begin.clear()
    first = asyncio.create_task(queue.put([asked()]))
    await begun(budgets, 1)
    gone = asyncio.create_task(queue.put([asked(500)]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    budgets.may_begin.set()
    await first
    await queue.put([asked(7)])
    assert budgets.standing(int(time.time()))[0].page.reserved_nanos == 17
    queue.close(5)


async def test_legs_that_were_given_back_are_remembered_but_not_for_good(
    budgets: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "MAX_ENDED", 2)
    queue = Reservations(budgets)
    legs = [asked().leg_id for _ in range(3)]
    for leg_id in legs:
        await queue.put([Release(leg_id, 0)])
    assert [queue.ended(leg_id) for leg_id in legs] == [False, True, True]
    queue.close(5)


@pytest.mark.parametrize(
    "problem",
    [
        DomainError(Reason.STORAGE_UNAVAILABLE, "disk full", store="journal", detail=""),
        ValueError("a defect"),
    ],
    ids=["the journal is away", "a defect"],
)
async def test_everybody_hears_of_a_failure_and_the_next_is_served(
    budgets: Watched, problem: Exception
) -> None:
    queue = Reservations(budgets)
    budgets.fails = problem
    heard = await asyncio.gather(*(queue.put([asked()]) for _ in range(5)), return_exceptions=True)
    assert heard == [problem] * 5
    budgets.fails = None
    assert await queue.put([asked()]) == [Decision(("all",))]
    queue.close(5)


async def test_what_waits_at_the_end_is_done(budgets: Watched) -> None:
    queue = Reservations(budgets)
    tasks = [asyncio.create_task(queue.put([asked()])) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(queue.close, 5)
    assert len(await asyncio.gather(*tasks)) == 20
