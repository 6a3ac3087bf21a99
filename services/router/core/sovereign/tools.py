"""The tools that a request offers, and how strongly it asks for a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.common.errors import invalid_request
from services.router.core.sovereign.refusals import not_supported
from services.router.core.sovereign.structured import checked_schema

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class Tools:
    """What may be called."""

    functions: tuple[dict[str, Any], ...] = ()
    """As the request has them; empty if there are none or none may be called."""
    opening: str = ""
    """How the answer must begin. The server continues it, and so can't but make a call."""
    named: bool = False
    """True if the request says which function to call."""
    parallel: bool = True
    """False: the first call is the only one."""
    strict: Mapping[str, bytes] = field(default_factory=dict)
    """The JSON schema of the arguments of each function that is strict, by its name."""

    @property
    def names(self) -> frozenset[str]:
        """The functions' names."""
        return frozenset(tool["function"]["name"] for tool in self.functions)


NO_TOOLS = Tools()


def parse_tools(document: Mapping[str, Any]) -> Tools:
    """Reads `tools`, `tool_choice` and `parallel_tool_calls`.

    Raises:
        DomainError: INVALID_REQUEST or FEATURE_NOT_SUPPORTED.
    """
    value = document.get("tools")
    if value is not None and not isinstance(value, list):
        raise invalid_request("tools", "a list of functions", type(value).__name__)
    functions = tuple(_function(tool, f"tools[{index}]") for index, tool in enumerate(value or ()))
    names = [tool["function"]["name"] for tool in functions]
    if len(set(names)) < len(names):
        raise invalid_request("tools", "a list of functions with different names", "one name twice")
    choice = document.get("tool_choice")
    if choice == "none" or (not functions and choice in (None, "auto")):
        return NO_TOOLS
    if not functions:
        raise invalid_request("tool_choice", "left out where there are no tools", repr(choice)[:80])
    parallel = document.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        raise invalid_request("parallel_tool_calls", "true or false", type(parallel).__name__)
    return Tools(
        functions=functions,
        opening=_opening(choice, names),
        named=isinstance(choice, dict),
        parallel=parallel is not False,
        strict={
            tool["function"]["name"]: checked_schema(
                tool["function"].get("parameters") or {}, f"tools[{index}].function.parameters"
            )
            for index, tool in enumerate(functions)
            if tool["function"].get("strict")
        },
    )


def _function(tool: object, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise invalid_request(where, "an object", type(tool).__name__)
    if tool.get("type") != "function":
        raise not_supported(f"{where}.type", f"tools of type {str(tool.get('type'))[:40]}")
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid_request(f"{where}.function.name", "1 to 128 letters, digits, _ . or -", repr(name)[:80])
    if not isinstance(function.get("parameters", {}), (dict, type(None))):
        raise invalid_request(f"{where}.function.parameters", "a JSON schema", "something else")
    return tool


def _opening(choice: object, names: list[str]) -> str:
    """The beginning of a call that was demanded, up to where the model's own token begins."""
    if choice in (None, "auto"):
        return ""
    if choice == "required":
        return '{"name":'
    if isinstance(choice, dict) and choice.get("type") in ("allowed_tools", "custom"):
        raise not_supported("tool_choice", f"a choice of type {choice['type']}")
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if name not in names:
        raise invalid_request(
            "tool_choice", f"none, auto, required or one of the functions {', '.join(names)[:200]}", choice
        )
    return '{"name": ' + orjson.dumps(name).decode() + ', "parameters":'
