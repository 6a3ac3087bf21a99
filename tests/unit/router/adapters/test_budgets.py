"""The router and a ledger that answers, refuses, hangs, is away, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from homeward.common.v1 import leg_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from deploy.local.ports import free_ports
from services.common.budgets import AtCap, Rule
from services.common.errors import DomainError, Reason
from services.common.server import Server
from services.common.words import Purpose
from services.router.adapters import budgets as adapter
from services.router.adapters.budgets import FAILURES, BudgetAdapter, Wanted
from services.router.core.bounds import Bounds
from services.router.core.budgets import Rules, Verdict
from tests.support.stack import until

RULE = Rule("daily", 10**9, "day", AtCap.REFUSE, offline_requests=FAILURES + 2)
HOME = Rule("home", 10**9, "day", AtCap.SOVEREIGN, offline_requests=0)
EXHAUSTED = DomainError(Reason.BUDGET_EXHAUSTED, "nothing is left", budget="daily", cap_nanos=10**9)

Answer = Callable[[ledger_pb2.ReserveRequest], Awaitable[ledger_pb2.ReserveResponse]]


class Ledger(ledger_pb2_grpc.LedgerServiceServicer):
    """What a ledger says, by the test's word."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.asked: list[ledger_pb2.ReserveRequest] = []
        self.given_back: list[bytes] = []
        self.answer: Answer = grant
        self._server: Server | None = None

    async def start(self) -> None:
        self._server = Server("homeward.ledger.v1.LedgerService")
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(self, self._server.grpc)
        await self._server.start(self.address)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.grpc.stop(0)
            self._server = None

    async def Reserve(self, request: ledger_pb2.ReserveRequest, context: Any) -> ledger_pb2.ReserveResponse:
        self.asked.append(request)
        return await self.answer(request)

    async def Settle(self, request: ledger_pb2.SettleRequest, context: Any) -> ledger_pb2.SettleResponse:
        assert all(item.HasField("amount_nanos") and not item.amount_nanos for item in request.settlements)
        self.given_back += [item.leg_id for item in request.settlements]
        return ledger_pb2.SettleResponse()

    async def ListBudgets(self, request: Any, context: Any) -> ledger_pb2.ListBudgetsResponse:
        return ledger_pb2.ListBudgetsResponse()


async def grant(request: ledger_pb2.ReserveRequest) -> ledger_pb2.ReserveResponse:
    return ledger_pb2.ReserveResponse(budgets=["daily", "home"])


async def refuse(request: ledger_pb2.ReserveRequest) -> ledger_pb2.ReserveResponse:
    raise EXHAUSTED


async def send_home(request: ledger_pb2.ReserveRequest) -> ledger_pb2.ReserveResponse:
    return ledger_pb2.ReserveResponse(
        allowed_targets=[leg_pb2.TARGET_SOVEREIGN], budgets=["daily", "home"], over=["soft"]
    )


async def hang(request: ledger_pb2.ReserveRequest) -> ledger_pb2.ReserveResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def unwritable(request: ledger_pb2.ReserveRequest) -> ledger_pb2.ReserveResponse:
    raise DomainError(Reason.STORAGE_UNAVAILABLE, "disk full", store="journal", detail="disk full")


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    made = Ledger()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def budgets(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BudgetAdapter]:
    monkeypatch.setattr(adapter, "RETRY_S", 0.02)
    made = BudgetAdapter(ledger.address, Rules([RULE, HOME]))
    yield made
    await made.close()


def wanted(number: int = 1) -> Wanted:
    return Wanted(
        leg_id=number.to_bytes(16, "big"),
        workload="triage",
        key_name="crm",
        purpose=Purpose.JUDGE,
        provider="openai",
        model="gpt-4o",
        bounds=Bounds(300, 20),
    )


async def given_back(ledger: Ledger, *numbers: int) -> None:
    expected = [number.to_bytes(16, "big") for number in numbers]

    async def back() -> bool:
        return ledger.given_back == expected

    await until(back, f"{numbers} are given back")


async def test_the_ledger_is_asked_with_all_it_needs(ledger: Ledger, budgets: BudgetAdapter) -> None:
    verdict = await budgets.reserve([RULE], wanted())
    assert (verdict.home_only, verdict.over) == (None, ())
    assert ledger.asked == [
        ledger_pb2.ReserveRequest(
            leg_id=(1).to_bytes(16, "big"),
            workload="triage",
            key_name="crm",
            purpose=leg_pb2.PURPOSE_JUDGE,
            provider="openai",
            model="gpt-4o",
            input_tokens=300,
            output_tokens=20,
        )
    ]


async def test_what_the_ledger_refuses_is_refused_in_its_words(
    ledger: Ledger, budgets: BudgetAdapter
) -> None:
    ledger.answer = refuse
    for _ in range(FAILURES + 1):
        with pytest.raises(DomainError) as caught:
            await budgets.reserve([RULE], wanted())
        assert (caught.value.reason, caught.value.message) == (EXHAUSTED.reason, EXHAUSTED.message)
        assert caught.value.metadata == EXHAUSTED.metadata
    assert len(ledger.asked) == FAILURES + 1, "a refusal is an answer, not a failure"


async def test_the_ledger_may_leave_only_home(ledger: Ledger, budgets: BudgetAdapter) -> None:
    ledger.answer = send_home
    verdict = await budgets.reserve([RULE, HOME], wanted())
    assert verdict.home_only is not None
    assert verdict.home_only.metadata["budget"] == "home"
    assert verdict.over == ("soft",)


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        pytest.param(hang, 1, id="hangs"),
        pytest.param(unwritable, FAILURES, id="can't write"),
    ],
)
async def test_a_ledger_that_fails_is_left_alone_until_it_answers(
    ledger: Ledger, budgets: BudgetAdapter, monkeypatch: pytest.MonkeyPatch, answer: Answer, asked: int
) -> None:
    monkeypatch.setattr(adapter, "AWAY_S", 0.05)
    ledger.answer = answer
    probes = asyncio.Event()

    async def not_yet(request: Any, context: Any) -> ledger_pb2.ListBudgetsResponse:
        await probes.wait()
        return ledger_pb2.ListBudgetsResponse()

    monkeypatch.setattr(ledger, "ListBudgets", not_yet)
    await ledger.stop()
    await ledger.start()
    for number in range(RULE.offline_requests):
        assert (await budgets.reserve([RULE], wanted(number))).home_only is None
    assert len(ledger.asked) == asked, "then nobody is asked"
    with pytest.raises(DomainError, match="no ledger answers"):
        await budgets.reserve([RULE], wanted())

    ledger.answer = grant
    probes.set()

    async def asked_again() -> bool:
        try:
            await budgets.reserve([RULE], wanted(99))
        except DomainError:
            return False
        return len(ledger.asked) > asked

    await until(asked_again, "the ledger is asked again")


async def test_a_ledger_that_answers_others_is_waited_for(
    ledger: Ledger, budgets: BudgetAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "AWAY_S", 0.2)
    let_go = asyncio.Event()

    async def slow_for_one(request: ledger_pb2.ReserveRequest) -> ledger_pb2.ReserveResponse:
        if request.leg_id == wanted(1).leg_id:
            await let_go.wait()
            raise EXHAUSTED
        return await grant(request)

    ledger.answer = slow_for_one
    slow = asyncio.create_task(budgets.reserve([RULE], wanted(1)))
    started = asyncio.get_running_loop().time()
    number = 1
    while asyncio.get_running_loop().time() < started + 3 * adapter.AWAY_S:
        number += 1
        await budgets.reserve([RULE], wanted(number))
    assert len(ledger.asked) == number, "it was never away"
    let_go.set()
    with pytest.raises(DomainError, match="nothing is left"):
        await slow


async def test_a_leg_that_may_be_reserved_but_is_not_called_is_given_back(
    ledger: Ledger, budgets: BudgetAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "AWAY_S", 0.05)
    ledger.answer = hang
    nothing = Rule("daily", 10**9, "day", AtCap.REFUSE, offline_requests=0)
    refused, home = await asyncio.gather(
        budgets.reserve([nothing], wanted(1)), budgets.reserve([HOME], wanted(2)), return_exceptions=True
    )
    assert isinstance(refused, DomainError)
    assert isinstance(home, Verdict)
    assert home.home_only is not None
    await given_back(ledger, 1, 2)


async def test_a_leg_whose_caller_leaves_is_given_back(ledger: Ledger, budgets: BudgetAdapter) -> None:
    ledger.answer = hang
    task = asyncio.create_task(budgets.reserve([RULE], wanted(7)))

    async def asked() -> bool:
        return bool(ledger.asked)

    await until(asked, "the ledger is asked")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await given_back(ledger, 7)


async def test_what_could_not_be_given_back_is_when_the_ledger_returns(
    ledger: Ledger, budgets: BudgetAdapter
) -> None:
    await ledger.stop()
    budgets.give_back((1).to_bytes(16, "big"))
    for number in range(FAILURES):
        await budgets.reserve([RULE], wanted(10 + number))
    budgets.give_back((2).to_bytes(16, "big"))
    await ledger.start()
    await given_back(ledger, 1, 2)
