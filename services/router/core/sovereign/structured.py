"""What `response_format` asks for: the words that tell the model, and the check of what it answered.

TensorRT-LLM's tensor contract has no place for a schema, so the model is told of it in its prompt and the
answer is held to it here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.common.errors import DomainError, Reason, invalid_request
from services.common.schemas import UnusableError, first_problem, usable

_OBJECT_WORDS = "Answer with one JSON object alone."
_SCHEMA_WORDS = "Answer with JSON alone, under this schema:\n"


def instruction(schema: Mapping[str, Any] | None) -> str:
    """What the system message says of the format; None is any JSON object."""
    return _OBJECT_WORDS if schema is None else _SCHEMA_WORDS + orjson.dumps(schema).decode()


def with_instruction(messages: Sequence[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    """The messages with words added to the first, the system's; it is made if it is not there."""
    if messages and messages[0]["role"] == "system":
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{words}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


@dataclass(frozen=True, slots=True)
class Format:
    """A demanded format."""

    schema: Mapping[str, Any] | None
    """None is any JSON object."""
    words: str
    """What the model is told."""
    _key: bytes

    def problem(self, text: str) -> str:
        """What is wrong with an answer; empty if nothing is."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return f"it is not JSON: {error}"
        if self.schema is None:
            return "" if isinstance(value, dict) else "it is JSON, but no object"
        return first_problem(self._key, value)


def parse_format(value: object) -> Format | None:
    """Reads `response_format`; None for text.

    Raises:
        DomainError: INVALID_REQUEST.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise invalid_request("response_format", "an object with a type", type(value).__name__)
    kind = value.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return Format(None, instruction(None), b"")
    if kind != "json_schema":
        raise invalid_request("response_format.type", "text, json_object or json_schema", repr(kind)[:80])
    inner = value.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if not isinstance(schema, Mapping):
        raise invalid_request(
            "response_format.json_schema.schema", "a JSON schema (an object)", type(schema).__name__
        )
    key = checked_schema(schema, "response_format.json_schema.schema")
    return Format(schema, instruction(schema), key)


def checked_schema(schema: Mapping[str, Any], field: str) -> bytes:
    """The JSON of a schema that can be used.

    Raises:
        DomainError: INVALID_REQUEST, if it is none, would take too long, or refers to something outside.
    """
    try:
        return usable(schema)
    except UnusableError as error:
        raise invalid_request(field, "a valid JSON schema", str(error)) from None


def answer_invalid(upstream: str, problem: str) -> DomainError:
    """The error of an answer that is not what was demanded."""
    return DomainError(
        Reason.ANSWER_INVALID,
        f"the model's answer does not meet the demanded format: {problem}",
        upstream=upstream,
        problem=problem,
    )
