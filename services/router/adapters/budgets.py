"""Budgets as the router keeps to them: asks the ledger before a leg, and knows what goes while none answers.

A ledger that is away costs a request nothing: nobody is asked until a probe in the background has had an
answer, and the local allowance decides meanwhile. One that is only busy is waited for: calls that go by the
allowance are not counted against the cap until they are booked, so a burst of them would pass it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc import aio
from homeward.common.v1 import leg_pb2
from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.budgets import Rule
from services.common.errors import DomainError, Reason
from services.common.interceptors import UnaryClientInterceptor, refusal, untraced
from services.common.server import channel
from services.common.words import Purpose
from services.router.core.bounds import Bounds
from services.router.core.budgets import GO, Allowance, Rules, Verdict, home_only

log = logging.getLogger(__name__)

AWAY_S = 1.0
"""Silence of the ledger towards all who wait for it, after which it is away."""
RESERVE_TIMEOUT_S = 5.0
"""Longest wait of one leg for a ledger that answers others."""
FAILURES = 3
"""Failures in a row after which the ledger is away."""
RETRY_S = 0.5
"""Pause between two probes of a ledger that is away."""
PROBE_TIMEOUT_S = 1.0
MAX_RETURNED = 10_000
"""Legs whose money waits to be given back. Of more, the oldest stays set aside until its period has ended."""
TELL_EVERY_S = 3600
"""How often the log says that a budget which only alerts is passed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A leg that is about to be called."""

    leg_id: bytes
    workload: str
    key_name: str
    purpose: Purpose
    provider: str
    model: str
    bounds: Bounds


class BudgetAdapter:
    """The budgets of one router process."""

    def __init__(self, address: str, rules: Rules) -> None:
        """Asks nobody until a leg falls under a budget. Needs a running event loop."""
        self.rules = rules
        self._allowance = Allowance()
        self._channel = channel(address, [UnaryClientInterceptor()])
        self._stub = ledger_pb2_grpc.LedgerServiceStub(self._channel)
        # What is done in the background belongs to no request's trace.
        self._quiet_channel = channel(address)
        self._quiet_stub = ledger_pb2_grpc.LedgerServiceStub(self._quiet_channel)
        self._failures = 0
        self._loop = asyncio.get_running_loop()
        self._answered_s = 0.0
        self._asking: dict[bytes, float] = {}
        """Legs that wait for the ledger, and since when; the first has waited longest."""
        self._watching = False
        self._gone = self._loop.create_future()
        """Done while the ledger is away."""
        self._returned: deque[bytes] = deque(maxlen=MAX_RETURNED)
        self._wake = asyncio.Event()
        self._told: dict[str, float] = {}
        self._background = asyncio.create_task(self._tend())

    async def reserve(self, rules: Sequence[Rule], leg: Wanted) -> Verdict:
        """Sets money aside for a leg in the budgets that cover it.

        Raises:
            DomainError: BUDGET_EXHAUSTED; nothing was set aside.
        """
        if self._gone.done():
            return self._without(rules)
        try:
            answer = await self._ask(leg)
        except aio.AioRpcError as error:
            refused = refusal(error)
            if refused is not None and refused.reason is Reason.BUDGET_EXHAUSTED:
                self._heard()
                raise refused from None
            self._failures += 1
            if self._failures >= FAILURES:
                self._lost(error.code().name)
            return self._instead(rules, leg.leg_id)
        except asyncio.CancelledError:
            self.give_back(leg.leg_id)
            raise
        if answer is None:
            return self._instead(rules, leg.leg_id)
        self._heard()
        self._tell(answer.over)
        unknown = [rule.name for rule in rules if rule.name not in answer.budgets]
        if unknown:
            self._warn(f"the ledger does not know the budget {unknown[0]!r}; start it with these settings")
        if answer.allowed_targets and leg_pb2.TARGET_CLOUD not in answer.allowed_targets:
            return Verdict(home_only(rules, int(time.time())), tuple(answer.over))
        return Verdict(None, tuple(answer.over)) if answer.over else GO

    async def _ask(self, leg: Wanted) -> ledger_pb2.ReserveResponse | None:
        """The ledger's answer; None if it turns out to be away while the leg waits."""
        self._asking[leg.leg_id] = self._loop.time()
        if not self._watching:
            self._watching = True
            self._loop.call_later(AWAY_S, self._watch)
        call = asyncio.ensure_future(self._stub.Reserve(_request(leg), timeout=RESERVE_TIMEOUT_S))
        try:
            await asyncio.wait((call, self._gone), return_when=asyncio.FIRST_COMPLETED)
            return call.result() if call.done() else None
        finally:
            del self._asking[leg.leg_id]
            call.cancel()

    def _watch(self) -> None:
        self._watching = bool(self._asking) and not self._gone.done()
        if not self._watching:
            return
        silent_since_s = max(self._answered_s, next(iter(self._asking.values())))
        left_s = silent_since_s + AWAY_S - self._loop.time()
        if left_s <= 0:
            self._watching = False
            self._lost(f"silent for {AWAY_S:g} s")
        else:
            self._loop.call_later(left_s, self._watch)

    def _heard(self) -> None:
        self._failures = 0
        self._answered_s = self._loop.time()

    def _lost(self, why: str) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
            self._wake.set()
            log.warning("no ledger answers (%s); budgets have their local allowance", why)

    def give_back(self, leg_id: bytes) -> None:
        """Lets go what is set aside for a leg that is not called. Never waits, never fails."""
        if len(self._returned) == MAX_RETURNED:
            self._warn("money of legs that were not called stays set aside: the ledger does not take it back")
        self._returned.append(leg_id)
        self._wake.set()

    async def close(self) -> None:
        """Stops, after one try to give back what waits."""
        self._background.cancel()
        await asyncio.gather(self._background, return_exceptions=True)
        if self._returned and not self._gone.done():
            await self._settle()
        await self._channel.close()
        await self._quiet_channel.close()

    def _instead(self, rules: Sequence[Rule], leg_id: bytes) -> Verdict:
        # The ledger may have set money aside without the router hearing of it.
        try:
            verdict = self._without(rules)
        except DomainError:
            self.give_back(leg_id)
            raise
        if verdict.home_only is not None:
            self.give_back(leg_id)
        return verdict

    def _without(self, rules: Sequence[Rule]) -> Verdict:
        verdict = self._allowance.take(rules, int(time.time()))
        self._tell(verdict.over)
        return verdict

    async def _tend(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._gone.done() or self._returned:
                if not await (self._probe() if self._gone.done() else self._settle()):
                    await asyncio.sleep(RETRY_S)

    async def _probe(self) -> bool:
        try:
            await self._quiet_stub.ListBudgets(
                ledger_pb2.ListBudgetsRequest(), timeout=PROBE_TIMEOUT_S, metadata=untraced()
            )
        except aio.AioRpcError:
            return False
        self._gone = self._loop.create_future()
        self._heard()
        log.info("the ledger answers again; budgets are its again")
        return True

    async def _settle(self) -> bool:
        legs = list(self._returned)
        request = ledger_pb2.SettleRequest(
            settlements=[ledger_pb2.Settlement(leg_id=leg_id, amount_nanos=0) for leg_id in legs]
        )
        try:
            await self._quiet_stub.Settle(request, timeout=PROBE_TIMEOUT_S, metadata=untraced())
        except aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                return False
            log.error("the ledger refuses to take money back: %s", error.details())
        # More may have come meanwhile, and have pushed some of these out.
        done = set(legs)
        while self._returned and self._returned[0] in done:
            self._returned.popleft()
        return True

    def _tell(self, over: Sequence[str]) -> None:
        for name in over:
            self._warn(f"budget {name!r} is passed; its rule is to alert, so calls go on")

    def _warn(self, message: str) -> None:
        now_s = time.monotonic()
        if now_s - self._told.get(message, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told[message] = now_s
            log.warning(message)


def _request(leg: Wanted) -> ledger_pb2.ReserveRequest:
    return ledger_pb2.ReserveRequest(
        leg_id=leg.leg_id,
        workload=leg.workload,
        key_name=leg.key_name,
        purpose=leg_pb2.Purpose.ValueType(leg.purpose),
        provider=leg.provider,
        model=leg.model,
        input_tokens=leg.bounds.input_tokens,
        output_tokens=leg.bounds.output_tokens,
    )
