"""Whatever the schema and the text, the filled value is valid; and it is from the text where it can be."""

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.cloud.errors import ApiError
from deploy.local.cloud.pick import Source
from deploy.local.cloud.schema import Filler

NAMES = st.sampled_from(["city", "summary", "age", "is_open", "priceEur", "date", "email", "tags", "x"])
VALUES = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5)


def fill(schema: dict[str, Any], text: str, **options: bool) -> Any:
    return Filler(schema, Source(text), **options).fill()


def valid(value: Any, schema: Any, root: dict[str, Any]) -> bool:
    """Whether a value keeps to a schema of the supported subset."""
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        return valid(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema:
        return any(valid(value, option, root) for option in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = schema.get("type", [])
    return not kinds or any(
        _of_kind(value, kind, schema, root) for kind in (kinds if isinstance(kinds, list) else [kinds])
    )


def _of_kind(value: Any, kind: str, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "object":
        properties = schema.get("properties", {})
        return (
            isinstance(value, dict)
            and all(name in value for name in schema.get("required", []))
            and (schema.get("additionalProperties", True) or all(name in properties for name in value))
            and all(valid(item, properties.get(name, True), root) for name, item in value.items())
        )
    if kind == "array":
        return (
            isinstance(value, list)
            and schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
            and all(valid(item, schema.get("items", True), root) for item in value)
        )
    if kind in ("number", "integer"):
        return (
            number
            and (kind == "number" or isinstance(value, int))
            and schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf)
            and value > schema.get("exclusiveMinimum", -math.inf)
            and value % schema.get("multipleOf", 1 if kind == "integer" else value or 1) == 0
        )
    if kind == "string":
        return (
            isinstance(value, str)
            and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
            and (schema.get("format") != "date" or bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)))
        )
    return value is None if kind == "null" else isinstance(value, bool)


def _span(kind: str, low: str, high: str, most: int) -> st.SearchStrategy[dict[str, Any]]:
    pair = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    both = pair.map(lambda ends: {"type": kind, low: ends[0], high: ends[1]})
    return both.flatmap(
        lambda schema: st.sampled_from([schema, {"type": kind}, {"type": kind, low: schema[low]}])
    )


LEAVES = st.one_of(
    st.sampled_from([{}, True, {"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}]),
    st.just({"type": "string", "format": "date"}),
    st.just({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}),
    st.builds(lambda step: {"type": "integer", "multipleOf": step, "minimum": 5}, st.integers(1, 9)),
    _span("string", "minLength", "maxLength", 30),
    _span("integer", "minimum", "maximum", 1000),
    _span("number", "minimum", "maximum", 1000),
    st.builds(lambda value: {"const": value}, VALUES),
    st.builds(lambda values: {"enum": values}, st.lists(VALUES, min_size=1, max_size=4)),
    st.just({"$ref": "#/$defs/node"}),
)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _array(item: Any, least: int, more: int | None) -> dict[str, Any]:
    limits = {"minItems": least} if more is None else {"minItems": least, "maxItems": least + more}
    return {"type": "array", "items": item, **limits}


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=4).map(_object),
        st.builds(_array, inner, st.integers(0, 3), st.none() | st.integers(0, 3)),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=12,
)
NODE = _object({"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}})
TEXTS = st.text(max_size=80) | st.sampled_from(
    ["City: Paris, age 41. Ann of Bonn paid 1,200.50 on 2024-02-29.", "-5 0.25 7 999", "null true 3"]
)


@settings(max_examples=300)
@given(st.dictionaries(NAMES, SCHEMAS, max_size=4), TEXTS, st.booleans())
def test_the_value_is_valid(properties: dict[str, Any], text: str, few: bool) -> None:
    schema = {**_object(properties), "$defs": {"node": NODE}}
    assert valid(fill(schema, text, required_only=few), schema, schema)


def test_values_come_from_the_text() -> None:
    text = "Please book a table. Name: Ann Lee, party of 4 in Bonn on 2024-02-29, mail ann@example.com."
    properties = {
        "name": {"type": "string"},
        "party": {"type": "integer"},
        "city": {"type": "string"},
        "date": {"type": "string", "format": "date"},
        "email": {"type": "string"},
        "place": {"enum": ["bar", "table", "terrace"]},
    }
    assert fill(_object(properties), text) == {
        "name": "Ann Lee",
        "party": 4,
        "city": "Bonn",
        "date": "2024-02-29",
        "email": "ann@example.com",
        "place": "table",
    }


def test_the_number_next_to_its_name_is_taken() -> None:
    schema = _object({"height": {"type": "number"}, "weight": {"type": "number"}})
    assert fill(schema, "A weight of 80.5 kg at a height of 182 cm") == {"height": 182, "weight": 80.5}


def test_only_what_is_required_if_so_wanted() -> None:
    schema = {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["b"]}
    assert list(fill(schema, "x", required_only=True)) == ["b"]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "#/$defs/missing"}, "points at nothing"),
        ({"$ref": "#"}, "without an end"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "without an end"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no number"),
        ({"type": "string", "pattern": "^q{9}$"}, "pattern"),
        ({"type": "array", "minItems": 10**9}, "length"),
        ({"type": "array", "minItems": "x"}, "not a JSON schema"),
        ({"allOf": [1]}, "not a JSON schema"),
    ],
)
def test_an_impossible_schema_is_refused(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(ApiError, match="Invalid schema") as caught:
        fill(schema, "some text")
    assert why in caught.value.message


def test_a_schema_that_branches_into_itself_comes_to_an_end() -> None:
    child = {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
    schema = _object(dict.fromkeys("abcdefghij", child))
    assert valid(fill({**schema, "$defs": {}}, "text"), {"type": "object"}, schema)
