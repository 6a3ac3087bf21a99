"""What goes over the wire between a door and an upstream: the codecs that speak the same language on
both sides, and what all codecs have in common.

A codec belongs to one request. It says what to send, and reads what comes back just as far as Homeward
must: the usage, the model that served, the end, and the `model` field that the application sees. Every
other byte passes through. `core/messages.py` has the codec that translates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from services.common.errors import DomainError, Reason
from services.router.core import catalog, splice, sse
from services.router.core.usage import UNKNOWN, Usage, from_anthropic, from_openai

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
    """Characters of the body: what an estimate of the input's tokens rests on."""


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
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DomainError(
            Reason.MALFORMED_JSON, f"the body is not JSON in UTF-8: {error}", detail=error
        ) from None
    if not isinstance(document, dict):
        raise _invalid("", "a JSON object", document)
    # Most bodies have fewer brackets than the limit, and then need no walk.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(document, MAX_DEPTH):
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


def _deeper_than(document: object, levels: int) -> bool:
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


def system_prompt(request: Request) -> str:
    """The texts of the system and developer messages, joined by newlines; empty if there are none."""
    document = request.document
    if request.api == catalog.CHAT:
        texts = [
            text_of(message.get("content"))
            for message in document["messages"]
            if message["role"] in ("system", "developer")
        ]
        return "\n".join(texts)
    if request.api == catalog.MESSAGES:
        return text_of(document.get("system"))
    if request.api == catalog.RESPONSES:
        return text_of(document.get("instructions"))
    return ""


def opening(request: Request) -> str:
    """The system prompt and the first other message: what names a conversation that declares no id."""
    return "\n".join((system_prompt(request), *turns(request)[:1]))


def turns(request: Request) -> list[str]:
    """The texts of the messages that are not the system's, oldest first."""
    document = request.document
    if request.api in (catalog.CHAT, catalog.MESSAGES):
        return [
            text_of(message.get("content"))
            for message in document["messages"]
            if message["role"] not in ("system", "developer")
        ]
    value = document.get(_INPUT[request.api])
    if isinstance(value, str):
        return [value]
    texts = []
    for item in value or ():
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict):
            texts.append(text_of(item.get("content")))
    return texts


def text_of(content: object) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


class SameCodec:
    """Door and upstream speak the same protocol: bytes pass but for `model` and the usage's request."""

    def __init__(self, request: Request, answer_as: str | None) -> None:
        """`answer_as` is the `model` that the application sees; None leaves the upstream's."""
        self._request = request
        self._answer_as = None if answer_as is None else orjson.dumps(answer_as)
        self._dialect = DIALECTS[request.api]
        self.path = PATHS[request.api]
        self._hide_usage = False

    def request(self, route: catalog.Route) -> bytes:
        """The body as it came, with the model's name there, asking for usage if it is streamed."""
        request = self._request
        body = request.body
        self._hide_usage = False
        if route.model != request.model:
            body = splice.set_key(body, "model", orjson.dumps(route.model))
        if request.streamed and route.upstream.stream_usage and self._dialect.usage_on_request:
            options = request.document.get("stream_options")
            if not options or not options.get("include_usage"):
                merged = orjson.dumps({**(options or {}), "include_usage": True})
                # Most bodies don't have the key at all, and then need no scan.
                present = "stream_options" in request.document
                edit = splice.set_key if present else splice.insert_key
                body = edit(body, "stream_options", merged)
                self._hide_usage = True
        return body

    def answer(self, body: bytes) -> Answer:
        """The body as it came but for `model`."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise DomainError(
                Reason.UPSTREAM_BROKEN, f"the answer is not JSON: {error}", detail=error
            ) from None
        if not isinstance(document, dict):
            raise DomainError(Reason.UPSTREAM_BROKEN, "the answer is not an object", detail="")
        model = document.get("model")
        served = model if isinstance(model, str) else ""
        if self._answer_as is not None and served and orjson.dumps(served) != self._answer_as:
            body = splice.set_key(body, "model", self._answer_as)
        return Answer(body, self._dialect.usage(document.get("usage")), served)

    def stream(self) -> StreamCodec:
        """A reader that lets events through."""
        return SameStream(self._dialect, self._answer_as, self._hide_usage)

    def error(self, status: int, body: bytes) -> bytes:
        """As it came if it has the protocol's shape, else wrapped."""
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if isinstance(document, dict) and "error" in document:
            return body
        detail = body[:200].decode("utf-8", "replace")
        return self._dialect.error(
            DomainError(Reason.UPSTREAM_REJECTED, f"the upstream answered {status}: {detail}", status=status)
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
        stream.error = _error_text(document["error"])
        return event
    choices = document.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict):
                stream.output_chars += _delta_chars(choice)
    report = document.get("usage")
    if report:
        stream.usage = from_openai(report)
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
        stream.usage = from_openai(response["usage"])
    if kind in ("response.completed", "response.incomplete"):
        stream.finished = True
    elif kind == "response.failed":
        stream.error = _error_text(response.get("error"))
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
        stream.usage = from_anthropic(message.get("usage"))
        return stream.rename(event, data, message.get("model"), nested="message")
    elif kind == "message_delta" and isinstance(document.get("usage"), dict):
        # The first event has the input's counts, this one the output's and, lately, all of them.
        report = {
            "input_tokens": stream.usage.input_tokens,
            "cache_read_input_tokens": stream.usage.cached_input_tokens,
            "cache_creation_input_tokens": stream.usage.cache_write_tokens,
            **{key: value for key, value in document["usage"].items() if value is not None},
        }
        stream.usage = from_anthropic(report)
    elif kind == "message_stop":
        stream.finished = True
    elif kind == "error":
        stream.error = _error_text(document.get("error"))
    return event


def _error_text(error: object) -> str:
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(error)


def _invalid(field: str, expected: str, got: object) -> DomainError:
    where = f"`{field}`" if field else "the body"
    kind = "nothing" if got is None else type(got).__name__
    if isinstance(got, (str, list, dict)) and not got:
        kind = f"an empty {kind}"
    return DomainError(
        Reason.INVALID_REQUEST,
        f"{where} must be {expected}, not {kind}",
        field=field,
        expected=expected,
        got=kind,
    )


_INPUT = {
    catalog.CHAT: "messages",
    catalog.MESSAGES: "messages",
    catalog.COMPLETIONS: "prompt",
    catalog.EMBEDDINGS: "input",
    catalog.RESPONSES: "input",
}


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
