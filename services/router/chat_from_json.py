"""The body of a chat completion as `homeward.common.v1.Chat`, and its answer as a `Message`: without loss.

The inverse of `chat_proto.to_request`. What the contract can't carry is refused rather than dropped: a leg
that asks something else than the application did would compare nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2

from services.common.deltas import joined
from services.common.errors import DomainError
from services.router.chat_proto import to_choices, to_deltas, to_request
from services.router.core import sse

REFUSAL = "refusal"
"""The `name` of a message whose text is the model's refusal."""

_ROLES = {
    "system": chat_pb2.ROLE_SYSTEM,
    "user": chat_pb2.ROLE_USER,
    "assistant": chat_pb2.ROLE_ASSISTANT,
    "tool": chat_pb2.ROLE_TOOL,
    "developer": chat_pb2.ROLE_DEVELOPER,
}
_NUMBERS = {
    "max_completion_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "n": "n",
}
"""Fields of a body, and those of SamplingParameters that carry them."""
_OWN = frozenset({"model", "messages", "tools", "tool_choice", "response_format", "stop", *_NUMBERS})
_DELIVERY = frozenset({"stream", "stream_options"})
"""Fields that say how the answer travels, not what it is."""
_UNREAD = ("functions", "function_call", "audio", "web_search_options")
"""Fields whose answers have parts that no Message has."""
_ALWAYS_THERE = frozenset({"annotations", "tool_calls"})
"""Lists that OpenAI puts into answers even if they are empty; applications send them back."""

_ODD = (AttributeError, DecodeError, DomainError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a document raises that is not of the form that is read."""


class LossyError(Exception):
    """What was to be carried can't be carried without loss; the message says what."""


def to_chat(document: Mapping[str, Any]) -> chat_pb2.Chat:
    """The chat that asks what a body asks, whether streamed or not.

    `max_tokens` travels among the extra fields, so that servers which know only that name find it.

    Raises:
        LossyError: a leg that asks with the chat would ask something else.
    """
    wanted = normalised(document)
    for name in _UNREAD:
        if name in wanted:
            raise LossyError(f"`{name}`")
    try:
        chat = _chat(wanted)
        # Nested too deeply, the bytes of a Struct can be written and not be read.
        carried = router_pb2.CompleteRequest.FromString(
            router_pb2.CompleteRequest(chat=chat).SerializeToString()
        )
        arrived = to_request(carried.chat, streamed=False).document
    except _ODD as error:
        raise LossyError(f"{type(error).__name__}: {error}") from None
    if not same(arrived, wanted):
        changed = sorted(key for key in {*arrived, *wanted} if not same(arrived.get(key), wanted.get(key)))
        raise LossyError(f"`{changed[0] if changed else ''}`")
    return chat


def to_message(answer: bytes, *, streamed: bool) -> chat_pb2.Message:
    """The first choice of an answer. A refusal is its text, under the name REFUSAL.

    Args:
        answer: the body, or all events of the stream.

    Raises:
        LossyError: it is no such answer, or has parts that a message does not have.
    """
    try:
        message = _of_stream(answer) if streamed else _of_body(answer)
        return chat_pb2.Message.FromString(message.SerializeToString())
    except _ODD as error:
        raise LossyError(f"{type(error).__name__}: {error}") from None


def normalised(document: Mapping[str, Any]) -> dict[str, Any]:
    """The body in the words of those that mean the same: no nulls, no delivery, lists for single words."""
    wanted = {
        key: value
        for key, value in document.items()
        if key not in _DELIVERY and not (value is None and (key in _OWN or key in _UNREAD))
    }
    wanted["messages"] = [_plain_message(message) for message in document["messages"]]
    if isinstance(wanted.get("stop"), str):
        wanted["stop"] = [wanted["stop"]]
    if isinstance(wanted.get("tools"), list):
        wanted["tools"] = [_plain_tool(tool) for tool in wanted["tools"]]
    form = wanted.get("response_format")
    if form == {"type": "text"}:
        del wanted["response_format"]
    elif isinstance(form, dict) and isinstance(form.get("json_schema"), dict):
        wanted["response_format"] = {**form, "json_schema": _without_nulls(form["json_schema"])}
    return wanted


def same(one: object, other: object) -> bool:
    """True if two JSON values mean the same: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def _plain_message(message: Mapping[str, Any]) -> dict[str, Any]:
    plain = {
        key: value
        for key, value in message.items()
        if value is not None and not (key in _ALWAYS_THERE and value == [])
    }
    content = plain.get("content")
    if content is None and plain.get("tool_calls"):
        plain["content"] = None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        (part,) = content
        if part.keys() == {"type", "text"} and part["type"] == "text":
            plain["content"] = part["text"]
    return plain


def _plain_tool(tool: object) -> object:
    if not isinstance(tool, dict) or not isinstance(tool.get("function"), dict):
        return tool
    # A function without parameters has an empty list of them.
    return {**tool, "function": {"parameters": {}, **_without_nulls(tool["function"])}}


def _without_nulls(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}


def _chat(wanted: Mapping[str, Any]) -> chat_pb2.Chat:
    chat = chat_pb2.Chat(
        model=wanted["model"],
        messages=[_message(message) for message in wanted["messages"]],
        tools=[_tool(tool["function"]) for tool in wanted.get("tools", ())],
        tool_choice=_tool_choice(wanted.get("tool_choice", "")),
    )
    numbers = {ours: wanted[theirs] for theirs, ours in _NUMBERS.items() if theirs in wanted}
    if numbers or "stop" in wanted:
        chat.sampling.CopyFrom(chat_pb2.SamplingParameters(stop=wanted.get("stop", ()), **numbers))
    if "response_format" in wanted:
        chat.response_format.CopyFrom(_response_format(wanted["response_format"]))
    extra = {key: value for key, value in wanted.items() if key not in _OWN}
    if extra:
        chat.extra_fields.CopyFrom(_struct(extra))
    return chat


def _message(message: Mapping[str, Any]) -> chat_pb2.Message:
    return chat_pb2.Message(
        role=_ROLES[message["role"]],
        content=_parts(message.get("content")),
        tool_calls=[
            chat_pb2.ToolCall(
                id=call["id"], name=call["function"]["name"], arguments_json=call["function"]["arguments"]
            )
            for call in message.get("tool_calls", ())
        ],
        tool_call_id=message.get("tool_call_id", ""),
        name=message.get("name", ""),
    )


def _parts(content: object) -> Iterable[chat_pb2.ContentPart]:
    if isinstance(content, str):
        return [chat_pb2.ContentPart(text=content)]
    if not isinstance(content, list):
        return ()
    return [
        chat_pb2.ContentPart(text=part["text"])
        if part["type"] == "text"
        else chat_pb2.ContentPart(image_url=part["image_url"]["url"])
        for part in content
    ]


def _tool(function: Mapping[str, Any]) -> chat_pb2.Tool:
    return chat_pb2.Tool(
        name=function["name"],
        description=function.get("description", ""),
        # Both: routers of the version before read only the Struct.
        parameters=_struct(function["parameters"]),
        parameters_json=orjson.dumps(function["parameters"]).decode(),
        strict=function.get("strict"),
    )


def _tool_choice(choice: Any) -> str:
    name = choice if isinstance(choice, str) else choice["function"]["name"]
    return str(name)


def _response_format(form: Mapping[str, Any]) -> chat_pb2.ResponseFormat:
    if form["type"] == "json_object":
        return chat_pb2.ResponseFormat(json_object=True)
    named = form["json_schema"]
    return chat_pb2.ResponseFormat(
        json_schema=chat_pb2.JsonSchema(
            name=named["name"],
            schema=_struct(named["schema"]),
            schema_json=orjson.dumps(named["schema"]).decode(),
            strict=named.get("strict"),
        )
    )


def _struct(document: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(document)
    return struct


def _of_body(body: bytes) -> chat_pb2.Message:
    completion = orjson.loads(body)
    for choice in completion.get("choices") or ():
        _check_read(choice.get("message"))
    first = next((choice for choice in to_choices(completion) if choice.index == 0), None)
    if first is None:
        raise LossyError("no choice")
    return _answered(first)


def _of_stream(events: bytes) -> chat_pb2.Message:
    deltas: list[router_pb2.Delta] = []
    for event in sse.Splitter().feed(events):
        data = sse.payload(event)
        if not data or data == sse.DONE:
            continue
        chunk = orjson.loads(data)
        for choice in chunk.get("choices") or ():
            _check_read(choice.get("delta"))
        deltas += to_deltas(chunk)
    return _answered(joined(deltas) or router_pb2.Choice())


def _check_read(said: object) -> None:
    # Half of an answer would be compared with a whole one.
    for name in ("function_call", "audio"):
        if isinstance(said, dict) and said.get(name) is not None:
            raise LossyError(f"the answer's `{name}`")


def _answered(choice: router_pb2.Choice) -> chat_pb2.Message:
    text, calls = "".join(part.text for part in choice.message.content), choice.message.tool_calls
    refused = bool(choice.refusal) and not text and not calls
    said = choice.refusal if refused else text
    return chat_pb2.Message(
        role=chat_pb2.ROLE_ASSISTANT,
        content=[chat_pb2.ContentPart(text=said)] if said else (),
        tool_calls=calls,
        name=REFUSAL if refused else "",
    )
