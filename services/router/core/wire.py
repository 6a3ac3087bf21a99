"""What a request is, and what it takes to send it on and read what comes back.

A codec belongs to one request. It says what to send, and reads of the answer just as far as Homeward must:
the usage, the model that served, the end, and the `model` field that the application sees. `core/same.py`
has the codec of those who speak the same protocol on both sides, `core/messages.py` the one that translates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from services.common.errors import DomainError, Reason, invalid_request
from services.router.core import catalog
from services.router.core.usage import Usage

PATHS = {
    catalog.CHAT: "/chat/completions",
    catalog.COMPLETIONS: "/completions",
    catalog.EMBEDDINGS: "/embeddings",
    catalog.RESPONSES: "/responses",
    catalog.MESSAGES: "/messages",
}
"""Path of each call below an upstream's base URL, and below /v1 at the door."""


MAX_DEPTH = 200
"""Levels of nesting in a body: more than any schema has, and what can still be written again (orjson
reads about 1,000 levels but writes 254)."""
MAX_VALUES = 1_000_000
"""Values in a body: three times the token ids that OpenAI takes in one request of embeddings. Each becomes
an object of Python's, so that a body of 30 MB of brackets would take a GB, and stop all other requests for
many seconds."""
_MORE_VALUES = re.compile(
    # A string, closed or not, is passed over; each bracket and comma outside of one begins a value.
    rb'(?:[^"\[{,]*+(?:"(?:[^"\\]++|\\.)*+"?[^"\[{,]*+)*+[\[{,]){%d}+' % (MAX_VALUES + 1),
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as an application sent it."""

    api: str
    body: bytes
    document: Mapping[str, Any]
    """The body, parsed."""
    model: str
    streamed: bool
    input_chars: int
    """Bytes of the body: no request has more tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer for the application."""

    body: bytes
    usage: Usage
    model: str
    """The model that served, as its server calls it; empty if it did not say."""


class StreamCodec(Protocol):
    """Reads an answer's events one by one."""

    usage: Usage
    model: str
    output_chars: int
    """Characters generated so far: what an estimate of the output's tokens rests on."""
    finished: bool
    """True once the upstream has said that the answer is whole."""
    error: str
    """What the upstream said if it ended the answer with an error event."""

    def feed(self, event: bytes) -> bytes:
        """What the application gets for one event; may be empty."""

    def broken(self, error: DomainError) -> bytes:
        """The event that tells the application that the answer is not whole."""


class Codec(Protocol):
    """One request's translation between its door and an upstream."""

    path: str

    def request(self, route: catalog.Route) -> bytes:
        """What to send to an upstream."""

    def answer(self, body: bytes) -> Answer:
        """Reads a whole answer. Raises DomainError UPSTREAM_BROKEN if it is not one."""

    def stream(self) -> StreamCodec:
        """A reader of a streamed answer."""

    def error(self, status: int, body: bytes) -> bytes:
        """An upstream's error in the door's shape."""


def parse_request(api: str, body: bytes) -> Request:
    """Checks what Homeward relies on; the rest of the body is for the upstream to judge.

    Raises:
        DomainError: MALFORMED_JSON or INVALID_REQUEST.
    """
    # Before it is parsed: that is what costs.
    if too_many_values(body):
        raise DomainError(
            Reason.INVALID_REQUEST,
            f"the body has more than {MAX_VALUES} values",
            field="",
            expected=f"at most {MAX_VALUES} values",
            got="more",
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DomainError(
            Reason.MALFORMED_JSON, f"the body is not JSON in UTF-8: {error}", detail=error
        ) from None
    if not isinstance(document, dict):
        raise _invalid("", "a JSON object", document)
    # Most bodies have fewer brackets than the limit, and then need no walk.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and deeper_than(document, MAX_DEPTH):
        raise DomainError(
            Reason.INVALID_REQUEST,
            f"the body is nested more than {MAX_DEPTH} deep",
            field="",
            expected=f"at most {MAX_DEPTH} levels",
            got="more",
        )
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise _invalid("model", "the name of a model", model)
    streamed = document.get("stream")
    if streamed is not None and not isinstance(streamed, bool):
        raise _invalid("stream", "true or false", streamed)
    field = _INPUT[api]
    value = document.get(field)
    if api in (catalog.CHAT, catalog.MESSAGES):
        if not isinstance(value, list) or not value:
            raise _invalid(field, "a list of at least one message", value)
        for index, message in enumerate(value):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise _invalid(f"{field}[{index}]", "an object with a role", message)
            if not isinstance(message.get("content"), (str, list, type(None))):
                raise _invalid(f"{field}[{index}].content", "text or parts", message["content"])
    # The Responses API may go on from a stored prompt or response without new input.
    elif (not isinstance(value, (str, list)) or not value) and (
        api != catalog.RESPONSES or value is not None
    ):
        raise _invalid(field, "text or a list", value)
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _invalid("stream_options", "an object", options)
    return Request(
        api=api,
        body=body,
        document=document,
        model=model,
        streamed=bool(streamed),
        input_chars=len(body),
    )


def too_many_values(text: bytes) -> bool:
    """Whether JSON has more than MAX_VALUES values."""
    # Nearly all texts are too short for that, or have too few of these signs, within strings or not.
    return (
        len(text) > MAX_VALUES
        and sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES
        and _MORE_VALUES.match(text) is not None
    )


def deeper_than(document: object, levels: int) -> bool:
    """Whether lists and objects lie within each other more than so many levels deep."""
    level: list[Any] = [document]
    for _ in range(levels):
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return False
    return True


def text_of(content: object) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def _invalid(field: str, expected: str, got: object) -> DomainError:
    kind = "nothing" if got is None else type(got).__name__
    if isinstance(got, (str, list, dict)) and not got:
        kind = f"an empty {kind}"
    return invalid_request(field, expected, kind)


_INPUT = {
    catalog.CHAT: "messages",
    catalog.MESSAGES: "messages",
    catalog.COMPLETIONS: "prompt",
    catalog.EMBEDDINGS: "input",
    catalog.RESPONSES: "input",
}
