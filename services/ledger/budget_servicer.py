"""The part of homeward.ledger.v1.LedgerService that is about budgets: protos ↔ core."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, TypeAlias

from grpc import aio
from homeward.common.v1 import leg_pb2
from homeward.ledger.v1 import ledger_pb2

from services.common.budgets import AtCap
from services.common.errors import DomainError, Reason, invalid_request
from services.common.words import Purpose, Target, label
from services.ledger.adapters.journal.budgets import Release, Reserve, Standing
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.reservations import Reservations
from services.ledger.core.budgets import MAX_AMOUNT_NANOS, Decision, most
from services.ledger.core.pricing import NANOS_PER_DOLLAR

Context: TypeAlias = aio.ServicerContext[Any, Any]

MAX_SETTLEMENTS = 10_000
"""Settlements in one call, as the contract says."""
MAX_TOKENS = 10**12
LEG_ID_BYTES = 16


class BudgetServicer:
    """Serves Reserve, Settle and ListBudgets."""

    def __init__(self, reservations: Reservations, prices: PriceList) -> None:
        self._reservations = reservations
        self._prices = prices

    async def Reserve(
        self, request: ledger_pb2.ReserveRequest, context: Context
    ) -> ledger_pb2.ReserveResponse:
        """Sets money aside for a leg."""
        amount = self._amount(request)
        asked = Reserve(
            leg_id=_leg_id("leg_id", request.leg_id),
            workload=request.workload,
            key_name=request.key_name,
            purpose=_purpose(request.purpose),
            amount_nanos=amount,
        )
        covered = self._reservations.budgets.covering(asked.workload, asked.key_name, asked.purpose)
        if not covered or self._reservations.ended(asked.leg_id):
            return ledger_pb2.ReserveResponse()
        [decision] = await self._reservations.put([asked])
        assert decision is not None
        stopped_by = decision.stopped_by
        if stopped_by is not None and stopped_by.at_cap is AtCap.REFUSE:
            raise _exhausted(decision, amount, request)
        return ledger_pb2.ReserveResponse(
            allowed_targets=[leg_pb2.Target.ValueType(Target.SOVEREIGN)] if stopped_by is not None else (),
            budgets=decision.budgets,
            over=decision.over,
        )

    async def Settle(self, request: ledger_pb2.SettleRequest, context: Context) -> ledger_pb2.SettleResponse:
        """Replaces what is set aside for legs that will not be booked."""
        if len(request.settlements) > MAX_SETTLEMENTS:
            raise invalid_request("settlements", f"at most {MAX_SETTLEMENTS}", str(len(request.settlements)))
        releases = []
        for index, item in enumerate(request.settlements):
            where = f"settlements[{index}]"
            amount = item.amount_nanos if item.HasField("amount_nanos") else None
            if amount is not None and amount > MAX_AMOUNT_NANOS:
                raise invalid_request(f"{where}.amount_nanos", f"at most {MAX_AMOUNT_NANOS}", str(amount))
            releases.append(Release(_leg_id(f"{where}.leg_id", item.leg_id), amount))
        if releases:
            await self._reservations.put(releases)
        return ledger_pb2.SettleResponse()

    async def ListBudgets(
        self, request: ledger_pb2.ListBudgetsRequest, context: Context
    ) -> ledger_pb2.ListBudgetsResponse:
        """Tells how each budget stands."""
        found = await asyncio.to_thread(self._reservations.budgets.standing, int(time.time()))
        return ledger_pb2.ListBudgetsResponse(budgets=map(_budget, found))

    def _amount(self, request: ledger_pb2.ReserveRequest) -> int | None:
        """The most that the leg can cost, in nano-dollars; None if nobody knows."""
        for field, limit in (
            ("amount_nanos", MAX_AMOUNT_NANOS),
            ("input_tokens", MAX_TOKENS),
            ("output_tokens", MAX_TOKENS),
        ):
            if getattr(request, field) > limit:
                raise invalid_request(field, f"at most {limit}", str(getattr(request, field)))
        if request.amount_nanos:
            return request.amount_nanos
        rates = self._prices.rates(request.provider, request.model, datetime.now(UTC))
        return most(rates, request.input_tokens, request.output_tokens)


def _leg_id(field: str, value: bytes) -> bytes:
    if len(value) != LEG_ID_BYTES:
        raise invalid_request(field, f"{LEG_ID_BYTES} bytes", f"{len(value)} bytes")
    return value


def _purpose(number: int) -> str:
    if number not in {word.value for word in Purpose}:
        raise invalid_request("purpose", "a purpose", str(number))
    return label(Purpose(number))


def _exhausted(
    decision: Decision, amount_nanos: int | None, request: ledger_pb2.ReserveRequest
) -> DomainError:
    rule = decision.stopped_by
    assert rule is not None
    if amount_nanos is None:
        message = (
            f"budget {rule.name!r} takes no call of unknown price, and nobody knows what"
            f" {request.model[:80]!r} of provider {request.provider[:80]!r} costs;"
            " an operator must add it to [[prices]]"
        )
    else:
        again = datetime.fromtimestamp(decision.end_unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        message = (
            f"budget {rule.name!r} has {_dollars(decision.left_nanos)} of {_dollars(rule.limit_nanos)} left"
            f" for this {rule.period}, and this call may cost up to {_dollars(amount_nanos)};"
            f" it begins anew at {again}"
        )
    return DomainError(Reason.BUDGET_EXHAUSTED, message, budget=rule.name, cap_nanos=rule.limit_nanos)


def _dollars(nanos: int) -> str:
    whole, rest = divmod(nanos, NANOS_PER_DOLLAR)
    # Cents, and as many digits more as a small amount needs.
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{digits if whole < 1000 else digits[:2]}"


def _budget(item: Standing) -> ledger_pb2.Budget:
    message = ledger_pb2.Budget(
        name=item.rule.name,
        limit_nanos=item.rule.limit_nanos,
        spent_nanos=item.page.spent_nanos,
        reserved_nanos=max(0, item.page.reserved_nanos),
        unknown_count=max(0, item.page.unknown_count),
        at_cap=label(item.rule.at_cap),
    )
    message.period_start.FromSeconds(item.period_start)
    return message
