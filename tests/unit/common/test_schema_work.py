"""Schemas that would never be done are refused, those that people write are not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from services.common import schemas
from services.common.schema_work import MAX_STEPS, TooMuchError, Work
from services.common.schemas import UnusableError, first_problem, usable


class Leaf(BaseModel):
    name: str
    size: int | None = None


class Tree(BaseModel):
    left: Tree | Leaf | None = None
    right: Tree | Leaf | None = None
    notes: dict[str, list[Leaf]] = {}


def chain(keyword: str, length: int) -> dict[str, Any]:
    """2^length subschemas at one place."""
    definitions: dict[str, Any] = {
        f"d{index}": {keyword: [{"$ref": f"#/$defs/d{index + 1}"}] * 2} for index in range(length)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": {"type": "string"}}}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_schema_that_doubles_at_one_place_is_refused(keyword: str) -> None:
    with pytest.raises(UnusableError, match="more than 1000 subschemas"):
        usable(chain(keyword, 40))
    assert first_problem(usable(chain(keyword, 6)), "text") == "" or keyword == "oneOf"


def test_a_schema_that_doubles_by_what_depends_on_a_name_is_refused() -> None:
    definitions = {
        f"d{index}": {"dependencies": {"a": {"$ref": f"#/$defs/d{index + 1}"}, "b": ["a"], "c": False}}
        for index in range(40)
    }
    for part in definitions.values():
        part["dependencies"]["b"] = part["dependencies"]["a"]
    with pytest.raises(UnusableError, match="more than 1000 subschemas"):
        usable({"$ref": "#/$defs/d0", "$defs": {**definitions, "d40": {}}})


def test_a_reference_in_another_spelling_is_followed() -> None:
    hidden = chain("allOf", 40)
    plain = {f"%64{index}": True for index in range(41)}
    text = json.dumps(hidden["$defs"]).replace("#/$defs/d", "#/$defs/%64")
    with pytest.raises(UnusableError, match="more than 1000 subschemas"):
        usable({"$ref": "#/$defs/d0", "$defs": json.loads(text) | plain})


@pytest.mark.parametrize(
    ("root", "part"),
    [
        ({}, {"$id": "http://example.com/part"}),
        ({}, {"$schema": "http://json-schema.org/draft-04/schema#", "id": "http://example.com/part"}),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, {"id": "http://example.com/part"}),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, {"$id": "http://example.com/part"}),
    ],
    ids=str,
)
def test_a_part_in_which_references_mean_something_else_is_refused(
    root: dict[str, Any], part: dict[str, Any]
) -> None:
    hidden = chain("allOf", 40)
    harmless = {name: {"type": "string"} for name in hidden["$defs"]}
    with pytest.raises(UnusableError, match="at its root alone"):
        usable({**root, "$defs": harmless, "allOf": [{**hidden, **part}]})


def test_what_is_named_like_an_id_is_none() -> None:
    schema = {
        "$id": "http://example.com/all",
        "properties": {"id": {"const": {"$id": "x"}}, "$id": {"type": "string"}},
        "examples": [{"id": "x", "$id": "y"}],
    }
    assert first_problem(usable(schema), {"id": {"$id": "x"}, "$id": "z"}) == ""


@pytest.mark.parametrize("length", [300, 2000, 6_000])
def test_a_long_chain_of_references_is_refused(length: int) -> None:
    definitions = {str(index): {"$ref": f"#/$defs/{index + 1}"} for index in range(length)}
    with pytest.raises(UnusableError, match="more than 250"):
        usable({"$ref": "#/$defs/0", "$defs": {**definitions, str(length): True}})


def test_a_schema_that_nests_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"items": schema}
    with pytest.raises(UnusableError):
        usable(schema)


def nested(levels: int, leaf: Any) -> Any:
    value = leaf
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_value_is_checked_as_long_as_its_levels_times_its_size_allow() -> None:
    both = {"type": ["object", "array"], "properties": {"a": {"$ref": "#"}}}
    schema = usable({"anyOf": [both, {**both, "required": ["b"]}]})
    assert first_problem(schema, nested(18, {})) == ""
    for value in (nested(40, {}), nested(18, [{}] * 100)):
        assert "to be checked against this schema" in first_problem(schema, value)


def test_only_levels_with_a_choice_multiply() -> None:
    kinds = [
        {"properties": {"kind": {"const": kind}, "children": {"items": {"$ref": "#"}}}, "required": ["kind"]}
        for kind in "abcde"
    ]
    work = Work({"anyOf": kinds})
    value: dict[str, Any] = {"kind": "a"}
    for _ in range(4):
        value = {"kind": "e", "children": [value] * 2}
    assert work.steps(value) < MAX_STEPS
    assert work.steps(nested(2000, {})) > MAX_STEPS


def test_an_expression_that_may_backtrack_counts_for_much() -> None:
    values = ["a" * 60 + "!"] * 2000
    slow, fast = (
        Work({"items": {"not": {"pattern": item}}}) for item in (r"^(?=a)(a|a)+(?<!a)$", r"^(a+)+$")
    )
    assert slow.steps(values) > MAX_STEPS > 100 * fast.steps(values)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "#"}, "refers to itself"),
        ({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, "refers to itself"),
        ({"$ref": "#/$defs/b"}, "which is not there"),
        ({"$ref": "other.json"}, "only # and #/… are supported"),
        ({"$dynamicRef": "#node"}, "use $ref"),
    ],
)
def test_a_reference_that_cannot_be_counted_is_refused(schema: dict[str, Any], problem: str) -> None:
    with pytest.raises(TooMuchError, match=problem.replace("$", r"\$")):
        Work(schema)


def test_what_pydantic_writes_for_a_tree_of_unions_is_checked_to_a_good_depth() -> None:
    schema = usable(Tree.model_json_schema())
    value = {
        "left": {"left": {"name": "x"}},
        "right": {"name": "y", "size": 3},
        "notes": {"a": [{"name": "z"}]},
    }
    assert first_problem(schema, value) == ""
    assert first_problem(schema, {"notes": {"a": [{"size": 3}]}})
    for _ in range(12):
        value = {"left": value, "right": {"name": "y", "size": 3}}
    assert first_problem(schema, value) == ""


def test_a_schema_without_a_choice_takes_what_nests_deep() -> None:
    schema = usable({"type": "object", "properties": {"a": {"$ref": "#"}, "n": {"type": "integer"}}})
    assert first_problem(schema, nested(900, {"n": 1})) == ""
    assert first_problem(schema, nested(900, {"n": "x"})).startswith("a/a/a")


def test_references_reach_escaped_names_and_lists() -> None:
    schema = {
        "$defs": {"a/b~c": {"type": "string"}},
        "anyOf": [{"$ref": "#/$defs/a~1b~0c"}, {"$ref": "#/anyOf/0"}],
    }
    assert first_problem(usable(schema), "x") == ""
    assert first_problem(usable(schema), 1)


def test_compiled_schemas_are_kept_up_to_a_limit() -> None:
    for number in range(schemas.KEPT_SCHEMAS + 10):
        usable({"const": number})
    info = schemas._compiled.cache_info()
    assert info.currsize == info.maxsize == schemas.KEPT_SCHEMAS


def test_what_asks_for_all_that_was_looked_at_is_counted_as_often() -> None:
    """`unevaluatedProperties` goes through everything at its place again, and so do those within it."""
    schema: dict[str, Any] = {"properties": {"a": {"type": "integer"}}}
    for _ in range(4):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    assert first_problem(usable(schema), {"a": 1}) == ""
    for _ in range(12):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    with pytest.raises(UnusableError):
        usable(schema)


def test_an_item_that_two_keywords_look_at_is_looked_at_twice() -> None:
    """At each level: 2 to the power of the depth."""
    levels = 24
    definitions = {
        str(index): {"items": {"$ref": f"#/$defs/{index + 1}"}, "contains": {"$ref": f"#/$defs/{index + 1}"}}
        for index in range(levels)
    }
    schema = {"$ref": "#/$defs/0", "$defs": {**definitions, str(levels): True}}
    value: Any = 1
    for _ in range(levels):
        value = [value]
    assert "to be checked against this schema" in first_problem(usable(schema), value)


def test_a_reference_through_a_part_with_a_name_of_its_own_is_refused() -> None:
    """Within it `#` is that part: what would be counted is not what is checked."""
    part = {
        "$id": "http://x/a",
        "properties": {"b": {"$ref": "#/s0"}},
        "s0": {"anyOf": [{"$ref": "#/s1"}, {"$ref": "#/s1"}]},
        "s1": True,
    }
    with pytest.raises(UnusableError, match="at its root alone"):
        usable({"$ref": "#/$defs/a/properties/b", "s0": True, "$defs": {"a": part}})


def test_a_schema_has_a_largest_size() -> None:
    with pytest.raises(UnusableError, match="at most 262144"):
        usable({"properties": {f"field-{index}": {"type": "string"} for index in range(10_000)}})


def test_no_answers_text_is_in_a_problem() -> None:
    """Problems get into traces."""
    problem = first_problem(usable({"properties": {"age": {"type": "integer"}}}), {"age": "Alice Smith"})
    assert problem.startswith("age: ")
    assert "Alice" not in problem
