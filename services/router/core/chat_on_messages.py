"""OpenAI's chat completions in front of an upstream that speaks Anthropic's Messages API.

The other way round than `messages.MessagesCodec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from services.common.errors import DomainError, Reason
from services.router.core import catalog, wire
from services.router.core.chat_on_messages_stream import (
    THOUGHTS,
    ChatStream,
    finish_reason,
    no_place,
    refusal,
    usage_report,
)
from services.router.core.chat_to_messages import to_messages
from services.router.core.messages import arguments
from services.router.core.usage import from_anthropic

_KEPT_TYPES = frozenset(
    {"invalid_request_error", "authentication_error", "permission_error", "rate_limit_error"}
)
"""Types of errors that both APIs have."""


class ChatOnMessagesCodec:
    """Translates one request."""

    path = wire.PATHS[catalog.MESSAGES]

    def __init__(self, request: wire.Request, answer_as: str | None, created_unix_s: int) -> None:
        """Translates the request at once, so that what can't be translated is refused before a call.

        Args:
            answer_as: the `model` that the application sees; None leaves the upstream's.
            created_unix_s: when the answer is made, which a message does not say.

        Raises:
            DomainError: FEATURE_NOT_SUPPORTED or INVALID_REQUEST for what has no counterpart.
        """
        self._request = request
        self._answer_as = answer_as
        self._created_unix_s = created_unix_s
        self._asked = to_messages(request.document)

    def request(self, route: catalog.Route) -> bytes:
        """The Messages request that asks the same."""
        asked = {"model": route.model, **self._asked}
        if self._request.streamed:
            asked["stream"] = True
        return orjson.dumps(asked)

    def answer(self, body: bytes) -> wire.Answer:
        """The message as a completion."""
        return completion(body, self._answer_as, self._created_unix_s)

    def stream(self) -> wire.StreamCodec:
        """A reader that turns the events of a message into chunks."""
        options = self._request.document.get("stream_options") or {}
        return ChatStream(
            self._answer_as, self._created_unix_s, include_usage=bool(options.get("include_usage"))
        )

    def error(self, status: int, body: bytes) -> bytes:
        """The upstream's message in OpenAI's shape; `code` is what Anthropic calls it."""
        try:
            error = orjson.loads(body)["error"]
            kind, message = str(error["type"]), str(error["message"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            kind = "api_error"
            message = f"the upstream answered {status}: {body[:200].decode('utf-8', 'replace')}"
        shown = "server_error" if status >= 500 else "invalid_request_error"
        shown = kind if kind in _KEPT_TYPES else shown
        return orjson.dumps({"error": {"message": message, "type": shown, "param": None, "code": kind}})


def completion(body: bytes, answer_as: str | None, created_unix_s: int) -> wire.Answer:
    """A message as a chat completion; the arguments are those of the codec.

    Raises:
        DomainError: UPSTREAM_BROKEN if it is no message, or has a block that has no place there.
    """
    try:
        message = orjson.loads(body)
        usage = from_anthropic(message.get("usage"))
        served = str(message.get("model") or "")
        document = {
            "id": f"chatcmpl-{message.get('id', '')}",
            "object": "chat.completion",
            "created": created_unix_s,
            "model": answer_as or served,
            "choices": [_choice(message)],
        }
        report = usage_report(usage)
        if report is not None:
            document["usage"] = report
        return wire.Answer(orjson.dumps(document), usage, served)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DomainError(
            Reason.UPSTREAM_BROKEN, f"the answer is no message: {error!r}", detail=error
        ) from None


def _choice(message: Mapping[str, Any]) -> dict[str, Any]:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in message["content"]:
        kind = block["type"]
        if kind == "text":
            texts.append(block["text"])
        elif kind == "tool_use":
            function = {"name": block["name"], "arguments": arguments(block["input"])}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif kind not in THOUGHTS:
            raise no_place(kind)
    text = "".join(texts)
    said: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        said.update(content=text or None, tool_calls=calls)
    elif not text:
        said["refusal"] = refusal(message)
    return {
        "index": 0,
        "message": said,
        "logprobs": None,
        "finish_reason": finish_reason(message.get("stop_reason")),
    }
