"""What is told of an answer that breaks its schema: enough to mend it, and nothing of what it says."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.schemas import first_problem, usable

NAME = "John Smith lives at 5 Rd"
TEXT = {"type": "string"}
CLOSED = {"type": "object", "properties": {"city": TEXT}, "additionalProperties": False}
NOT_ALLOWED = "it has properties that the schema does not allow"
NOT_TEXT = 'the value is not of type "string"'


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        (CLOSED, {NAME: 1}, f"it: {NOT_ALLOWED}"),
        ({"properties": {"place": CLOSED}}, {"place": {NAME: 1}}, f"place: {NOT_ALLOWED}"),
        ({"unevaluatedProperties": False, "properties": {"a": {}}}, {NAME: 1}, f"it: {NOT_ALLOWED}"),
        (
            {"propertyNames": {"maxLength": 5}},
            {NAME: 1},
            "it: the name of one of its properties is not as the schema has it",
        ),
        ({"propertyNames": False}, {NAME: 1}, "it: False schema does not allow the value"),
        ({"additionalProperties": TEXT}, {NAME: 1}, f"*: {NOT_TEXT}"),
        ({"patternProperties": {"^J": TEXT}}, {NAME: 1}, f"*: {NOT_TEXT}"),
        ({"additionalProperties": CLOSED}, {NAME: {"city": 1}}, f"*/city: {NOT_TEXT}"),
        ({"$defs": {"d": CLOSED}, "additionalProperties": {"$ref": "#/$defs/d"}}, {NAME: {NAME: 1}}, None),
        ({"properties": {"a": {"items": CLOSED}}}, {"a": [{}, {"city": 1}]}, f"a/1/city: {NOT_TEXT}"),
        ({"anyOf": [CLOSED, {"required": ["x"]}]}, {NAME: 1}, None),
        ({"items": {"enum": ["a"]}}, [NAME], '0: the value is not one of "a"'),
        ({"uniqueItems": True}, [NAME, NAME], "it: the value has non-unique elements"),
        ({"required": ["city"]}, {NAME: 1}, 'it: "city" is a required property'),
        ({"dependentRequired": {NAME: ["x"]}}, {NAME: 1}, 'it: "x" is a required property'),
    ],
    ids=repr,
)
def test_a_problem_is_told_in_the_schemas_words_alone(
    schema: dict[str, Any], value: object, told: str | None
) -> None:
    problem = first_problem(usable(schema), value)
    assert problem
    assert NAME not in problem
    if told is not None:
        assert problem == told


def test_what_is_right_has_no_problem() -> None:
    assert first_problem(usable(CLOSED), {"city": "Rome"}) == ""
