"""Schemas that would never be done are refused, those that people write are not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from services.common.errors import DomainError, Reason
from services.router.core.sovereign.schema_work import TooMuchError, depth_of, max_depth
from services.router.core.sovereign.structured import checked_schema, first_problem


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
    with pytest.raises(DomainError) as refused:
        checked_schema(chain(keyword, 40), "response_format.json_schema.schema")
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert "more than 1000 subschemas" in refused.value.message
    assert first_problem(checked_schema(chain(keyword, 6), "x"), "text") == "" or keyword == "oneOf"


def test_a_schema_that_doubles_with_each_level_is_checked_only_so_deep() -> None:
    both = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    schema = {"anyOf": [both, {**both, "required": ["b"]}]}
    value: Any = {}
    for _ in range(40):
        value = {"a": value}
    problem = first_problem(checked_schema(schema, "x"), value)
    assert "as deep as this schema can be checked" in problem
    assert first_problem(checked_schema(schema, "x"), {"a": {"a": {}}}) == ""


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
        max_depth(schema)


def test_what_pydantic_writes_for_a_tree_of_unions_is_checked_to_a_good_depth() -> None:
    schema = Tree.model_json_schema()
    deepest = max_depth(schema)
    assert deepest is not None
    assert deepest >= 15
    value = {
        "left": {"left": {"name": "x"}},
        "right": {"name": "y", "size": 3},
        "notes": {"a": [{"name": "z"}]},
    }
    assert first_problem(checked_schema(schema, "x"), value) == ""
    assert first_problem(checked_schema(schema, "x"), {"notes": {"a": [{"size": 3}]}})


def test_a_schema_without_a_choice_has_no_limit() -> None:
    assert (
        max_depth({"type": "object", "properties": {"child": {"$ref": "#"}, "n": {"type": "integer"}}})
        is None
    )


def test_references_reach_escaped_names_and_lists() -> None:
    schema = {
        "$defs": {"a/b~c": {"type": "string"}},
        "anyOf": [{"$ref": "#/$defs/a~1b~0c"}, {"$ref": "#/anyOf/0"}],
    }
    assert max_depth(schema) is None


@pytest.mark.parametrize(("value", "depth"), [("x", 0), ([], 1), ({"a": [1, [2]]}, 3), ([{}, [[[]]]], 4)])
def test_depth_counts_lists_and_objects(value: object, depth: int) -> None:
    assert depth_of(value) == depth
