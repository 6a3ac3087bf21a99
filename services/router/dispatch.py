"""The path of a request, the same for both doors: name → policy → routes → call → answer → book.

A door hands over an `Ask` and gets an `Opened` or a DomainError. All that follows the answer (booking,
spans, token limits) happens in `Call.finish`, once for each leg, whatever became of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from multidict import CIMultiDictProxy
from opentelemetry import trace

from services.common.budgets import Rule
from services.common.errors import DomainError, Reason
from services.common.ids import uuid7
from services.common.telemetry import attributes as names
from services.common.words import Outcome, Target, label
from services.router.adapters.budgets import BudgetAdapter, Wanted
from services.router.adapters.leg_queue import LegQueue
from services.router.adapters.policy import PolicyAdapter
from services.router.adapters.upstreams import Exchange, Upstreams
from services.router.call import Ask, Call, Decided
from services.router.core import catalog, wire
from services.router.core.bounds import bounds
from services.router.core.budgets import Verdict
from services.router.core.data_classes import bound
from services.router.core.failures import broken
from services.router.core.keys import Key
from services.router.core.leg import Leg
from services.router.core.limits import Limiter
from services.router.core.messages import MessagesCodec
from services.router.core.naming import Name
from services.router.core.retry import RETRIED_STATUSES
from services.router.core.same import SameCodec
from services.router.core.sse import Splitter
from services.router.core.usage import Usage
from services.router.namer import Namer
from services.router.routing import only_home, routes_of

log = logging.getLogger(__name__)

_FALL_BACK_STATUSES = RETRIED_STATUSES | {403}
"""Statuses that say something about the upstream rather than the request: another may serve it."""

_OUTCOMES = {
    Reason.BREAKER_OPEN: Outcome.UNREACHABLE,
    Reason.UPSTREAM_UNREACHABLE: Outcome.UNREACHABLE,
    Reason.UPSTREAM_TIMEOUT: Outcome.TIMEOUT,
    Reason.UPSTREAM_BROKEN: Outcome.BROKEN,
    Reason.UPSTREAM_REJECTED: Outcome.REJECTED,
    Reason.REPLICAS_BUSY: Outcome.UNREACHABLE,
    Reason.ANSWER_INVALID: Outcome.BROKEN,
    # A sovereign server is not OpenAI's: what it refuses may be right elsewhere.
    Reason.INVALID_REQUEST: Outcome.REJECTED,
    Reason.FEATURE_NOT_SUPPORTED: Outcome.REJECTED,
    Reason.CONTEXT_LENGTH_EXCEEDED: Outcome.REJECTED,
}
"""How a leg ended that failed for a reason; after these, another route may serve the request."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer, whole or about to be streamed."""

    status: int
    headers: CIMultiDictProxy[str]
    """The upstream's."""
    decided: Decided
    body: bytes | None
    """The whole answer, or an error's body; None if it is streamed."""
    usage: Usage
    events: AsyncGenerator[bytes, None] | None
    """A streamed answer. Must be run to its end or closed: that books the leg."""
    call: Call
    """The leg behind it."""


class Dispatcher:
    """Serves requests. One a process."""

    def __init__(
        self,
        models: catalog.Catalog,
        limiter: Limiter,
        policy: PolicyAdapter,
        namer: Namer,
        upstreams: Upstreams,
        legs: LegQueue,
        budgets: BudgetAdapter,
    ) -> None:
        self.models = models
        self._limiter = limiter
        self._policy = policy
        self._namer = namer
        self._upstreams = upstreams
        self._legs = legs
        self._budgets = budgets
        self._tracer = trace.get_tracer("homeward.router")

    async def open(self, ask: Ask) -> Opened:
        """Names the request, chooses where it runs, and calls there.

        Returns:
            The answer of the first route that gives one. An error of an upstream is an answer too, if
            it concerns the request or no other route is left.

        Raises:
            DomainError: nothing could be asked, or nobody answered.
        """
        request_id = uuid7(time.time_ns())
        named = await self._namer.name(ask, request_id)
        name, policy = named.name, self._policy.policy
        ask.span.set_attributes(
            {
                names.KEY_NAME: ask.key.name,
                names.WORKLOAD: name.workload,
                names.EVIDENCE: label(name.evidence),
                names.CONFIDENCE: name.confidence,
                names.POLICY_VERSION: policy.version,
            }
        )
        row = bound(policy.row(name.workload), named.classes, name.workload)
        waiting = deque(routes_of(self.models, ask, named, row))
        rules = self._budgets.rules.covering(name.workload, ask.key.name, ask.purpose)
        failure: DomainError | None = None
        answer: Opened | None = None
        at_home = False
        while waiting:
            route = waiting.popleft()
            leg_id = b""
            if rules and route.upstream.target is Target.CLOUD:
                leg_id = uuid7(time.time_ns())
                verdict = await self._reserve(rules, ask, name, route, leg_id)
                if verdict.home_only is not None:
                    if at_home:
                        # Home was asked first: what it said stands.
                        break
                    waiting = deque(only_home(self.models, ask, row, name.workload, verdict.home_only))
                    continue
            call = Call(self._book, self._tracer, ask, name, route, request_id, policy.version, leg_id)
            at_home = route.upstream.target is Target.SOVEREIGN
            try:
                answer = await self._try(ask, call)
            except DomainError as error:
                failure, answer = error, None
                too_long = error.reason is Reason.CONTEXT_LENGTH_EXCEEDED
                stays = too_long and not route.upstream.too_long_moves
                if stays or error.reason not in _OUTCOMES:
                    raise
                continue
            if answer.status not in _FALL_BACK_STATUSES:
                return answer
        if answer is not None:
            return answer
        raise failure or DomainError(Reason.INTERNAL, "no route was tried")

    async def _reserve(
        self, rules: Sequence[Rule], ask: Ask, name: Name, route: catalog.Route, leg_id: bytes
    ) -> Verdict:
        """Sets the money of a cloud leg aside, in the budgets that cover it."""
        wanted = Wanted(
            leg_id=leg_id,
            workload=name.workload,
            key_name=ask.key.name,
            purpose=ask.purpose,
            provider=route.upstream.provider,
            model=route.model,
            bounds=bounds(ask.request),
        )
        with trace.use_span(
            ask.span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        ):
            verdict = await self._budgets.reserve(rules, wanted)
        if verdict.over:
            ask.span.add_event("over budget", {"budgets": verdict.over})
        return verdict

    async def _try(self, ask: Ask, call: Call) -> Opened:
        request = ask.request
        codec = codec_for(request, call.route, ask.answer_as)
        adapter = self._upstreams.of(call.route)
        try:
            exchange = await adapter.call(
                call.route,
                codec.path,
                codec.request(call.route),
                call.headers(),
                streamed=request.streamed,
                on_retry=call.retried,
            )
            call.attempts = exchange.attempts
            call.http_status = exchange.status
            streamed = request.streamed and exchange.status < 400
            if streamed:
                events = self._events(call, exchange, codec.stream())
                # Into its `try`: from here on, closing it books the leg, even before a byte was taken.
                await anext(events)
                return _opened(call, exchange, None, events)
            call.first_byte()
            try:
                body = await exchange.read()
            except BaseException as error:
                exchange.close(whole=False)
                if isinstance(error, DomainError):
                    call.usage = exchange.usage()
                    adapter.failed_late(call.route)
                raise
            exchange.close(whole=True)
            if exchange.status == 401:
                # The credentials are Homeward's own; the answer may quote a part of them.
                raise DomainError(
                    Reason.UPSTREAM_REJECTED,
                    f"upstream {call.route.upstream.name!r} refused Homeward's own key;"
                    f" an operator must mend [upstreams.{call.route.upstream.name}]",
                    upstream=call.route.upstream.name,
                    status=401,
                )
            if exchange.status >= 400:
                call.error_reason = Reason.UPSTREAM_REJECTED
                call.finish(Outcome.REJECTED)
                return _opened(call, exchange, codec.error(exchange.status, body), None)
            try:
                answer = codec.answer(body)
            except DomainError:
                adapter.failed_late(call.route)
                raise
            adapter.succeeded(call.route)
            call.usage = answer.usage
            call.served_by(answer.model)
            call.finish(Outcome.OK)
            return _opened(call, exchange, answer.body, None)
        except DomainError as error:
            call.attempts = int(error.metadata.get("attempts", call.attempts))
            call.error_reason = error.reason
            call.finish(_OUTCOMES.get(error.reason, Outcome.BROKEN))
            raise
        except asyncio.CancelledError:
            call.cancelled()
            raise
        # Whatever it was, the call was made, so the leg is booked.
        except Exception:
            call.error_reason = Reason.INTERNAL
            call.finish(Outcome.BROKEN)
            raise

    async def _events(
        self, call: Call, exchange: Exchange, stream: wire.StreamCodec
    ) -> AsyncGenerator[bytes, None]:
        """The events for the application, those of one chunk joined; books the leg at the end.

        The first piece is empty, and there only to have something to wait for.
        """
        splitter = Splitter()
        whole = False
        try:
            call.first_byte()
            yield b""
            async with aclosing(exchange.chunks()) as chunks:
                async for chunk in chunks:
                    out = b"".join([stream.feed(event) for event in splitter.feed(chunk)])
                    if out:
                        yield out
                    if stream.error:
                        raise broken(call.route, f"the upstream said: {stream.error}")
                    if stream.finished:
                        # The connection's own end may never come, and nobody needs it.
                        break
            if not stream.finished:
                raise broken(call.route, "the connection ended before the answer did")
            whole = True
            self._upstreams.of(call.route).succeeded(call.route)
            call.read(stream)
            call.finish(Outcome.OK)
        except DomainError as error:
            self._upstreams.of(call.route).failed_late(call.route)
            call.read(stream)
            call.error_reason = error.reason
            call.estimate(exchange.usage(), stream.output_chars)
            call.finish(_OUTCOMES.get(error.reason, Outcome.BROKEN))
            # An error event of the upstream has gone through already.
            if not stream.error:
                yield stream.broken(error)
        except (asyncio.CancelledError, GeneratorExit, ConnectionError):
            call.read(stream)
            call.estimate(exchange.usage(), stream.output_chars)
            call.cancelled()
            raise
        except Exception:
            log.exception("a defect", extra={"trace_id": call.decided().trace_id})
            call.read(stream)
            call.error_reason = Reason.INTERNAL
            call.estimate(exchange.usage(), stream.output_chars)
            call.finish(Outcome.BROKEN)
            yield stream.broken(DomainError(Reason.INTERNAL, "an internal error", trace_id=""))
        finally:
            exchange.close(whole=whole)

    def _book(self, leg: Leg, key: Key) -> None:
        """Hands a finished leg to the book and to the key's token limit."""
        self._legs.add(leg)
        self._limiter.spend(key, leg.usage.total_tokens, time.monotonic())


def codec_for(request: wire.Request, route: catalog.Route, answer_as: str | None) -> wire.Codec:
    """The codec between the door of a request and the upstream of a route."""
    if request.api == catalog.MESSAGES and route.upstream.protocol != catalog.ANTHROPIC:
        return MessagesCodec(request, answer_as)
    return SameCodec(request, answer_as)


def _opened(
    call: Call,
    exchange: Exchange,
    body: bytes | None,
    events: AsyncGenerator[bytes, None] | None,
) -> Opened:
    return Opened(
        status=exchange.status,
        headers=exchange.headers,
        decided=call.decided(),
        body=body,
        usage=call.usage,
        events=events,
        call=call,
    )
