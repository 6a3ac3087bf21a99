"""What is seen of a request: its opening, its tools and its answer's schema, in the dialect of each API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.common.seen import Seen, cut
from services.router.core import catalog, wire

_SYSTEM = frozenset({"system", "developer"})
"""The roles of those who build an application, not of those who use it."""


@dataclass(frozen=True, slots=True)
class Opening:
    """All up to and with the user's first message."""

    system_prompt: str
    """The texts of the system and developer messages in it, joined by newlines."""
    turns: tuple[str, ...]
    """The texts of its other messages."""
    continues: bool
    """True if the request goes on after it: then it is not the first of its conversation."""


def opening(request: wire.Request) -> Opening:
    """The opening of a request's conversation."""
    system: list[str] = []
    turns: list[str] = []
    opened = continues = False
    for role, text in _messages(request):
        if role in _SYSTEM:
            # Reminders in the middle of a conversation are no part of its opening.
            if not opened:
                system.append(text)
        elif opened:
            continues = True
            break
        else:
            turns.append(text)
            opened = role == "user"
    return Opening("\n".join(system), tuple(turns), continues)


def whole(request: wire.Request, opened: Opening) -> Seen:
    """What is seen of a request before anything is cut, for its fixed parts."""
    return Seen(
        system_prompt=opened.system_prompt,
        turns=opened.turns,
        tool_names=_tool_names(request.document),
        response_schema=_response_schema(request),
    )


def shortened(seen_whole: Seen) -> Seen:
    """What the classifier sees of it."""
    return cut(
        seen_whole.system_prompt,
        seen_whole.turns,
        tool_names=seen_whole.tool_names,
        response_schema=seen_whole.response_schema,
    )


def seen(request: wire.Request) -> Seen:
    """What the classifier sees of a request."""
    return shortened(whole(request, opening(request)))


def _messages(request: wire.Request) -> Iterator[tuple[str, str]]:
    """Role and text of each message, a system prompt that has a field of its own first."""
    document = request.document
    if request.api == catalog.MESSAGES and (text := wire.text_of(document.get("system"))):
        yield "system", text
    if request.api == catalog.RESPONSES and (text := wire.text_of(document.get("instructions"))):
        yield "system", text
    if request.api in (catalog.CHAT, catalog.MESSAGES):
        for message in document["messages"]:
            yield message["role"], wire.text_of(message.get("content"))
        return
    value = document.get("prompt" if request.api == catalog.COMPLETIONS else "input")
    # A batch of texts has no turns: each is a request of its own, and the first stands for all.
    if isinstance(value, list) and value and not isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, str):
        yield "user", value
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                role = item.get("role", "user" if "content" in item else "")
                yield role if isinstance(role, str) else "", wire.text_of(item.get("content"))


def _tool_names(document: Mapping[str, Any]) -> tuple[str, ...]:
    tools = document.get("tools")
    if not isinstance(tools, list):
        return ()
    return tuple(name for tool in tools if isinstance(tool, dict) and (name := _tool_name(tool)))


def _tool_name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    # A tool of the provider's own may have a type and no name.
    for name in (
        function.get("name") if isinstance(function, dict) else None,
        tool.get("name"),
        tool.get("type"),
    ):
        if isinstance(name, str) and name:
            return name
    return ""


def _response_schema(request: wire.Request) -> str:
    """The schema that the answer must follow, with sorted keys; empty if there is none."""
    document = request.document
    form: object = None
    if request.api == catalog.CHAT:
        form = document.get("response_format")
        form = (
            form.get("json_schema") if isinstance(form, dict) and form.get("type") == "json_schema" else None
        )
    elif request.api == catalog.RESPONSES:
        form = _format(document.get("text"))
    elif request.api == catalog.MESSAGES:
        form = _format(document.get("output_config")) or document.get("output_format")
    schema = form.get("schema") if isinstance(form, dict) else None
    if not isinstance(schema, dict):
        return ""
    return orjson.dumps(schema, option=orjson.OPT_SORT_KEYS).decode()


def _format(holder: object) -> object:
    return holder.get("format") if isinstance(holder, dict) else None
