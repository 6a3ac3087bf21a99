"""How each protocol says the few things that Homeward reads, and how it reports an error.

A stream's events pass through `SameStream`; a dialect reads each just as far as it must.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.common.errors import DomainError, Reason
from services.router.core import catalog, splice, sse
from services.router.core.usage import (
    UNKNOWN,
    Usage,
    anthropic_begun,
    anthropic_so_far,
    at_usual_price,
    from_anthropic,
    from_openai,
)


class SameStream:
    """Lets events through, and reads them just as far as it must."""

    def __init__(self, dialect: Dialect, answer_as: bytes | None, hide_usage: bool) -> None:
        self.usage: Usage = UNKNOWN
        self.model = ""
        self.output_chars = 0
        self.finished = False
        self.error = ""
        self.sequence_number = -1
        """Of the last event that had one: those of the Responses API count up."""
        self._dialect = dialect
        self._answer_as = answer_as
        self._hide_usage = hide_usage

    def feed(self, event: bytes) -> bytes:
        """The event, but for `model`, and for usage that the application did not ask for."""
        data = sse.payload(event)
        if not data:
            return event
        if data == sse.DONE:
            self.finished = True
            return event
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise DomainError(
                Reason.UPSTREAM_BROKEN, f"an event is not JSON: {error}", detail=error
            ) from None
        if not isinstance(document, dict):
            return event
        return self._dialect.read(self, event, data, document)

    def broken(self, error: DomainError) -> bytes:
        """An error event in the protocol's shape."""
        return self._dialect.error_event(error, self.sequence_number + 1)

    def rename(self, event: bytes, data: bytes, served: object, nested: str = "") -> bytes:
        """The event with the `model` that the application shall see."""
        if not isinstance(served, str) or not served:
            return event
        self.model = served
        if self._answer_as is None:
            return event
        name = orjson.dumps(served)
        if name == self._answer_as:
            return event
        # Inside a JSON string quotes are escaped, so these bytes are the key itself.
        if event.count(b'"model"') == 1 and name in event:
            head, tail = event.split(b'"model"', 1)
            return head + b'"model"' + tail.replace(name, self._answer_as, 1)
        if nested:
            return event.replace(data, splice.set_nested(data, nested, "model", self._answer_as), 1)
        return event.replace(data, splice.set_key(data, "model", self._answer_as), 1)

    @property
    def hides_usage(self) -> bool:
        """True if the application did not ask for the usage that Homeward asked for."""
        return self._hide_usage


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one protocol says the few things that Homeward reads."""

    usage: Callable[[object], Usage]
    read: Callable[[SameStream, bytes, bytes, dict[str, Any]], bytes]
    usage_on_request: bool
    """True if streamed usage must be asked for."""
    error: Callable[[DomainError], bytes]
    error_event: Callable[[DomainError, int], bytes]
    """From the error and the event's sequence number."""


def openai_error(error: DomainError) -> bytes:
    """The body of an error in OpenAI's shape."""
    return orjson.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.meaning.openai_type,
                "param": error.metadata.get("field") or None,
                "code": error.reason.value.lower(),
            }
        }
    )


def anthropic_error(error: DomainError) -> bytes:
    """The body of an error in Anthropic's shape."""
    return orjson.dumps(
        {
            "type": "error",
            "error": {"type": error.meaning.anthropic_type, "message": error.message},
        }
    )


def error_body(api: str, error: DomainError) -> bytes:
    """The body of an error in the shape of a door's protocol."""
    return (anthropic_error if api == catalog.MESSAGES else openai_error)(error)


def _read_chat(stream: SameStream, event: bytes, data: bytes, document: dict[str, Any]) -> bytes:
    if document.get("error") is not None:
        stream.error = error_text(document["error"])
        return event
    choices = document.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict):
                stream.output_chars += _delta_chars(choice)
    report = document.get("usage")
    if report:
        stream.usage = at_usual_price(from_openai(report), document.get("service_tier"))
    if stream.hides_usage and "usage" in document:
        if report and not choices:
            return b""
        event = _without_usage(event, data, document)
        data = sse.payload(event)
    return stream.rename(event, data, document.get("model"))


def _without_usage(event: bytes, data: bytes, document: dict[str, Any]) -> bytes:
    stripped = event.replace(b',"usage":null', b"", 1)
    if stripped is not event and len(stripped) != len(event):
        return stripped
    rest = {key: value for key, value in document.items() if key != "usage"}
    return event.replace(data, orjson.dumps(rest), 1)


def _delta_chars(choice: dict[str, Any]) -> int:
    text = choice.get("text")
    if isinstance(text, str):
        return len(text)
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return 0
    content = delta.get("content")
    count = len(content) if isinstance(content, str) else 0
    calls = delta.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            for piece in (function.get("arguments"), function.get("name")):
                count += len(piece) if isinstance(piece, str) else 0
    return count


def _read_responses(stream: SameStream, event: bytes, data: bytes, document: dict[str, Any]) -> bytes:
    kind = document.get("type")
    number = document.get("sequence_number")
    if isinstance(number, int):
        stream.sequence_number = number
    delta = document.get("delta")
    if isinstance(delta, str):
        stream.output_chars += len(delta)
    if kind == "error":
        stream.error = str(document.get("message") or "error")
        return event
    response = document.get("response")
    if not isinstance(response, dict):
        return event
    if response.get("usage"):
        stream.usage = at_usual_price(from_openai(response["usage"]), response.get("service_tier"))
    if kind in ("response.completed", "response.incomplete"):
        stream.finished = True
    elif kind == "response.failed":
        stream.error = error_text(response.get("error"))
    return stream.rename(event, data, response.get("model"), nested="response")


def _read_messages(stream: SameStream, event: bytes, data: bytes, document: dict[str, Any]) -> bytes:
    kind = document.get("type")
    if kind == "content_block_delta":
        delta = document.get("delta")
        if isinstance(delta, dict):
            text = delta.get("text") or delta.get("partial_json") or delta.get("thinking") or ""
            stream.output_chars += len(text) if isinstance(text, str) else 0
    elif kind == "message_start" and isinstance(document.get("message"), dict):
        message = document["message"]
        stream.usage = anthropic_begun(message.get("usage"))
        return stream.rename(event, data, message.get("model"), nested="message")
    elif kind == "message_delta" and isinstance(document.get("usage"), dict):
        stream.usage = anthropic_so_far(stream.usage, document["usage"])
    elif kind == "message_stop":
        stream.finished = True
    elif kind == "error":
        stream.error = error_text(document.get("error"))
    return event


def error_text(error: object) -> str:
    """What an upstream says is wrong; never empty."""
    said = error.get("message") or error if isinstance(error, dict) else error
    return str(said or "an error without words")


def _openai_event(error: DomainError, _number: int) -> bytes:
    return sse.event(openai_error(error))


def _responses_event(error: DomainError, number: int) -> bytes:
    data = {"type": "error", "code": error.reason.value.lower(), "message": error.message}
    return sse.event(orjson.dumps({**data, "param": None, "sequence_number": number}), "error")


def _anthropic_event(error: DomainError, _number: int) -> bytes:
    return sse.event(anthropic_error(error), "error")


_CHAT = Dialect(from_openai, _read_chat, True, openai_error, _openai_event)
DIALECTS: Mapping[str, Dialect] = {
    catalog.CHAT: _CHAT,
    catalog.COMPLETIONS: _CHAT,
    catalog.EMBEDDINGS: _CHAT,
    catalog.RESPONSES: Dialect(from_openai, _read_responses, False, openai_error, _responses_event),
    catalog.MESSAGES: Dialect(from_anthropic, _read_messages, False, anthropic_error, _anthropic_event),
}
