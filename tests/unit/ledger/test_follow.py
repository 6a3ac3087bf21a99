"""What stops a ledger from reading the decisions of others stops it only for as long as it lasts."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from services.common.errors import DomainError, Reason
from services.ledger import __main__ as module
from services.ledger.adapters.journal.database import BrokenChainError
from services.ledger.adapters.journal.decisions import Decisions
from services.ledger.servicer import LedgerServicer


class Journal:
    """Fails as it is told, and then no more."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures

    def refresh(self) -> None:
        if self.failures:
            raise self.failures.pop()


class Watchers:
    """Waits until something is posted."""

    def __init__(self) -> None:
        self.posted = asyncio.Event()

    def post(self) -> None:
        self.posted.set()


@pytest.mark.parametrize(
    "failure",
    [
        DomainError(Reason.STORAGE_UNAVAILABLE, "away", store="journal", detail="away"),
        BrokenChainError("entry 7 is not the one that was hashed"),
        ValueError("99 is not a valid Stage"),
    ],
    ids=lambda failure: type(failure).__name__,
)
async def test_decisions_of_others_are_seen_again(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.0)
    watchers = Watchers()
    following = asyncio.create_task(
        module.follow(cast(Decisions, Journal([failure] * 3)), cast(LedgerServicer, watchers))
    )
    posted = asyncio.create_task(watchers.posted.wait())
    await asyncio.wait([following, posted], return_when=asyncio.FIRST_COMPLETED)
    assert not following.done()
    following.cancel()
    assert len(caplog.records) == 1, "told once, not at each look"
