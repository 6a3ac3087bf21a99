"""OpenAI's messages as a chat template takes them: roles, plain text, tool calls as dictionaries.

Llama 3.1's template writes one tool call a turn, so a turn with several becomes one turn for each, with
its result behind it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from services.common.errors import invalid_request
from services.router.core.sovereign.refusals import not_supported

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def parse_turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The turns of a request's `messages`.

    Raises:
        DomainError: INVALID_REQUEST, or FEATURE_NOT_SUPPORTED for what is not text.
    """
    turns = [_turn(message, f"messages[{index}]") for index, message in enumerate(messages)]
    return _one_call_each(_one_system(turns))


def _turn(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    role = _ROLES.get(message["role"])
    if role is None:
        if message["role"] == "function":
            raise not_supported(f"{where}.role", "function calls of the old form; use tools")
        raise invalid_request(f"{where}.role", " or ".join(_ROLES), repr(message["role"])[:40])
    for field in ("audio", "function_call"):
        if message.get(field):
            raise not_supported(f"{where}.{field}", "anything but text and tool calls")
    turn: dict[str, Any] = {"role": role, "content": _text(message.get("content"), f"{where}.content")}
    if role == "assistant" and message.get("content") is None:
        turn["content"] = _text(message.get("refusal"), f"{where}.refusal")
    if role == "assistant" and message.get("tool_calls"):
        calls = message["tool_calls"]
        if not isinstance(calls, list):
            raise invalid_request(f"{where}.tool_calls", "a list of calls", type(calls).__name__)
        turn["tool_calls"] = [_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
    if role == "tool":
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not call_id:
            raise invalid_request(f"{where}.tool_call_id", "the id of the call that it answers", call_id)
        turn["tool_call_id"] = call_id
    return turn


def _text(content: object, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for index, part in enumerate(content if isinstance(content, list) else ()):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in ("text", "refusal"):
            if isinstance(kind, str):
                raise not_supported(f"{where}[{index}]", f"parts of type {kind[:40]}")
            raise invalid_request(f"{where}[{index}].type", "the type of a part", kind)
        text = part.get(kind)
        if not isinstance(text, str):
            raise invalid_request(f"{where}[{index}].{kind}", "text", type(text).__name__)
        texts.append(text)
    # As vLLM and trtllm-serve put parts together.
    return "\n".join(texts)


def _call(call: object, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if isinstance(call, Mapping) and call.get("type") == "custom":
        raise not_supported(f"{where}.type", "tools of type custom")
    if not isinstance(call, Mapping) or not isinstance(function, Mapping):
        raise invalid_request(where, "a call with a function", type(call).__name__)
    name, text = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        raise invalid_request(f"{where}.function.name", "the name of a function", name)
    try:
        # Some servers write no arguments as no text.
        arguments = orjson.loads(text or "{}") if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise invalid_request(f"{where}.function.arguments", "a JSON object, as text", type(text).__name__)
    return {
        "id": str(call.get("id") or ""),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _one_system(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Several system turns at the beginning are one; templates look at the first alone."""
    count = 0
    while count < len(turns) and turns[count]["role"] == "system":
        count += 1
    if count < 2:
        return turns
    text = "\n\n".join(turn["content"] for turn in turns[:count])
    return [{"role": "system", "content": text}, *turns[count:]]


def _one_call_each(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done: list[dict[str, Any]] = []
    place = 0
    while place < len(turns):
        turn = turns[place]
        place += 1
        calls = turn.get("tool_calls", ())
        if len(calls) < 2:
            done.append(turn)
            continue
        results: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        while place < len(turns) and turns[place]["role"] == "tool":
            results[turns[place]["tool_call_id"]].append(turns[place])
            place += 1
        for call in calls:
            done.append({**turn, "tool_calls": [call]})
            if results[call["id"]]:
                done.append(results[call["id"]].popleft())
        # A result of no call that is there was said all the same.
        done += [result for left in results.values() for result in left]
    return done
