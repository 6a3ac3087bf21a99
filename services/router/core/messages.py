"""Anthropic's Messages API in front of an upstream that speaks OpenAI's chat completions.

Used when no upstream of the model speaks the Messages API itself. What has no counterpart is refused by
name rather than dropped: an application must not believe in a setting that nobody follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from services.common.errors import DomainError, Reason
from services.router.core import catalog, wire
from services.router.core.messages_stream import MessagesStream, stop_reason, usage_report
from services.router.core.usage import from_openai

INVALID_JSON = "_invalid_json"
"""The only argument of a call whose arguments a model did not write as JSON: what it wrote."""
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_TYPES: dict[str, type] = {"tools": list, "output_config": dict, "output_format": dict}
_TRANSLATED = frozenset(
    {
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_p",
        # Has no effect, and none is missed: it says what may be cached, not what must.
        "cache_control",
    }
)
"""All that is not here is refused, so that what Anthropic adds tomorrow is too."""


class MessagesCodec:
    """Translates one request."""

    path = wire.PATHS[catalog.CHAT]

    def __init__(self, request: wire.Request, answer_as: str | None) -> None:
        """Translates the request at once, so that what can't be translated is refused before a call.

        Raises:
            DomainError: INVALID_REQUEST for what has no counterpart.
        """
        self._request = request
        self._answer_as = answer_as
        self._chat = to_chat(request.document)

    def request(self, route: catalog.Route) -> bytes:
        """The chat completion that asks the same."""
        chat = {**self._chat, "model": route.model}
        if "max_tokens" in chat and route.upstream.provider == "openai":
            # OpenAI's reasoning models refuse the older name, which other servers still expect.
            chat["max_completion_tokens"] = chat.pop("max_tokens")
        if self._request.streamed:
            chat["stream"] = True
            if route.upstream.stream_usage:
                chat["stream_options"] = {"include_usage": True}
        return orjson.dumps(chat)

    def answer(self, body: bytes) -> wire.Answer:
        """The completion as a message."""
        try:
            completion = orjson.loads(body)
            choice = completion["choices"][0]
            message = choice["message"]
            content = list(_blocks(message))
            calls = any(block["type"] == "tool_use" for block in content)
            reason = stop_reason(choice.get("finish_reason"), calls=calls)
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise DomainError(
                Reason.UPSTREAM_BROKEN, f"the answer is no chat completion: {error!r}", detail=error
            ) from None
        usage = from_openai(completion.get("usage"))
        model = completion.get("model")
        served = model if isinstance(model, str) else ""
        document = {
            "id": f"msg_{completion.get('id', '')}",
            "type": "message",
            "role": "assistant",
            "model": self._answer_as or served,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage_report(usage),
        }
        return wire.Answer(orjson.dumps(document), usage, served)

    def stream(self) -> wire.StreamCodec:
        """A reader that turns chunks into the events of a message."""
        return MessagesStream(self._answer_as)

    def error(self, status: int, body: bytes) -> bytes:
        """The upstream's message in Anthropic's shape."""
        try:
            message = orjson.loads(body)["error"]["message"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            message = f"the upstream answered {status}: {body[:200].decode('utf-8', 'replace')}"
        kinds = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return orjson.dumps({"type": "error", "error": {"type": kind, "message": str(message)}})


def to_chat(document: Mapping[str, Any], *, blocks: bool = False) -> dict[str, Any]:
    """The fields of a chat completion that asks what a Messages request asks, but for the model.

    Args:
        blocks: whether several blocks of text stay several. Without, they are one text of several lines:
            many servers take only that.

    Raises:
        DomainError: INVALID_REQUEST.
    """
    for field, value in document.items():
        harmless = value is None or (field == "service_tier" and value == "auto")
        if field not in _TRANSLATED and not harmless:
            raise _refused(field)
    thinking = document.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") not in (None, "disabled"):
        raise _refused("thinking")
    messages: list[dict[str, Any]] = []
    system = _text(document.get("system"), blocks)
    if system:
        messages.append({"role": "system", "content": system})
    for index, message in enumerate(document["messages"]):
        messages += _turn(message, f"messages[{index}]", blocks)
    chat: dict[str, Any] = {"messages": messages}
    for theirs, ours in (
        ("max_tokens", "max_tokens"),
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("stop_sequences", "stop"),
    ):
        if document.get(theirs) not in (None, []):
            chat[ours] = document[theirs]
    metadata = document.get("metadata")
    if isinstance(metadata, dict) and metadata.get("user_id"):
        chat["user"] = metadata["user_id"]
    for field, kind in _TYPES.items():
        if not isinstance(document.get(field), (kind, type(None))):
            raise _refused(field, f"a {type(document[field]).__name__}")
    if document.get("tools"):
        chat["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(document["tools"])]
    choice = document.get("tool_choice")
    if isinstance(choice, dict):
        if choice.get("type") == "tool":
            chat["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
        elif isinstance(choice.get("type"), str) and choice["type"] in _TOOL_CHOICES:
            chat["tool_choice"] = _TOOL_CHOICES[choice["type"]]
        else:
            raise _refused("tool_choice", f"the type {choice.get('type')!r}")
        if choice.get("disable_parallel_tool_use"):
            chat["parallel_tool_calls"] = False
    form = (document.get("output_config") or {}).get("format") or document.get("output_format")
    if (document.get("output_config") or {}).get("effort") is not None:
        raise _refused("output_config.effort")
    if form and not isinstance(form, dict):
        raise _refused("output_config.format", f"a {type(form).__name__}")
    if form:
        schema = {"name": "answer", "schema": form.get("schema"), "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return chat


def _text(said: object, blocks: bool) -> str | list[dict[str, Any]]:
    """The text of a string or of blocks; several blocks as parts if they are to stay several."""
    if blocks and isinstance(said, list) and len(said) > 1:
        return [{"type": "text", "text": wire.text_of([block])} for block in said]
    return wire.text_of(said)


def _turn(message: Mapping[str, Any], where: str, blocks: bool) -> list[dict[str, Any]]:
    role, content = message["role"], message.get("content")
    if isinstance(content, str) or content is None:
        return [{"role": role, "content": content or ""}]
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for index, block in enumerate(content):
        place = f"{where}.content[{index}]"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            if not isinstance(block.get("text", ""), str):
                raise _refused(place, "text that is none")
            parts.append({"type": "text", "text": block.get("text", "")})
        elif kind == "image":
            parts.append({"type": "image_url", "image_url": {"url": _image_url(block, place)}})
        elif kind == "tool_use":
            function = {"name": block.get("name", ""), "arguments": arguments(block.get("input", {}))}
            calls.append({"id": block.get("id", ""), "type": "function", "function": function})
        elif kind == "tool_result":
            said = block.get("content")
            if isinstance(said, list) and any(
                not isinstance(part, dict) or part.get("type") != "text" for part in said
            ):
                raise _refused(place, "a tool's result that is not text")
            text = _text(said, blocks and not block.get("is_error"))
            if block.get("is_error"):
                text = f"error: {text}"
            results.append({"role": "tool", "tool_call_id": block.get("tool_use_id", ""), "content": text})
        elif kind in ("thinking", "redacted_thinking"):
            continue
        else:
            raise _refused(place, f"a content block of type {kind!r}")
    turn: dict[str, Any] = {"role": role}
    if all(part["type"] == "text" for part in parts) and not (blocks and len(parts) > 1):
        turn["content"] = "\n".join(part["text"] for part in parts) if parts else None
    else:
        turn["content"] = parts
    if calls:
        turn["tool_calls"] = calls
    # Chat completions want tool results first, each a turn of its own.
    return results + ([turn] if parts or calls else [])


def _image_url(block: Mapping[str, Any], where: str) -> str:
    source = block.get("source")
    if isinstance(source, dict):
        if source.get("type") == "url":
            return str(source.get("url"))
        if source.get("type") == "base64":
            return f"data:{source.get('media_type')};base64,{source.get('data')}"
    raise _refused(where, "this image source")


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type") not in (None, "custom"):
        raise _refused(where, "a tool that the model's server runs itself")
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {}}
    if tool.get("description"):
        function["description"] = tool["description"]
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _blocks(message: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    text = message.get("content") or message.get("refusal")
    if text:
        yield {"type": "text", "text": text}
    for call in message.get("tool_calls") or ():
        function = call["function"]
        given = arguments_of(function.get("arguments"))
        yield {"type": "tool_use", "id": call.get("id", ""), "name": function["name"], "input": given}


def arguments_of(text: str | None) -> dict[str, Any]:
    """The arguments of a call as an object; what a model wrote that is none, or can't be written again, is
    under INVALID_JSON."""
    try:
        # Some servers write no arguments as no text.
        given = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or wire.deeper_than(given, wire.MAX_DEPTH):
        return {INVALID_JSON: text}
    return given


def arguments(given: object) -> str:
    """The arguments of a call as a model writes them: the inverse of `arguments_of`."""
    if isinstance(given, dict) and given.keys() == {INVALID_JSON}:
        return str(given[INVALID_JSON])
    return orjson.dumps(given).decode()


def _refused(field: str, what: str = "this field") -> DomainError:
    return DomainError(
        Reason.INVALID_REQUEST,
        f"`{field}`: {what} can't be translated for a server that speaks chat completions;"
        ' leave it out, or configure an upstream with protocol = "anthropic"',
        field=field,
        expected="what chat completions can say",
        got=what,
    )
