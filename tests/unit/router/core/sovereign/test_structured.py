"""Demanded formats: what may be demanded, what the model is told, and what an answer is held to."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.common.schemas import MAX_PROBLEM_CHARS, first_problem
from services.router.core.sovereign.structured import (
    Format,
    answer_invalid,
    checked_schema,
    parse_format,
    with_instruction,
)

DOMAIN = {
    "type": "object",
    "properties": {"domain": {"type": "string", "enum": ["travel", "work"]}},
    "required": ["domain"],
    "additionalProperties": False,
}


def demanded(schema: Any) -> Format:
    value = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    form = parse_format(value)
    assert form is not None
    return form


# What may be demanded


@pytest.mark.parametrize("value", [None, {"type": "text"}])
def test_text_demands_nothing(value: object) -> None:
    assert parse_format(value) is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("json_object", "response_format"),
        ([], "response_format"),
        ({}, "response_format.type"),
        ({"type": None}, "response_format.type"),
        ({"type": ["json_object"]}, "response_format.type"),
        ({"type": "grammar"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": None}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": "x"}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": True}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": []}}, "response_format.json_schema.schema"),
        # The schema where another API has it.
        ({"type": "json_schema", "schema": DOMAIN}, "response_format.json_schema.schema"),
    ],
)
def test_what_is_no_format_is_refused_by_its_field(value: object, field: str) -> None:
    with pytest.raises(DomainError) as caught:
        parse_format(value)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == field


BAD_SCHEMAS: list[dict[str, Any]] = [
    {"type": "strng"},
    {"type": 5},
    {"type": "x" * 5000},
    {"required": "domain"},
    {"properties": []},
    {"enum": "travel"},
    {"pattern": "("},
    {"pattern": "((a{1000}){1000}){10}"},
    {"pattern": "(?=x)((a{1000}){1000}){10}"},
    {"minLength": -1},
    {"$schema": 5},
    {"$schema": "http://127.0.0.1:9/of-our-own"},
    {"$id": 5},
    {"$ref": 5},
    {"$ref": "#/$defs/nowhere"},
    {"$dynamicRef": "#nowhere"},
    {"properties": {"a": {"items": {"$ref": "#/$defs/nowhere"}}}},
]


@pytest.mark.parametrize("schema", BAD_SCHEMAS, ids=lambda schema: repr(schema)[:60])
def test_a_schema_that_is_none_is_refused_before_anything_is_sent(schema: dict[str, Any]) -> None:
    with pytest.raises(DomainError) as caught:
        demanded(schema)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == "response_format.json_schema.schema"
    assert len(caught.value.message) < MAX_PROBLEM_CHARS + 100


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Schemas that could be fetched, by the kind of their address, and the paths that were asked for."""
    asked: list[str] = []
    (tmp_path / "schema.json").write_text("{}")

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        http = f"http://127.0.0.1:{server.server_port}/schema.json"
        yield {"http": http, "file": (tmp_path / "schema.json").as_uri(), "name": "schema.json"}, asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["http", "file", "name"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda uri: {"$ref": uri},
        lambda uri: {"$ref": uri + "#/a"},
        lambda uri: {"$schema": uri},
        lambda uri: {"properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": uri}]}}},
        lambda uri: {"$id": "https://example.com/root.json", "items": {"$ref": uri}},
        lambda uri: {"$schema": "http://json-schema.org/draft-07/schema#", "items": {"$ref": uri}},
    ],
)
def test_a_schema_can_t_make_the_router_fetch_anything(
    outside: tuple[dict[str, str], list[str]], kind: str, wrap: Any
) -> None:
    addresses, asked = outside
    with pytest.raises(DomainError) as caught:
        demanded(wrap(addresses[kind]))
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert asked == []


@pytest.mark.parametrize(
    "schema",
    [
        {},
        DOMAIN,
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$defs": {"a": {"type": "integer"}}, "items": {"$ref": "#/$defs/a"}},
        # A tree, as pydantic writes it.
        {"$defs": {"N": {"properties": {"of": {"items": {"$ref": "#/$defs/N"}}}}}, "$ref": "#/$defs/N"},
        {"x-of-our-own": {"any": "thing"}, "description": "é😀"},
    ],
    ids=repr,
)
def test_a_schema_that_is_one_is_what_the_model_is_told(schema: dict[str, Any]) -> None:
    words = demanded(schema).words
    assert words.startswith("Answer with JSON alone")
    assert json.loads(words.partition("\n")[2]) == schema


def test_the_field_of_a_bad_schema_is_the_one_that_was_given() -> None:
    with pytest.raises(DomainError) as caught:
        checked_schema({"type": 5}, "tools[3].function.parameters")
    assert caught.value.metadata["field"] == "tools[3].function.parameters"


# What an answer is held to


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"domain": "travel"}', ""),
        (' \n{"domain":"work"}\n', ""),
        ('{"domain": "wor\\u006b"}', ""),
        ('{"domain": "hotel"}', "domain: "),
        ('{"domain": null}', "domain: "),
        ('{"domain": "work", "sure": true}', "it: "),
        ("{}", "it: "),
        ("[]", "it: "),
        ('"work"', "it: "),
        ("", "it is not JSON: "),
        ("work", "it is not JSON: "),
        ('{"domain": "work"', "it is not JSON: "),
        ('{"domain": "work"} So it is.', "it is not JSON: "),
        ('```json\n{"domain": "work"}\n```', "it is not JSON: "),
        ("{'domain': 'work'}", "it is not JSON: "),
        ('{"domain": "\\ud800"}', "it is not JSON: "),
        ('{"domain": NaN}', "it is not JSON: "),
        ("[" * 5000, "it is not JSON: "),
    ],
)
def test_an_answer_is_held_to_its_schema(text: str, problem: str) -> None:
    found = demanded(DOMAIN).problem(text)
    assert found.startswith(problem)
    assert bool(found) is bool(problem)
    assert len(found) <= MAX_PROBLEM_CHARS


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("{}", True),
        ('{"a": [1]}', True),
        ("[]", False),
        ("1", False),
        ("null", False),
        ("", False),
        ("{", False),
    ],
)
def test_any_object_is_an_object(text: str, good: bool) -> None:
    form = parse_format({"type": "json_object"})
    assert form is not None
    assert (form.problem(text) == "") is good
    assert "JSON object" in form.words


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_no_value_is_more_than_right_or_wrong(value: Any) -> None:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # integers that JSON's readers don't agree on
        return
    good = isinstance(value, dict) and list(value) == ["domain"] and value["domain"] in ("travel", "work")
    assert (demanded(DOMAIN).problem(text) == "") is good


def test_the_place_of_a_problem_is_named() -> None:
    form = demanded({"properties": {"rows": {"items": {"properties": {"n": {"type": "integer"}}}}}})
    assert form.problem('{"rows": [{"n": 1}, {"n": "x"}]}').startswith("rows/1/n: the value")


@pytest.mark.parametrize("levels", [100, 250, 260, 1000])
def test_a_deeply_nested_answer_is_judged_like_another(levels: int) -> None:
    text = "[" * levels + "1" + "]" * levels
    tree = demanded({"type": ["array", "integer"], "items": {"$ref": "#"}})
    assert tree.problem(text) == ""
    lists_alone = demanded({"type": "array", "items": {"$ref": "#"}})
    assert lists_alone.problem(text) != ""


# Attacks


@pytest.mark.parametrize(
    "pattern",
    [r"^(?=a)(a|a)+(?<!a)$", r"^(a|a|aa)+\1$(?!x)", r"^((?=a)a|a)*(?=b)c$", r"^(a+)+$"],
)
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (lambda pattern: {"pattern": pattern}, "a" * 60 + "!"),
        (
            lambda pattern: {"patternProperties": {pattern: {}}, "additionalProperties": False},
            {"a" * 60 + "!": 1},
        ),
        (lambda pattern: {"propertyNames": {"pattern": pattern}}, {"a" * 60 + "!": 1}),
    ],
)
def test_a_pattern_that_never_ends_is_a_problem_and_no_endless_wait(
    pattern: str, schema: Any, value: object
) -> None:
    assert first_problem(checked_schema(schema(pattern), "schema"), value) != ""


def test_an_answer_that_is_all_wrong_is_read_up_to_the_first_wrong_thing() -> None:
    form = demanded({"items": {"type": "integer"}})
    assert form.problem(json.dumps(["x"] * 1000)) == '0: the value is not of type "integer"'


# What the model is told


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([{"role": "user", "content": "Hi"}], ["Do it.", "Hi"]),
        (
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            ["Be brief.\n\nDo it.", "Hi"],
        ),
        # A later system message is not the first.
        (
            [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}],
            ["Do it.", "Hi", "Be brief."],
        ),
        ([], ["Do it."]),
    ],
)
def test_the_instruction_is_the_end_of_the_first_system_message(
    messages: list[dict[str, Any]], told: list[str]
) -> None:
    before = json.dumps(messages)
    done = with_instruction(messages, "Do it.")
    assert [message["content"] for message in done] == told
    assert done[0]["role"] == "system"
    assert json.dumps(messages) == before


def test_an_answer_that_is_not_what_was_demanded_says_of_whom() -> None:
    error = answer_invalid("home", "it is not JSON")
    assert error.reason is Reason.ANSWER_INVALID
    assert error.metadata == {"upstream": "home", "problem": "it is not JSON"}
