"""`homeward.common.v1.Chat` as a chat completion and back: what the gRPC door adds to the common path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import orjson
from google.protobuf import json_format, struct_pb2
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2

from services.common.errors import DomainError, Reason, invalid_request
from services.router.core import catalog, wire

T = TypeVar("T")

MAX_PARTS = 100_000
"""Messages, parts, tool calls and values of Structs in a chat, together: far more than a conversation has.
Each is made anew in Python, which takes ten microseconds or so in which no other request goes on."""
MAX_TOOLS = 128
"""As OpenAI's API has it."""

_ROLES = {
    chat_pb2.ROLE_SYSTEM: "system",
    chat_pb2.ROLE_USER: "user",
    chat_pb2.ROLE_ASSISTANT: "assistant",
    chat_pb2.ROLE_TOOL: "tool",
    chat_pb2.ROLE_DEVELOPER: "developer",
}
_FINISH = {
    "stop": chat_pb2.FINISH_REASON_STOP,
    "length": chat_pb2.FINISH_REASON_LENGTH,
    "tool_calls": chat_pb2.FINISH_REASON_TOOL_CALLS,
    "function_call": chat_pb2.FINISH_REASON_TOOL_CALLS,
    "content_filter": chat_pb2.FINISH_REASON_CONTENT_FILTER,
}
_OWN_FIELDS = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "response_format",
        "stream",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "frequency_penalty",
        "presence_penalty",
        "n",
    }
)


def to_request(chat: chat_pb2.Chat, *, streamed: bool) -> wire.Request:
    """The chat as the body of a chat completion.

    Raises:
        DomainError: INVALID_REQUEST for what breaks the constraints in `chat.proto`.
    """
    if not chat.model:
        raise invalid_request("chat.model", "the name of a model", "nothing")
    if not chat.messages:
        raise invalid_request("chat.messages", "at least one message", "none")
    if len(chat.tools) > MAX_TOOLS:
        raise invalid_request("chat.tools", f"at most {MAX_TOOLS}", str(len(chat.tools)))
    if _too_many_parts(chat):
        raise invalid_request("chat", f"at most {MAX_PARTS} messages, parts, calls and values", "more")
    texts = [chat.response_format.json_schema.schema_json, *(tool.parameters_json for tool in chat.tools)]
    # Together: a text that is not JSON is refused before the next is parsed.
    if wire.too_many_values(",".join(texts).encode()):
        raise invalid_request("chat", f"at most {wire.MAX_VALUES} values in all its schemas", "more")
    document: dict[str, Any] = {
        "model": chat.model,
        "messages": [_message(item, f"chat.messages[{i}]") for i, item in enumerate(chat.messages)],
    }
    document.update(_sampling(chat.sampling))
    if chat.tools:
        document["tools"] = [_tool(tool, f"chat.tools[{i}]") for i, tool in enumerate(chat.tools)]
    if chat.tool_choice:
        document["tool_choice"] = (
            chat.tool_choice
            if chat.tool_choice in ("auto", "none", "required")
            else {"type": "function", "function": {"name": chat.tool_choice}}
        )
    if chat.HasField("response_format"):
        document["response_format"] = _response_format(chat.response_format)
    extra = _plain(chat.extra_fields, "chat.extra_fields")
    repeated = sorted(_OWN_FIELDS & extra.keys())
    if repeated:
        raise invalid_request(f"chat.extra_fields.{repeated[0]}", "a field that Chat does not have", "it")
    if not isinstance(extra.get("stream_options", {}), dict):
        raise invalid_request("chat.extra_fields.stream_options", "an object", "another")
    document.update(extra)
    if streamed:
        document["stream"] = True
    body = orjson.dumps(document)
    return wire.Request(
        api=catalog.CHAT,
        body=body,
        document=document,
        model=chat.model,
        streamed=streamed,
        input_chars=len(body),
    )


def to_choices(completion: Mapping[str, Any]) -> Iterable[router_pb2.Choice]:
    """The choices of a chat completion.

    Raises:
        DomainError: UPSTREAM_BROKEN if they have not the form of such.
    """
    return _read(_choices, completion)


def _read(read: Callable[[Mapping[str, Any]], Iterable[T]], document: Mapping[str, Any]) -> list[T]:
    try:
        return list(read(document))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DomainError(
            Reason.UPSTREAM_BROKEN, f"the answer is no chat completion: {error!r}", detail=repr(error)
        ) from None


def _choices(completion: Mapping[str, Any]) -> Iterable[router_pb2.Choice]:
    for choice in completion.get("choices") or ():
        message = choice.get("message") or {}
        text = message.get("content")
        yield router_pb2.Choice(
            index=choice.get("index", 0),
            message=chat_pb2.Message(
                role=chat_pb2.ROLE_ASSISTANT,
                content=[chat_pb2.ContentPart(text=text)] if text else (),
                tool_calls=[
                    chat_pb2.ToolCall(
                        id=call.get("id", ""),
                        name=call["function"].get("name", ""),
                        arguments_json=call["function"].get("arguments", ""),
                    )
                    for call in message.get("tool_calls") or ()
                    if isinstance(call.get("function"), dict)
                ],
            ),
            finish_reason=_FINISH.get(choice.get("finish_reason"), chat_pb2.FINISH_REASON_UNSPECIFIED),
            refusal=message.get("refusal") or "",
        )


def to_deltas(chunk: Mapping[str, Any]) -> Iterable[router_pb2.Delta]:
    """The pieces in one chunk of a streamed chat completion. Raises as `to_choices` does."""
    return _read(_deltas, chunk)


def _deltas(chunk: Mapping[str, Any]) -> Iterable[router_pb2.Delta]:
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        calls = [
            router_pb2.ToolCallDelta(
                index=call.get("index", 0),
                id=call.get("id") or "",
                name=(call.get("function") or {}).get("name") or "",
                arguments_json=(call.get("function") or {}).get("arguments") or "",
            )
            for call in delta.get("tool_calls") or ()
        ]
        piece = router_pb2.Delta(
            choice_index=choice.get("index", 0),
            text=delta.get("content") or "",
            tool_calls=calls,
            finish_reason=_FINISH.get(choice.get("finish_reason"), chat_pb2.FINISH_REASON_UNSPECIFIED),
            refusal=delta.get("refusal") or "",
        )
        if piece.text or calls or piece.finish_reason or piece.refusal:
            yield piece


def _too_many_parts(chat: chat_pb2.Chat) -> bool:
    parts = len(chat.messages)
    if parts <= MAX_PARTS:
        parts += sum(len(message.content) + len(message.tool_calls) for message in chat.messages)
    left: list[struct_pb2.Struct | struct_pb2.ListValue] = [
        chat.extra_fields,
        chat.response_format.json_schema.schema,
        *(tool.parameters for tool in chat.tools),
    ]
    while left and parts <= MAX_PARTS:
        holder = left.pop()
        values = holder.values if isinstance(holder, struct_pb2.ListValue) else holder.fields.values()
        parts += len(values)
        if parts <= MAX_PARTS:
            for value in values:
                if value.HasField("struct_value"):
                    left.append(value.struct_value)
                elif value.HasField("list_value"):
                    left.append(value.list_value)
    return parts > MAX_PARTS


def _message(message: chat_pb2.Message, where: str) -> dict[str, Any]:
    role = _ROLES.get(message.role)
    if role is None:
        known = message.role in chat_pb2.Role.values()
        got = chat_pb2.Role.Name(message.role) if known else str(message.role)
        raise invalid_request(f"{where}.role", "a role", got)
    if message.role == chat_pb2.ROLE_TOOL and not message.tool_call_id:
        raise invalid_request(f"{where}.tool_call_id", "the id of the call that it answers", "nothing")
    document: dict[str, Any] = {"role": role, "content": _content(message, where)}
    if message.tool_calls:
        document["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        document["tool_call_id"] = message.tool_call_id
    if message.name:
        document["name"] = message.name
    return document


def _content(message: chat_pb2.Message, where: str) -> object:
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(message.content):
        kind = part.WhichOneof("part")
        if kind == "text":
            parts.append({"type": "text", "text": part.text})
        elif kind == "image_url":
            if not part.image_url.startswith(("https:", "data:")):
                raise invalid_request(f"{where}.content[{index}]", "an https: or data: URL", "another")
            parts.append({"type": "image_url", "image_url": {"url": part.image_url}})
        else:
            raise invalid_request(f"{where}.content[{index}]", "text or image_url", "neither")
    if not parts:
        return None if message.tool_calls else ""
    # Many servers take only text where a plain string would do.
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _sampling(sampling: chat_pb2.SamplingParameters) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for field, name, low, high in (
        ("max_tokens", "max_completion_tokens", 1, 2**31),
        ("temperature", "temperature", 0, 2),
        ("top_p", "top_p", 0, 1),
        ("seed", "seed", None, None),
        ("frequency_penalty", "frequency_penalty", -2, 2),
        ("presence_penalty", "presence_penalty", -2, 2),
        ("n", "n", 1, 16),
    ):
        if not sampling.HasField(field):  # type: ignore[arg-type]  # the names are in the table
            continue
        value = getattr(sampling, field)
        if low is not None and not low <= value <= high:
            raise invalid_request(f"chat.sampling.{field}", f"{low} to {high}", str(value))
        if field == "top_p" and value == 0:
            raise invalid_request("chat.sampling.top_p", "above 0", "0")
        document[name] = value
    if len(sampling.stop) > 4:
        raise invalid_request("chat.sampling.stop", "at most 4 strings", str(len(sampling.stop)))
    if sampling.stop:
        document["stop"] = list(sampling.stop)
    return document


def _tool(tool: chat_pb2.Tool, where: str) -> dict[str, Any]:
    _check_name(tool.name, where)
    function: dict[str, Any] = {
        "name": tool.name,
        "parameters": _schema(tool.parameters, tool.parameters_json, f"{where}.parameters"),
    }
    if tool.description:
        function["description"] = tool.description
    if tool.HasField("strict"):
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _response_format(form: chat_pb2.ResponseFormat) -> dict[str, Any]:
    if form.WhichOneof("format") == "json_object":
        if not form.json_object:
            raise invalid_request("chat.response_format.json_object", "true", "false")
        return {"type": "json_object"}
    if form.WhichOneof("format") != "json_schema":
        raise invalid_request("chat.response_format.format", "json_object or json_schema", "neither")
    _check_name(form.json_schema.name or "answer", "chat.response_format.json_schema")
    named = form.json_schema
    schema: dict[str, Any] = {
        "name": named.name or "answer",
        "schema": _schema(named.schema, named.schema_json, "chat.response_format.json_schema.schema"),
    }
    if named.HasField("strict"):
        schema["strict"] = named.strict
    return {"type": "json_schema", "json_schema": schema}


def _check_name(name: str, where: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        raise invalid_request(f"{where}.name", "1 to 64 letters, digits, _ and -", repr(name))


def _schema(struct: struct_pb2.Struct, text: str, where: str) -> dict[str, Any]:
    if not text:
        return _plain(struct, where)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or wire.deeper_than(document, wire.MAX_DEPTH):
        raise invalid_request(
            f"{where}_json", f"a JSON object of at most {wire.MAX_DEPTH} levels", "other text"
        )
    return document


def _plain(struct: struct_pb2.Struct, where: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json_format.MessageToDict(struct)
    except ValueError:
        raise invalid_request(where, "finite numbers", "NaN or infinity") from None
    return {key: _whole(value) for key, value in document.items()}


def _whole(value: Any) -> Any:
    # A Struct has only doubles; JSON schemas and servers want 5, not 5.0.
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value
