"""One leg: calls a route's upstream and reads its answer to the end.

All that follows the answer (booking, spans, token limits) happens in `Call.finish`, once, whatever became
of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from multidict import CIMultiDictProxy

from services.common.errors import DomainError, Reason
from services.common.words import Outcome
from services.router.adapters.upstreams import Exchange, Upstreams
from services.router.call import Ask, Call, Decided
from services.router.core import catalog, wire
from services.router.core.chat_on_messages import ChatOnMessagesCodec
from services.router.core.failures import broken
from services.router.core.messages import MessagesCodec
from services.router.core.same import SameCodec
from services.router.core.sse import Splitter
from services.router.core.usage import Usage

log = logging.getLogger(__name__)

OUTCOMES = {
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

GATEWAY_TIMEOUTS = frozenset({504, 524})
"""Statuses of a gateway whose server of models was too slow for it; that may have run the call, and bill it.
524 is Cloudflare's."""


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


async def attempt(upstreams: Upstreams, ask: Ask, codec: wire.Codec, call: Call) -> Opened:
    """Calls the upstream of a leg's route; whatever becomes of it is booked.

    Raises:
        DomainError: there is no answer that the application could have.
    """
    request = ask.request
    adapter = upstreams.of(call.route)
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
        call.first_byte()
        try:
            exchange.check()
            body = b"" if streamed else await exchange.read()
        except BaseException as error:
            exchange.close(whole=False)
            if isinstance(error, DomainError):
                call.usage = exchange.usage()
                adapter.failed_late(call.route)
            raise
        if streamed:
            events = _events(upstreams, call, exchange, codec.stream())
            # Into its `try`: from here on, closing it books the leg, even before a byte was taken.
            await anext(events)
            return _opened(call, exchange, None, events)
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
            slow = exchange.status in GATEWAY_TIMEOUTS
            call.error_reason = Reason.UPSTREAM_TIMEOUT if slow else Reason.UPSTREAM_REJECTED
            call.finish(Outcome.TIMEOUT if slow else Outcome.REJECTED)
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
        call.finish(OUTCOMES.get(error.reason, Outcome.BROKEN))
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
    upstreams: Upstreams, call: Call, exchange: Exchange, stream: wire.StreamCodec
) -> AsyncGenerator[bytes, None]:
    """The events for the application, those of one chunk joined; books the leg at the end.

    The first piece is empty, and there only to have something to wait for.
    """
    splitter = Splitter()
    whole = False
    try:
        yield b""
        async with aclosing(exchange.chunks()) as chunks:
            async for chunk in chunks:
                out = b"".join([stream.feed(event) for event in splitter.feed(chunk)])
                if out:
                    if call.follower is not None:
                        call.follower.feed(out)
                    yield out
                if stream.error:
                    raise broken(call.route, f"the upstream said: {stream.error}")
                if stream.finished:
                    # The connection's own end may never come, and nobody needs it.
                    break
        if not stream.finished:
            raise broken(call.route, "the connection ended before the answer did")
        whole = True
        upstreams.of(call.route).succeeded(call.route)
        call.read(stream)
        call.finish(Outcome.OK)
    except DomainError as error:
        upstreams.of(call.route).failed_late(call.route)
        call.read(stream)
        call.error_reason = error.reason
        call.estimate(exchange.usage(), stream.output_chars)
        call.finish(OUTCOMES.get(error.reason, Outcome.BROKEN))
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


def codec_for(request: wire.Request, route: catalog.Route, answer_as: str | None) -> wire.Codec:
    """The codec between the door of a request and the upstream of a route."""
    anthropic = route.upstream.protocol == catalog.ANTHROPIC
    if request.api == catalog.MESSAGES and not anthropic:
        return MessagesCodec(request, answer_as)
    if request.api == catalog.CHAT and anthropic:
        return ChatOnMessagesCodec(request, answer_as, int(time.time()))
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
