"""The body of a chat completion as that of a Messages request that asks the same.

The other way round than `messages.to_chat`, which `messages_sample` relies on: what a Messages request has
become as a chat becomes the same Messages request again. What has no counterpart is refused by name rather
than dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from services.common.errors import DomainError, Reason, invalid_request
from services.router.core.bounds import ANSWER_TOKENS
from services.router.core.messages import arguments_of
from services.router.core.unread import refuse_unread

DEFAULT_MAX_TOKENS = ANSWER_TOKENS
"""`max_tokens` of a request that names none, since the Messages API demands one: what a budget sets aside for
such a request, and less than every Claude model can give (32,000 tokens or more)."""
MAX_TEMPERATURE = 1
"""Anthropic's temperatures end here; OpenAI's at 2."""

_TRANSLATED = frozenset(
    {
        *("max_completion_tokens", "max_tokens", "messages", "model", "parallel_tool_calls"),
        *("response_format", "safety_identifier", "stop", "stream", "stream_options", "temperature"),
        *("tool_choice", "tools", "top_p", "user"),
    }
)
_HARMLESS = frozenset({"metadata", "store", "service_tier", "prompt_cache_key", "prompt_cache_retention"})
"""Says something to OpenAI, and nothing of the answer."""
_REFUSED = {
    "n": (1, "more than one answer a call"),
    "logprobs": (False, "probabilities of tokens"),
    "top_logprobs": (0, "probabilities of tokens"),
    "logit_bias": ({}, "a bias on tokens"),
    "frequency_penalty": (0, "penalties"),
    "presence_penalty": (0, "penalties"),
    "seed": (None, "a draw that can be repeated"),
    "modalities": (["text"], "anything but text"),
    "functions": ([], "function calls of the old form; use tools"),
}
"""Field: (the value that asks for nothing, what any other asks for)."""
_TOOL_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_OF_MESSAGES = {
    "system": frozenset({"role", "content"}),
    "developer": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "refusal", "tool_calls"}),
    # The name of a tool's message is that of the tool, which the call says.
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
"""The fields of a message that are read, by its role."""
_DATA_URL = re.compile(r"data:(?P<type>[^;,]+);base64,(?P<data>.*)", re.DOTALL)


def to_messages(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Messages request that asks what a chat completion asks, but for the model and whether
    it is streamed.

    Raises:
        DomainError: FEATURE_NOT_SUPPORTED for what has no counterpart, INVALID_REQUEST.
    """
    refuse_unread(document, _TRANSLATED, _HARMLESS, _REFUSED, unable)
    system, turns = _turns(document["messages"])
    asked: dict[str, Any] = {"messages": turns, "max_tokens": _max_tokens(document)}
    if system:
        asked["system"] = system[0]["text"] if len(system) == 1 and _is_plain(system[0]) else system
    asked.update(_sampling(document))
    user = document.get("user") or document.get("safety_identifier")
    if user:
        asked["metadata"] = {"user_id": user}
    tools = _list(document, "tools")
    if tools:
        asked["tools"] = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]
    choice = _tool_choice(document, bool(tools))
    if choice is not None:
        asked["tool_choice"] = choice
    form = _format(document.get("response_format"))
    if form is not None:
        asked["output_config"] = {"format": form}
    return asked


def unable(field: str, what: str) -> DomainError:
    """The FEATURE_NOT_SUPPORTED of a field; another upstream may serve the request."""
    return DomainError(
        Reason.FEATURE_NOT_SUPPORTED,
        f"`{field}`: {what} can't be translated for a server that speaks Anthropic's Messages API; leave it"
        " out, or ask a model whose server speaks chat completions",
        field=field,
        feature=what,
    )


def _max_tokens(document: Mapping[str, Any]) -> Any:
    for field in ("max_completion_tokens", "max_tokens"):
        if document.get(field) is not None:
            return document[field]
    return DEFAULT_MAX_TOKENS


def _sampling(document: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    temperature = document.get("temperature")
    if temperature is not None:
        if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
            raise invalid_request("temperature", "a number", type(temperature).__name__)
        if temperature > MAX_TEMPERATURE:
            raise unable("temperature", f"a temperature above {MAX_TEMPERATURE}")
        said["temperature"] = temperature
    if document.get("top_p") is not None:
        said["top_p"] = document["top_p"]
    stop = document.get("stop")
    if stop:
        said["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    return said


def _turns(messages: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The blocks of the system prompt, and the turns."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    # Results of tools, and what the user says with them, are one turn of the user's.
    results: list[dict[str, Any]] | None = None
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role, content = message["role"], message.get("content")
        _check_fields(message, where)
        if role == "tool":
            if results is None:
                results = []
                turns.append({"role": "user", "content": results})
            results.append(_result(message, where))
            continue
        if role in ("system", "developer"):
            blocks = _blocks(content, f"{where}.content", images=False)
            if turns:
                # In its place, which Anthropic's newer models take.
                turns.append({"role": "system", "content": _plain(blocks)})
            else:
                system += blocks
        elif role == "user":
            blocks = _blocks(content, f"{where}.content", images=True)
            if results is None:
                turns.append({"role": "user", "content": _plain(blocks)})
            else:
                results += blocks
        else:
            turns.append({"role": "assistant", "content": _said(message, where)})
        results = None
    return system, turns


def _check_fields(message: Mapping[str, Any], where: str) -> None:
    role = message["role"]
    read = _OF_MESSAGES.get(role)
    if read is None:
        if role == "function":
            raise unable(f"{where}.role", "function calls of the old form; use tools")
        raise invalid_request(f"{where}.role", " or ".join(_OF_MESSAGES), repr(role)[:40])
    for field, value in message.items():
        # OpenAI's SDK sends back all fields of an answer, those that are empty too.
        if field not in read and value not in (None, []):
            raise unable(f"{where}.{field[:80]}", "this")


def _said(message: Mapping[str, Any], where: str) -> str | list[dict[str, Any]]:
    """What an assistant's turn says and calls."""
    content = message.get("content")
    if content is None:
        content = message.get("refusal")
        if not isinstance(content, (str, type(None))):
            raise invalid_request(f"{where}.refusal", "text", type(content).__name__)
    blocks = _blocks(content, f"{where}.content", images=False)
    calls = _list(message, "tool_calls", where)
    if not calls:
        return _plain(blocks)
    # The Messages API takes no empty text.
    said = [block for block in blocks if block["text"]]
    return said + [_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]


def _result(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str) or not call_id:
        raise invalid_request(f"{where}.tool_call_id", "the id of the call that it answers", call_id)
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call_id}
    content = _plain(_blocks(message.get("content"), f"{where}.content", images=False))
    if content:
        result["content"] = content
    return result


def _blocks(content: object, where: str, *, images: bool) -> list[dict[str, Any]]:
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content or ""}]
    parts = content if isinstance(content, list) else ()
    return [_block(part, f"{where}[{index}]", images) for index, part in enumerate(parts)]


def _plain(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A single text as a string, as most write it."""
    return str(blocks[0]["text"]) if len(blocks) == 1 and _is_plain(blocks[0]) else blocks


def _is_plain(block: Mapping[str, Any]) -> bool:
    return block.keys() == {"type", "text"}


def _block(part: object, where: str, images: bool) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise invalid_request(f"{where}.type", "the type of a part", type(kind).__name__)
    if kind in ("text", "refusal"):
        block = {"type": "text", "text": part.get(kind)}
        if not isinstance(block["text"], str):
            raise invalid_request(f"{where}.{kind}", "text", type(block["text"]).__name__)
    elif kind == "image_url" and images:
        block = {"type": "image", "source": _source(part.get("image_url"), where)}
    else:
        raise unable(where, f"a part of type {kind[:40]!r} here")
    for field, value in part.items():
        # Anthropic's own mark, which gateways take in chats too.
        if field == "cache_control" and value is not None:
            block[field] = value
        elif field not in ("type", kind) and value is not None:
            raise unable(f"{where}.{field[:80]}", "this")
    return block


def _source(image: object, where: str) -> dict[str, Any]:
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(url, str):
        raise invalid_request(f"{where}.image_url.url", "an https: or data: URL", type(url).__name__)
    for field, value in image.items():
        if field != "url" and not (value is None or (field == "detail" and value == "auto")):
            raise unable(f"{where}.image_url.{field[:80]}", "this")
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    read = _DATA_URL.fullmatch(url)
    if read is None:
        raise unable(f"{where}.image_url.url", "a data: URL that is not in base64")
    return {"type": "base64", "media_type": read["type"], "data": read["data"]}


def _call(call: object, where: str) -> dict[str, Any]:
    function = _function(call, where)
    text = function.get("arguments")
    if not isinstance(text, (str, type(None))):
        raise invalid_request(f"{where}.function.arguments", "JSON, as text", type(text).__name__)
    assert isinstance(call, dict)
    # What a model wrote must not end its conversation.
    given = arguments_of(text)
    return {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": given}


def _tool(tool: object, where: str) -> dict[str, Any]:
    function = _function(tool, where)
    for field in function.keys() - {"name", "description", "parameters", "strict"}:
        if function[field] is not None:
            raise unable(f"{where}.function.{field[:80]}", "this")
    translated = {
        "name": function.get("name"),
        # The Messages API demands a schema; a function without parameters has an empty one.
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    for field in ("description", "strict"):
        if function.get(field) is not None:
            translated[field] = function[field]
    assert isinstance(tool, dict)
    if tool.get("cache_control") is not None:
        translated["cache_control"] = tool["cache_control"]
    return translated


def _function(holder: object, where: str) -> dict[str, Any]:
    kind = holder.get("type", "function") if isinstance(holder, dict) else None
    if isinstance(kind, str) and kind != "function":
        raise unable(where, f"a tool of type {kind[:40]!r}")
    function = holder.get("function") if isinstance(holder, dict) else None
    if not isinstance(function, dict):
        raise invalid_request(f"{where}.function", "a function", type(function).__name__)
    return function


def _tool_choice(document: Mapping[str, Any], tools: bool) -> dict[str, Any] | None:
    choice = document.get("tool_choice")
    said: dict[str, Any] | None = None
    if isinstance(choice, str) and choice in _TOOL_CHOICES:
        said = {"type": _TOOL_CHOICES[choice]}
    elif isinstance(choice, dict) and choice.get("type") == "function":
        said = {"type": "tool", "name": _function(choice, "tool_choice").get("name")}
    elif choice is not None:
        raise unable("tool_choice", "this choice")
    # Without tools no calls can be parallel.
    if document.get("parallel_tool_calls") is False and tools and said != {"type": "none"}:
        said = {**(said or {"type": "auto"}), "disable_parallel_tool_use": True}
    return said


def _format(form: object) -> dict[str, Any] | None:
    if form is None or form == {"type": "text"}:
        return None
    kind = form.get("type") if isinstance(form, dict) else None
    if not isinstance(form, dict) or kind != "json_schema":
        raise unable("response_format", f"the type {kind!r}"[:60])
    named = form.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(named, dict) or not isinstance(schema, dict):
        raise invalid_request("response_format.json_schema.schema", "a JSON schema", type(schema).__name__)
    # Of the two, the Messages API has only the schema's.
    described = {"description": named["description"]} if named.get("description") else {}
    return {"type": "json_schema", "schema": {**described, **schema}}


def _list(document: Mapping[str, Any], field: str, where: str = "") -> list[Any]:
    value = document.get(field)
    if value is not None and not isinstance(value, list):
        place = f"{where}.{field}" if where else field
        raise invalid_request(place, "a list", type(value).__name__)
    return value or []
