"""The router as shadow sees it: it asks all the legs, with their cost, residency, retries and traces."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from grpc import aio
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc
from opentelemetry import context as otel_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.common.errors import Reason
from services.common.interceptors import StreamClientInterceptor, UnaryClientInterceptor, refusal
from services.common.server import channel
from services.common.words import Purpose, Target
from services.shadow.core.scorers.answer import Answer
from services.shadow.translate import choice_answer, joined

ROUTER_AWAY = "router_away"
"""The reason of a leg that did not reach the router."""
TIMEOUT = "timeout"

PASSING = frozenset({Reason.RATE_LIMITED, Reason.OVERLOADED, Reason.CANCELLED})
"""Homeward's own, and soon over."""
OURS = frozenset(
    {
        Reason.BUDGET_EXHAUSTED,
        Reason.KEY_MISSING,
        Reason.KEY_INVALID,
        Reason.PURPOSE_FORBIDDEN,
        Reason.WORKLOAD_FORBIDDEN,
        Reason.MODEL_NOT_FOUND,
    }
)
"""Homeward's own, and not over by waiting: no model was asked."""
TABLE_TRIES = 8
"""Of a leg whose workload the router does not know: it may have just started, and wait for its table. Eleven
seconds, with the pauses of an inquiry."""
OURS_IN_CLOUD = frozenset(
    {
        Reason.TARGET_NOT_ALLOWED,
        Reason.API_NOT_SUPPORTED,
        Reason.FEATURE_NOT_SUPPORTED,
        Reason.INVALID_REQUEST,
    }
)
"""In the cloud, which took the application's request. At home it is what the model lacks."""
_NO_ANSWER_OF_OURS = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)
"""What gRPC itself says of a router that is away, is stopping, or was killed in the middle of a call."""
_propagator = TraceContextTextMapPropagator()


class LegFailed(Exception):
    """A leg gave no answer."""

    def __init__(
        self,
        reason: str,
        counts: bool,
        *,
        passing: bool = False,
        tries: int = 1,
        retry_after_s: float | None = None,
    ) -> None:
        """
        Args:
            reason: in lower case: `upstream_timeout`, `router_away`.
            counts: whether it is the model's failure; if not, it is Homeward's own, and no vote.
            passing: whether it is over by waiting.
            tries: after how many of them to give up; of what does not count and does not pass.
            retry_after_s: for how long, if that was said.
        """
        super().__init__(reason)
        self.reason = reason
        self.counts = counts
        self.passing = passing
        self.tries = tries
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Reply:
    """What a leg gave."""

    answer: Answer
    leg_id: bytes
    """16 bytes."""
    model: str
    """That served."""
    input_tokens: int | None
    """Of the prompt, cached or not; None if the server did not say."""


class RouterAdapter:
    """Asks legs. Needs a running event loop."""

    def __init__(self, address: str, api_key: str) -> None:
        """
        Args:
            address: HOST:PORT of the router's gRPC door.
            api_key: one with the scope `experiments`.
        """
        self._channel = channel(address, [UnaryClientInterceptor(), StreamClientInterceptor()])
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)
        self._key = (("authorization", f"Bearer {api_key}"),)

    async def ask(
        self,
        chat: chat_pb2.Chat,
        *,
        workload: str,
        purpose: Purpose,
        target: Target,
        sample_id: bytes,
        traceparent: str,
        timeout_s: float,
        streamed: bool = False,
    ) -> Reply:
        """Asks one leg; its spans belong to the trace of the application's request.

        Args:
            chat: the question.
            workload: the sample's.
            purpose: why.
            target: where.
            sample_id: 16 bytes; ties the legs of a triplet together in the book.
            traceparent: W3C context of the request; may be empty.
            timeout_s: longest wait.
            streamed: as the application asked, so that the times until the first token can be compared.

        Raises:
            LegFailed: there is no answer.
        """
        routing = router_pb2.Routing(
            workload=workload,
            purpose=leg_pb2.Purpose.ValueType(purpose),
            target=leg_pb2.Target.ValueType(target),
            sample_id=sample_id,
        )
        token = otel_context.attach(_propagator.extract({"traceparent": traceparent}))
        try:
            response = await (self._streamed if streamed else self._whole)(chat, routing, timeout_s)
        except aio.AioRpcError as error:
            raise leg_failed(error, target) from None
        finally:
            otel_context.detach(token)
        if not response.choices:
            raise LegFailed("no_choices", counts=True)
        usage = response.usage
        counted = [
            getattr(usage, name)
            for name in ("input_tokens", "cached_input_tokens", "cache_write_tokens")
            if usage.HasField(name)
        ]
        return Reply(
            answer=choice_answer(response.choices[0]),
            leg_id=response.route.leg_id,
            model=response.route.model,
            input_tokens=sum(counted) if counted else None,
        )

    async def _whole(
        self, chat: chat_pb2.Chat, routing: router_pb2.Routing, timeout_s: float
    ) -> router_pb2.CompleteResponse:
        request = router_pb2.CompleteRequest(chat=chat, routing=routing)
        response: router_pb2.CompleteResponse = await self._stub.Complete(
            request, metadata=self._key, timeout=timeout_s
        )
        return response

    async def _streamed(
        self, chat: chat_pb2.Chat, routing: router_pb2.Routing, timeout_s: float
    ) -> router_pb2.CompleteResponse:
        request = router_pb2.CompleteStreamRequest(chat=chat, routing=routing)
        events = self._stub.CompleteStream(request, metadata=self._key, timeout=timeout_s)
        return joined([event async for event in events])

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()


def leg_failed(error: aio.AioRpcError, target: Target) -> LegFailed:
    """What an error of the router means for the leg.

    What nobody foresaw counts: a sovereign model that makes Homeward fail must not get away with it.
    """
    refused = refusal(error)
    if refused is None:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return LegFailed(TIMEOUT, counts=True)
        if error.code() in _NO_ANSWER_OF_OURS:
            return LegFailed(ROUTER_AWAY, counts=False, passing=True)
        return LegFailed(error.code().name.lower(), counts=True)
    reason = refused.reason.lower()
    if refused.reason in PASSING:
        return LegFailed(reason, counts=False, passing=True, retry_after_s=refused.retry_after_s)
    if refused.reason is Reason.WORKLOAD_NOT_FOUND:
        return LegFailed(reason, counts=False, tries=TABLE_TRIES)
    if refused.reason in OURS or (target is Target.CLOUD and refused.reason in OURS_IN_CLOUD):
        return LegFailed(reason, counts=False)
    busy = refused.reason is Reason.REPLICAS_BUSY
    return LegFailed(reason, counts=True, passing=busy, retry_after_s=refused.retry_after_s)
