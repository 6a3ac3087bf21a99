"""The probes: asks the real sovereign endpoint, through the router, for what a workload uses.

Each is a leg of purpose PROBE at the target SOVEREIGN, with texts of our own and the operator's fixed parts:
never what an application's user said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import orjson
from google.protobuf import json_format
from grpc import aio
from homeward.common.v1 import chat_pb2, leg_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc

from services.common.errors import DomainError, Reason
from services.common.interceptors import UnaryClientInterceptor, untraced
from services.common.server import channel
from services.shadow.adapters.ledger import domain_error
from services.shadow.core.features import JSON_OBJECT, JSON_SCHEMA, STOP, TOOLS
from services.shadow.core.gate import (
    CONTEXT_LENGTH,
    STREAMING_USAGE,
    Capability,
    FixedParts,
    Need,
)

PROBE_TIMEOUT_S = 60.0
"""Longest wait for a probe's answer: a long prompt on a cold server."""
TRIES = 3
"""Of a probe whose answer is drawn: a small model breaks a schema now and then."""
ANSWER_TOKENS = 256
"""Of a probe's answer, at most."""
ROOM = 1.25
"""Of the context that is needed, what is asked for first: prompts grow with the traffic."""
MEASURE_WORDS = 64
"""Of the prompt that measures how many tokens a word has."""
_WORD = "word "
_QUESTIONS = (
    "This is a test of what you can do. Answer it as you would answer any other message.",
    "Please help me with this.",
    "Where do I find what I need, and how long does it take?",
)

NOT_OURS = frozenset(
    {
        Reason.FEATURE_NOT_SUPPORTED,
        Reason.CONTEXT_LENGTH_EXCEEDED,
        Reason.ANSWER_INVALID,
        Reason.UPSTREAM_REJECTED,
        Reason.INVALID_REQUEST,
        Reason.TARGET_NOT_ALLOWED,
        Reason.MODEL_NOT_FOUND,
        Reason.API_NOT_SUPPORTED,
    }
)
"""What says something of the endpoint. All else says that it could not be asked."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is probed."""

    workload: str
    parts: FixedParts
    system_prompts: Sequence[str] = ()
    """The workload's, from the settings."""


class Probes(Protocol):
    """What can be asked of an endpoint."""

    async def probe(self, subject: Subject, need: Need) -> Capability:
        """Probes one need.

        Raises:
            DomainError: the endpoint could not be asked; nothing is known of it.
        """


class Prober:
    """Asks the router with shadow's key."""

    def __init__(self, address: str, api_key: str, clock: Callable[[], int]) -> None:
        """`clock` gives microseconds since 1970. Needs a running event loop."""
        # A stream's metadata must not stand in for a unary call's span, so streams have their own channel.
        self._channel = channel(address, [UnaryClientInterceptor()])
        self._streams = channel(address)
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)
        self._stream_stub = router_pb2_grpc.RouterServiceStub(self._streams)
        self._key = (("authorization", f"Bearer {api_key}"),)
        self._clock = clock

    async def probe(self, subject: Subject, need: Need) -> Capability:
        """Probes one need.

        Raises:
            DomainError: the endpoint could not be asked; nothing is known of it.
        """
        ask = {
            CONTEXT_LENGTH: self._context,
            TOOLS: self._tools,
            JSON_SCHEMA: self._json,
            JSON_OBJECT: self._json,
            STOP: self._stop,
            STREAMING_USAGE: self._streaming,
        }[need.name]
        # Room for the longer prompts that are to come, which then need no probe; if it is there.
        roomy = replace(need, size=round(ROOM * need.size))
        for asked in (roomy, need) if roomy.size > need.size else (need,):
            try:
                passed, found = await ask(subject, asked)
            except DomainError as error:
                if error.reason not in NOT_OURS:
                    raise
                passed, found = False, f"{error.reason}: {error.message}"
            if passed:
                break
        return Capability(asked, passed, found, self._clock())

    async def close(self) -> None:
        """Closes the connections."""
        await self._channel.close()
        await self._streams.close()

    async def _context(self, subject: Subject, need: Need) -> tuple[bool, str]:
        measured = await self._tokens(subject, MEASURE_WORDS)
        more = await self._tokens(subject, 2 * MEASURE_WORDS)
        if measured is None or more is None or more <= measured:
            return False, "it does not say how many tokens a prompt has"
        each = (more - measured) / MEASURE_WORDS
        words = max(1, round((need.size - measured) / each) + MEASURE_WORDS)
        try:
            tokens = await self._tokens(subject, words)
        except DomainError as error:
            if error.reason is not Reason.CONTEXT_LENGTH_EXCEEDED:
                raise
            limit = error.metadata.get("context_tokens", "fewer")
            return False, f"its context holds {limit} tokens"
        return True, f"it took a prompt of {tokens:,} tokens"

    async def _tokens(self, subject: Subject, words: int) -> int | None:
        """How many tokens a prompt of some words has; None if the endpoint does not say."""
        chat = _chat(subject, _WORD * words, max_tokens=1)
        answer = await self._ask(subject, chat)
        usage = answer.usage
        if not usage.HasField("input_tokens"):
            return None
        return int(usage.input_tokens + usage.cached_input_tokens + usage.cache_write_tokens)

    async def _tools(self, subject: Subject, need: Need) -> tuple[bool, str]:
        found = "no tools are known to ask with"
        for prompt, question in _tries(subject):
            chat = _chat(subject, question, prompt)
            json_format.ParseDict({"tools": orjson.loads(subject.parts.tools or "[]")}, chat)
            if not chat.tools:
                break
            # Demanded: whether the model would rather talk is the comparison's business.
            chat.tool_choice = "required"
            try:
                answer = await self._ask(subject, chat)
            except DomainError as error:
                if error.reason is not Reason.ANSWER_INVALID:
                    raise
                found = f"it made no call that can be read: {error.message}"
                continue
            calls = [call.name for choice in answer.choices for call in choice.message.tool_calls]
            if set(calls) & {tool.name for tool in chat.tools}:
                return True, f"it called {calls[0]}"
            found = "it called none of the tools"
        return False, found

    async def _json(self, subject: Subject, need: Need) -> tuple[bool, str]:
        found = "no schema is known to ask with"
        for prompt, question in _tries(subject):
            chat = _chat(subject, question, prompt)
            if need.name == JSON_OBJECT:
                chat.response_format.json_object = True
            elif subject.parts.response_format:
                json_format.Parse(subject.parts.response_format, chat.response_format)
            else:
                break
            try:
                answer = await self._ask(subject, chat)
                orjson.loads(_text(answer))
            except DomainError as error:
                if error.reason is not Reason.ANSWER_INVALID:
                    raise
                found = f"none of its answers fits: {error.message}"
                continue
            except orjson.JSONDecodeError:
                found = "none of its answers is JSON"
                continue
            return True, "it answered in the form asked for"
        return False, found

    async def _stop(self, subject: Subject, need: Need) -> tuple[bool, str]:
        chat = _chat(subject, _QUESTIONS[0])
        chat.sampling.stop.extend(subject.parts.stop)
        answer = await self._ask(subject, chat)
        text = _text(answer)
        if any(word in text for word in subject.parts.stop):
            return False, "its answer goes on after a stop word"
        return True, "it takes stop words"

    async def _streaming(self, subject: Subject, need: Need) -> tuple[bool, str]:
        request = router_pb2.CompleteStreamRequest(
            chat=_chat(subject, _QUESTIONS[0]), routing=_routing(subject.workload)
        )
        end: router_pb2.End | None = None
        try:
            async for event in self._stream_stub.CompleteStream(
                request, timeout=PROBE_TIMEOUT_S, metadata=(*self._key, *untraced())
            ):
                if event.HasField("end"):
                    end = event.end
        except aio.AioRpcError as error:
            raise domain_error(error, "router") from None
        if end is None or not end.usage.HasField("output_tokens"):
            return False, "its streams end without the number of tokens"
        return True, f"its stream ended with {end.usage.output_tokens:,} tokens counted"

    async def _ask(self, subject: Subject, chat: chat_pb2.Chat) -> router_pb2.CompleteResponse:
        request = router_pb2.CompleteRequest(chat=chat, routing=_routing(subject.workload))
        try:
            answer: router_pb2.CompleteResponse = await self._stub.Complete(
                request, timeout=PROBE_TIMEOUT_S, metadata=self._key
            )
        except aio.AioRpcError as error:
            raise domain_error(error, "router") from None
        return answer


async def probe_all(
    prober: Probes, subject: Subject, needs: Sequence[Need]
) -> tuple[list[Capability], dict[str, str]]:
    """Probes needs one after the other; gives what was found, and by name why others could not be asked."""
    found: list[Capability] = []
    failures: dict[str, str] = {}
    for need in needs:
        try:
            found.append(await prober.probe(subject, need))
        except DomainError as error:
            failures[need.name] = error.message
        # One at a time, and never in a row without a pause for applications.
        await asyncio.sleep(0)
    return found, failures


def _tries(subject: Subject) -> list[tuple[str, str]]:
    """A system prompt (the workload's, and none) and a question for each try."""
    prompts = [*subject.system_prompts, ""]
    return [
        (prompts[number % len(prompts)], _QUESTIONS[number % len(_QUESTIONS)])
        for number in range(max(TRIES, len(prompts)))
    ]


def _chat(
    subject: Subject, question: str, system: str = "", max_tokens: int = ANSWER_TOKENS
) -> chat_pb2.Chat:
    chat = chat_pb2.Chat(
        model=subject.parts.model,
        sampling=chat_pb2.SamplingParameters(max_tokens=max_tokens, temperature=0),
    )
    for role, text in ((chat_pb2.ROLE_SYSTEM, system), (chat_pb2.ROLE_USER, question)):
        if text:
            chat.messages.append(chat_pb2.Message(role=role, content=[chat_pb2.ContentPart(text=text)]))
    return chat


def _routing(workload: str) -> router_pb2.Routing:
    return router_pb2.Routing(
        workload=workload, purpose=leg_pb2.PURPOSE_PROBE, target=leg_pb2.TARGET_SOVEREIGN
    )


def _text(answer: router_pb2.CompleteResponse) -> str:
    return "".join(part.text for choice in answer.choices for part in choice.message.content)
