"""Settles what a JSON schema leaves open: follows `$ref`, joins `allOf`, chooses from `anyOf`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.local.cloud.errors import ApiError, invalid

MAX_DEPTH = 60
"""Depth at which a schema counts as endless."""


class Settler:
    """Settles the parts of one schema."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        """Takes the schema that `$ref` refers into."""
        self._root = root

    def settle(self, schema: Mapping[str, Any], *, simplest: bool) -> Mapping[str, Any]:
        """The schema without references and alternatives, of which the simplest or the first is chosen."""
        for _ in range(MAX_DEPTH):
            rest = dict(schema)
            if "$ref" in rest:
                schema = {**self._resolve(rest.pop("$ref")), **rest}
            elif rest.get("allOf"):
                schema = _merged(rest.pop("allOf"), rest)
            elif rest.get("anyOf") or rest.get("oneOf"):
                options = rest.pop("anyOf", None) or rest.pop("oneOf")
                schema = {**rest, **_alternative(options, simplest=simplest)}
            else:
                return schema
        raise refused("it refers to itself without an end")

    def _resolve(self, reference: Any) -> Mapping[str, Any]:
        node: Any = self._root
        parts = str(reference).split("/")
        for part in parts[1:]:
            node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
        if parts[0] != "#" or not isinstance(node, Mapping):
            raise refused(f"reference {str(reference)[:80]!r} points at nothing")
        return node


def kind_of(schema: Mapping[str, Any]) -> str:
    """The type of value that a schema without alternatives asks for; not null if it has a choice."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _alternative(options: list[Any], *, simplest: bool) -> Mapping[str, Any]:
    def rank(option: Mapping[str, Any]) -> int:
        null = option.get("type") == "null"
        nested = "$ref" in option or kind_of(option) in ("object", "array")
        return (0 if null else 1 + nested) if simplest else int(null)

    return min((option for option in options if isinstance(option, Mapping)), key=rank, default={})


def _merged(parts: list[Any], rest: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in (*parts, rest):
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged.update(part)
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = list(dict.fromkeys(required))
    return merged


def refused(why: str) -> ApiError:
    """The refusal of a schema."""
    return invalid(f"Invalid schema: {why}.", "response_format", "invalid_json_schema")
