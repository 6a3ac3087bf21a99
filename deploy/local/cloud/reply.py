"""What every API gives back to the server: a whole answer, or the events of a streamed one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from deploy.local.cloud.ask import Usage

DONE = b"data: [DONE]\n\n"
"""Ends the streams of chat completions and completions."""


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    data: bytes
    """All of it, with the blank line at its end."""
    tokens: int = 0
    """Tokens of the answer that it carries: what it takes time to produce."""


def event(document: object, name: str = "", tokens: int = 0) -> Event:
    """An event with a JSON document, and with a name where the API gives it one."""
    head = f"event: {name}\n".encode() if name else b""
    return Event(head + b"data: " + orjson.dumps(document) + b"\n\n", tokens)


def broken_event(_sent: int) -> bytes:
    """An error within a stream of chat completions or completions."""
    message = "The stand-in cloud was asked to fail within the stream."
    error = {"message": message, "type": "server_error", "param": None, "code": None}
    return event({"error": error}).data


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is ready to be sent."""

    operation: str
    """The `gen_ai.operation.name` of the call."""
    model: str
    usage: Usage
    document: Callable[[], dict[str, Any]]
    """Makes the body of an answer that is not streamed."""
    events: Callable[[], Iterator[Event]] | None = None
    """Makes the events; None if the answer is not to be streamed."""
    error_event: Callable[[int], bytes] = broken_event
    """Makes the event that tells of an error after a number of events."""


def new_id(prefix: str) -> str:
    """An identifier such as OpenAI's: `chatcmpl-` or another prefix, then 96 random bits."""
    return prefix + secrets.token_hex(12)


def usage_document(usage: Usage) -> dict[str, Any]:
    """Usage as chat completions and completions report it."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
