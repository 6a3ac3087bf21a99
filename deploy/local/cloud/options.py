"""Reads the parts of a request that say how to answer: the tools, the format, the sampling."""

from __future__ import annotations

import re
from typing import Any

from deploy.local.cloud.ask import Tool
from deploy.local.cloud.errors import invalid
from deploy.local.cloud.fields import Fields, bad_value, wrong_type

MAX_CHOICES = 128
"""Most answers to one request, as at OpenAI."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHOICES = ("none", "auto", "required")


def sampling(fields: Fields) -> dict[str, Any]:
    """`temperature` and `seed`, checked; and the types of what changes nothing here."""
    fields.number("top_p", 0, 1)
    fields.number("presence_penalty", -2, 2)
    fields.number("frequency_penalty", -2, 2)
    fields.inner("metadata")
    fields.text("user")
    temperature = fields.number("temperature", 0, 2)
    return {
        "temperature": 1.0 if temperature is None else temperature,
        "seed": fields.whole("seed", -(2**63), 2**63 - 1),
    }


def include_usage(fields: Fields) -> bool:
    """Whether a stream is to end with its usage."""
    options = fields.inner("stream_options")
    if options is None:
        return False
    if not fields.flag("stream"):
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    return options.flag("include_usage")


def tools(fields: Fields, *, flat: bool) -> tuple[Tool, ...]:
    """The functions in `tools`; flat as in responses, or within `function` as in chat completions."""
    found = []
    for item in fields.objects("tools"):
        kind = item.need_text("type")
        if kind != "function":
            raise bad_value(item.param("type"), kind, ("function",))
        function = item if flat else Fields(item.need("function"), item.param("function"))
        name = _name(function)
        function.flag("strict")
        parameters = function.inner("parameters")
        schema = dict(parameters.document) if parameters else {"type": "object", "properties": {}}
        if schema.get("type", "object") != "object":
            raise invalid(
                f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"'.",
                function.param("parameters"),
                "invalid_function_parameters",
            )
        found.append(Tool(name, function.text("description"), {**schema, "type": "object"}))
    return tuple(found)


def tool_choice(fields: Fields, offered: tuple[Tool, ...], *, flat: bool) -> str:
    """`tool_choice` as `Ask` has it."""
    value = fields.get("tool_choice")
    if value is None:
        return "auto"
    if not offered and value != "none":
        raise invalid(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            "tool_choice",
        )
    if isinstance(value, str):
        return fields.choice("tool_choice", _CHOICES, "auto")
    if not isinstance(value, dict):
        raise wrong_type("tool_choice", "one of a string or an object", value)
    choice = Fields(value, "tool_choice")
    choice.choice("type", ("function",), "")
    name = (choice if flat else Fields(choice.need("function"), choice.param("function"))).need_text("name")
    if name not in {tool.name for tool in offered}:
        raise invalid(
            f"Invalid value for 'tool_choice': no function named '{name}' is in 'tools'.", "tool_choice"
        )
    return f"={name}"


def answer_format(fields: Fields | None, prompt: str, *, flat: bool) -> dict[str, Any]:
    """`schema` and `json_object` of an `Ask`, from `response_format` or from `text.format`."""
    if fields is None:
        return {}
    kind = fields.need_text("type")
    if kind == "text":
        return {}
    if kind == "json_object":
        if "json" not in prompt.lower():
            raise invalid(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
                " 'json_object'.",
                "messages",
            )
        return {"json_object": True}
    if kind != "json_schema":
        raise bad_value(fields.param("type"), kind, ("json_object", "json_schema", "text"))
    holder = fields if flat else Fields(fields.need("json_schema"), fields.param("json_schema"))
    _name(holder)
    holder.flag("strict")
    schema = holder.inner("schema")
    return {"schema": dict(schema.document) if schema else {"type": "object"}}


def _name(fields: Fields) -> str:
    name = fields.need_text("name")
    if not _NAME.fullmatch(name):
        raise invalid(
            f"Invalid '{fields.param('name')}': string does not match pattern. Expected a string that"
            " matches the pattern '^[a-zA-Z0-9_-]+$'.",
            fields.param("name"),
            "invalid_value",
        )
    return name
