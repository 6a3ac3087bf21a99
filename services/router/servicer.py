"""The gRPC door: protos in, an `Ask` on, protos out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import orjson
from grpc import aio
from homeward.common.v1 import chat_pb2, leg_pb2, workload_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc
from opentelemetry import trace

from services.common.errors import DomainError, Reason, invalid_request
from services.common.info import bearer
from services.common.words import Purpose, Target
from services.router.adapters.leg_queue import usage_to_proto
from services.router.attempt import Opened
from services.router.call import Ask, Decided
from services.router.chat_proto import to_choices, to_deltas, to_request
from services.router.core import sse
from services.router.core.keys import EXPERIMENTS, Key, KeyRing
from services.router.core.limits import Gate, Limiter
from services.router.dispatch import Dispatcher

SAMPLE_ID_BYTES = 16

Context: TypeAlias = aio.ServicerContext[Any, Any]


class RouterServicer(router_pb2_grpc.RouterServiceServicer):
    """Serves homeward.router.v1.RouterService."""

    def __init__(self, dispatcher: Dispatcher, keys: KeyRing, limiter: Limiter, gate: Gate) -> None:
        self._gate = gate
        self._dispatcher = dispatcher
        self._keys = keys
        self._limiter = limiter

    async def Complete(
        self, request: router_pb2.CompleteRequest, context: Context
    ) -> router_pb2.CompleteResponse:
        """Answers a chat."""
        key = self._authenticate(context)
        with self._gate:
            opened = await self._open(request.chat, request.routing, key, streamed=False)
        _tell_age(opened, context)
        assert opened.body is not None
        return router_pb2.CompleteResponse(
            choices=to_choices(orjson.loads(opened.body)),
            usage=usage_to_proto(opened.usage),
            route=_route(opened.decided),
        )

    async def CompleteStream(
        self, request: router_pb2.CompleteStreamRequest, context: Context
    ) -> AsyncIterator[router_pb2.CompleteStreamResponse]:
        """Answers a chat piece by piece."""
        key = self._authenticate(context)
        with self._gate:
            opened = await self._open(request.chat, request.routing, key, streamed=True)
            _tell_age(opened, context)
            async with aclosing(_stream(opened)) as responses:
                async for response in responses:
                    yield response

    async def ListModels(
        self, request: router_pb2.ListModelsRequest, context: Context
    ) -> router_pb2.ListModelsResponse:
        """Tells the models."""
        self._authenticate(context)
        return router_pb2.ListModelsResponse(
            models=[
                router_pb2.Model(name=name, apis=sorted(apis))
                for name, apis in self._dispatcher.models.listed()
            ]
        )

    async def _open(
        self, chat: chat_pb2.Chat, routing: router_pb2.Routing, key: Key, *, streamed: bool
    ) -> Opened:
        span = trace.get_current_span()
        self._limiter.admit(key, time.monotonic())
        for field, words in (("purpose", Purpose), ("target", Target)):
            number = getattr(routing, field)
            if number and number not in {word.value for word in words}:
                raise invalid_request(f"routing.{field}", "a value that this version knows", number)
        if len(routing.sample_id) not in (0, SAMPLE_ID_BYTES):
            size = len(routing.sample_id)
            raise invalid_request("routing.sample_id", f"{SAMPLE_ID_BYTES} bytes", f"{size} bytes")
        purpose = Purpose(routing.purpose or Purpose.PRODUCTION)
        if purpose is not Purpose.PRODUCTION and EXPERIMENTS not in key.scopes:
            raise DomainError(
                Reason.PURPOSE_FORBIDDEN,
                f"key {key.name!r} may only ask for production legs",
                key=key.name,
                purpose=purpose.name,
            )
        if purpose is Purpose.PRODUCTION and (routing.target or routing.sample_id):
            raise DomainError(
                Reason.INVALID_REQUEST,
                "`routing.target` and `routing.sample_id` go with a purpose other than PRODUCTION",
                field="routing.target",
                expected="nothing",
                got=leg_pb2.Target.Name(routing.target),
            )
        opened = await self._dispatcher.open(
            Ask(
                request=to_request(chat, streamed=streamed),
                key=key,
                span=span,
                answer_as=None,
                workload=routing.workload,
                conversation=routing.conversation_id[:128],
                purpose=purpose,
                target=Target(routing.target) if routing.target else None,
                sample_id=routing.sample_id,
            )
        )
        if opened.status >= 400:
            raise _rejected(opened)
        return opened

    def _authenticate(self, context: Context) -> Key:
        return self._keys.authenticate(bearer(context))


def _tell_age(opened: Opened, context: Context) -> None:
    if opened.decided.policy_age_s is not None:
        context.set_trailing_metadata((("x-homeward-policy-age-s", str(opened.decided.policy_age_s)),))


async def _stream(opened: Opened) -> AsyncGenerator[router_pb2.CompleteStreamResponse, None]:
    assert opened.events is not None
    splitter = sse.Splitter()
    async with aclosing(opened.events) as events:
        yield router_pb2.CompleteStreamResponse(route=_route(opened.decided))
        async for data in events:
            for event in splitter.feed(data):
                payload = sse.payload(event)
                if not payload or payload == sse.DONE:
                    continue
                chunk = orjson.loads(payload)
                if chunk.get("error") is not None:
                    raise _broken(chunk["error"])
                for delta in to_deltas(chunk):
                    yield router_pb2.CompleteStreamResponse(delta=delta)
    end = router_pb2.End(usage=usage_to_proto(opened.call.usage), route=_route(opened.call.decided()))
    yield router_pb2.CompleteStreamResponse(end=end)


def _route(decided: Decided) -> router_pb2.Route:
    return router_pb2.Route(
        request_id=decided.request_id,
        leg_id=decided.leg_id,
        trace_id=decided.trace_id,
        workload=decided.name.workload,
        evidence=workload_pb2.Evidence.ValueType(decided.name.evidence),
        target=leg_pb2.Target.ValueType(decided.target),
        upstream=decided.upstream,
        model=decided.model,
        policy_version=decided.policy_version,
    )


def _rejected(opened: Opened) -> DomainError:
    message = _message(opened.body or b"")
    name = opened.decided.upstream
    return DomainError(
        Reason.UPSTREAM_REJECTED,
        f"upstream {name!r} answered {opened.status}: {message}",
        upstream=name,
        status=opened.status,
        message=message,
    )


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])[:1000]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def _broken(error: Any) -> DomainError:
    message = error.get("message") if isinstance(error, dict) else str(error)
    code = error.get("code") if isinstance(error, dict) else None
    reason = Reason.UPSTREAM_TIMEOUT if code == Reason.UPSTREAM_TIMEOUT.lower() else Reason.UPSTREAM_BROKEN
    return DomainError(reason, str(message), detail=message)
