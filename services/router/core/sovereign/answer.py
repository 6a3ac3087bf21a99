"""Writes an answer as OpenAI's API has it, while the model's text comes: whole, or as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from services.common.schemas import first_problem
from services.router.core import sse
from services.router.core.sovereign.plan import Plan
from services.router.core.sovereign.tool_calls import Arguments, Event, Started, Text, ToolCallReader


@dataclass(frozen=True, slots=True)
class Head:
    """What every part of an answer says of it."""

    id_hex: str
    """24 hexadecimal digits."""
    created_unix_s: int
    model: str


class Writer(Protocol):
    """Writes one answer."""

    complete: bool
    """True once nothing that follows is wanted."""

    def feed(self, piece: str) -> bytes:
        """Takes a piece of text, and gives the events that it brings; may be empty."""

    def problem(self) -> str:
        """What is wrong with the answer when it has ended; empty if nothing is."""

    def end(self, finish_reason: str, usage: Mapping[str, Any]) -> bytes:
        """The last events of a streamed answer."""

    def whole(self, finish_reason: str, usage: Mapping[str, Any]) -> bytes:
        """The body of an answer that is not streamed."""


@dataclass(slots=True)
class _ToolCall:
    id: str
    name: str
    arguments: str = ""


class ChatWriter:
    """Writes a chat completion."""

    def __init__(self, head: Head, plan: Plan) -> None:
        self.complete = False
        self._head = head
        self._plan = plan
        self._reader = ToolCallReader(plan.tools.names) if plan.tools.functions else None
        self._content: list[str] = []
        self._calls: list[_ToolCall] = []
        self._begun = False

    def feed(self, piece: str) -> bytes:
        """Takes a piece of text; a tool call in it becomes the pieces of a call."""
        if self._reader is None:
            return self._take([Text(piece)])
        out = self._take(self._reader.feed(piece))
        self.complete = self.complete or self._reader.done
        return out

    def problem(self) -> str:
        """Whether the answer makes the call that was demanded, or meets `response_format`, and whether the
        arguments of strict tools meet their schema."""
        if self._plan.tools.opening and not self._calls:
            return "a tool call was demanded, and it makes none"
        if self._plan.format is not None and not self._calls:
            return self._plan.format.problem("".join(self._content))
        for call in self._calls:
            schema = self._plan.tools.strict.get(call.name)
            if schema is None:
                continue
            try:
                found = first_problem(schema, orjson.loads(call.arguments))
            except orjson.JSONDecodeError as error:
                found = str(error)
            if found:
                return f"the arguments of {call.name}: {found}"
        return ""

    def end(self, finish_reason: str, usage: Mapping[str, Any]) -> bytes:
        """What was held back, the finish reason, the usage if it was asked for, and `[DONE]`."""
        rest = self._rest()
        if not self._begun:
            rest += self._event({"role": "assistant", "content": ""})
        last = rest + self._event({}, self._finish(finish_reason))
        if self._plan.include_usage:
            last += sse.event(
                orjson.dumps({**self._base("chat.completion.chunk"), "choices": [], "usage": usage})
            )
        return last + sse.event(sse.DONE)

    def whole(self, finish_reason: str, usage: Mapping[str, Any]) -> bytes:
        """The completion."""
        self._rest()
        content = "".join(self._content)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if self._calls:
            message["content"] = content or None
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self._calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish(finish_reason),
        }
        return orjson.dumps({**self._base("chat.completion"), "choices": [choice], "usage": usage})

    def _rest(self) -> bytes:
        return b"" if self._reader is None else self._take(self._reader.finish())

    def _take(self, events: Sequence[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if self.complete:
                break
            delta = self._delta(event)
            if delta is None:
                continue
            if not self._begun:
                delta = {"role": "assistant", "content": None, **delta}
                self._begun = True
            if self._plan.streamed:
                out.append(self._event(delta))
        return b"".join(out)

    def _delta(self, event: Event) -> dict[str, Any] | None:
        if isinstance(event, Text):
            if not event.text:
                return None
            self._content.append(event.text)
            return {"content": event.text}
        if isinstance(event, Started):
            if event.index and not self._plan.tools.parallel:
                self.complete = True
                return None
            call = _ToolCall(f"call_{self._head.id_hex[:20]}{event.index:04d}", event.name)
            self._calls.append(call)
            function = {"name": call.name, "arguments": ""}
            return {
                "tool_calls": [
                    {"index": event.index, "id": call.id, "type": "function", "function": function}
                ]
            }
        if not isinstance(event, Arguments) or not event.text:
            return None
        self._calls[event.index].arguments += event.text
        return {"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]}

    def _finish(self, finish_reason: str) -> str:
        # OpenAI says "stop" where the request named the function, and "tool_calls" where it left a choice.
        if self._calls and finish_reason == "stop" and not self._plan.tools.named:
            return "tool_calls"
        return finish_reason

    def _event(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sse.event(orjson.dumps({**self._base("chat.completion.chunk"), "choices": [choice]}))

    def _base(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self._head.id_hex}",
            "object": kind,
            "created": self._head.created_unix_s,
            "model": self._head.model,
        }


@dataclass(slots=True)
class TextWriter:
    """Writes a completion of a text."""

    head: Head
    plan: Plan
    complete: bool = False
    texts: list[str] = field(default_factory=list)

    def feed(self, piece: str) -> bytes:
        """Takes a piece of text."""
        self.texts.append(piece)
        return sse.event(self._document(piece, None)) if piece and self.plan.streamed else b""

    def problem(self) -> str:
        """Nothing is demanded of a text."""
        return ""

    def end(self, finish_reason: str, usage: Mapping[str, Any]) -> bytes:
        """The finish reason, the usage if it was asked for, and `[DONE]`."""
        last = sse.event(self._document("", finish_reason))
        if self.plan.include_usage:
            last += sse.event(orjson.dumps({**self._base(), "choices": [], "usage": usage}))
        return last + sse.event(sse.DONE)

    def whole(self, finish_reason: str, usage: Mapping[str, Any]) -> bytes:
        """The completion."""
        return self._document("".join(self.texts), finish_reason, usage=usage)

    def _document(self, text: str, finish_reason: str | None, **more: Any) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        return orjson.dumps({**self._base(), "choices": [choice], **more})

    def _base(self) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self.head.id_hex}",
            "object": "text_completion",
            "created": self.head.created_unix_s,
            "model": self.head.model,
        }


def usage_document(prompt_tokens: int, answer_tokens: int) -> dict[str, int]:
    """Usage as OpenAI reports it."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer_tokens,
        "total_tokens": prompt_tokens + answer_tokens,
    }
