"""Tools that a request offers, and how an answer must begin."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.common.errors import DomainError, Reason
from services.common.schemas import first_problem
from services.router.core.sovereign.tool_calls import Started, ToolCallReader
from services.router.core.sovereign.tools import NO_TOOLS, parse_tools

BAD, UNABLE = Reason.INVALID_REQUEST, Reason.FEATURE_NOT_SUPPORTED


def tool(name: Any = "look", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


TOOLS = [tool("look", parameters={"type": "object"}), tool("get_weather", description="Says it.")]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"tools": None},
        {"tools": []},
        {"tools": [], "tool_choice": "auto"},
        {"tools": [], "tool_choice": "none"},
        {"tools": None, "tool_choice": None, "parallel_tool_calls": None},
        {"tool_choice": "none"},
        {"tools": TOOLS, "tool_choice": "none"},
        # Some clients always send it.
        {"parallel_tool_calls": True},
        {"tools": [], "parallel_tool_calls": False},
    ],
)
def test_none_are_offered(document: dict[str, Any]) -> None:
    assert parse_tools(document) == NO_TOOLS


NAMED = {"type": "function", "function": {"name": "get_weather"}}


@pytest.mark.parametrize(
    ("choice", "opening", "named"),
    [
        (None, "", False),
        ("auto", "", False),
        ("required", '{"name":', False),
        (NAMED, '{"name": "get_weather", "parameters":', True),
    ],
)
def test_a_choice_is_how_the_answer_begins(choice: Any, opening: str, named: bool) -> None:
    tools = parse_tools({"tools": TOOLS, "tool_choice": choice})
    assert (tools.opening, tools.named) == (opening, named)
    assert tools.names == {"look", "get_weather"}
    assert list(tools.functions) == TOOLS


@pytest.mark.parametrize(
    ("choice", "rest"),
    [("required", ' "get_weather", "parameters": {}}'), (NAMED, " {}}"), (NAMED, '"{}"}')],
)
def test_what_goes_on_from_an_opening_is_a_call(choice: Any, rest: str) -> None:
    tools = parse_tools({"tools": TOOLS, "tool_choice": choice})
    reader = ToolCallReader(tools.names)
    events = [*reader.feed(tools.opening), *reader.feed(rest)]
    assert events[0] == Started(0, "get_weather")


@pytest.mark.parametrize(("value", "parallel"), [(None, True), (True, True), (False, False)])
def test_calls_are_parallel_unless_the_request_says_not(value: Any, parallel: bool) -> None:
    assert parse_tools({"tools": TOOLS, "parallel_tool_calls": value}).parallel is parallel


def test_a_strict_function_s_arguments_have_a_schema() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    offered = [
        tool("a", parameters=schema, strict=True),
        tool("b", parameters=schema, strict=False),
        tool("c", parameters=schema, strict=None),
        tool("d", parameters=schema),
        tool("e", strict=True),
        tool("f", parameters=None, strict=True),
    ]
    strict = parse_tools({"tools": offered}).strict
    assert list(strict) == ["a", "e", "f"]
    assert first_problem(strict["a"], {"q": 5}).startswith("q: ")
    assert first_problem(strict["a"], {"q": "x"}) == first_problem(strict["e"], {"any": 1}) == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"description": None, "parameters": None, "strict": None},
        {"parameters": {}},
        {"description": "é😀 \n <|eot_id|>"},
        # Not strict: what it says is the model's business, so far as it is an object.
        {"parameters": {"type": "strng"}},
        {"parameters": {"$ref": "http://127.0.0.1:9/x"}},
    ],
)
def test_a_function_is_offered_as_it_is(fields: dict[str, Any]) -> None:
    offered = tool("a" * 128, **fields)
    assert parse_tools({"tools": [offered]}).functions == (offered,)


@pytest.mark.parametrize(
    ("document", "reason", "field"),
    [
        ({"tools": {}}, BAD, "tools"),
        ({"tools": "look"}, BAD, "tools"),
        ({"tools": [None]}, BAD, "tools[0]"),
        ({"tools": [*TOOLS, "look"]}, BAD, "tools[2]"),
        ({"tools": [{"type": "function"}]}, BAD, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": "look"}]}, BAD, "tools[0].function.name"),
        # A function where the Responses API has it.
        ({"tools": [{"type": "function", "name": "look"}]}, BAD, "tools[0].function.name"),
        ({"tools": [tool(None)]}, BAD, "tools[0].function.name"),
        ({"tools": [tool("")]}, BAD, "tools[0].function.name"),
        ({"tools": [tool("a" * 129)]}, BAD, "tools[0].function.name"),
        ({"tools": [tool("look at")]}, BAD, "tools[0].function.name"),
        ({"tools": [tool("look\n")]}, BAD, "tools[0].function.name"),
        ({"tools": [tool('"}')]}, BAD, "tools[0].function.name"),
        ({"tools": [tool("sée")]}, BAD, "tools[0].function.name"),
        ({"tools": [tool(["look"])]}, BAD, "tools[0].function.name"),
        ({"tools": [tool(parameters=[])]}, BAD, "tools[0].function.parameters"),
        ({"tools": [tool(parameters="{}")]}, BAD, "tools[0].function.parameters"),
        ({"tools": [tool(parameters={"type": "strng"}, strict=True)]}, BAD, "tools[0].function.parameters"),
        (
            {"tools": [tool("a"), tool("b", parameters={"$ref": "file:///x"}, strict=True)]},
            BAD,
            "tools[1].function.parameters",
        ),
        ({"tools": [*TOOLS, tool("look")]}, BAD, "tools"),
        ({"tools": [{"type": "web_search"}]}, UNABLE, "tools[0].type"),
        ({"tools": [*TOOLS, {"type": "custom", "custom": {"name": "x"}}]}, UNABLE, "tools[2].type"),
        ({"tools": [{"function": {"name": "look"}}]}, UNABLE, "tools[0].type"),
        ({"tools": [], "tool_choice": "required"}, BAD, "tool_choice"),
        ({"tool_choice": NAMED}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "any"}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "look"}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": True}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": []}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {}}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "auto"}}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "look"}}, BAD, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": None}}, BAD, "tool_choice"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}},
            BAD,
            "tool_choice",
        ),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": []}}}, BAD, "tool_choice"),
        (
            {
                "tools": TOOLS,
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": TOOLS[:1]},
                },
            },
            UNABLE,
            "tool_choice",
        ),
        (
            {"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "look"}}},
            UNABLE,
            "tool_choice",
        ),
        ({"tools": TOOLS, "parallel_tool_calls": "no"}, BAD, "parallel_tool_calls"),
        ({"tools": TOOLS, "parallel_tool_calls": 0}, BAD, "parallel_tool_calls"),
    ],
)
def test_what_is_no_tool_or_choice_is_refused_by_its_field(
    document: dict[str, Any], reason: Reason, field: str
) -> None:
    with pytest.raises(DomainError) as caught:
        parse_tools(document)
    assert caught.value.reason is reason
    assert caught.value.metadata["field"] == field


def test_no_type_in_any_place_of_tools_is_a_defect(harm: Callable[..., list[Any]]) -> None:
    document = {
        "tools": [tool(description="x", strict=True, parameters={"type": "object", "properties": {"q": {}}})],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
    }

    def read(document: Any) -> None:
        try:
            parse_tools(document)
        except DomainError as error:
            if error.reason is not UNABLE:
                raise

    assert harm(document, read, BAD) == []
    assert json.loads(parse_tools(document).opening + "{}}") == {"name": "look", "parameters": {}}
