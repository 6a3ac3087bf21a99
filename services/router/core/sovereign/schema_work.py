"""How much work a JSON schema can make, so that one that would never end is refused before it is used.

A validator tries each alternative of `anyOf` and the like, and follows references each time that it meets
them: a few hundred bytes of schema can ask for 2^n steps at one place, and for k^depth over an answer that
nests. Both are counted here, with the references followed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_CHECKS_AT_ONE_PLACE = 1000
"""Subschemas that one value may be held to. Generated schemas of large unions have a few dozen."""
MAX_VISITS = 1_000_000
"""Times that a value may be looked at, at any depth: about a second."""

_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLES = ("not", "if", "then", "else")
_INWARDS = frozenset(
    {
        *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties"),
        *("items", "prefixItems", "additionalItems", "contains", "unevaluatedItems", "propertyNames"),
    }
)
"""Keywords that look at what is within a value."""


class TooMuchError(ValueError):
    """The schema can't be used; the message says why."""


def max_depth(schema: Mapping[str, Any]) -> int | None:
    """How deep a value may nest that is held to the schema; None is as deep as it likes.

    Raises:
        TooMuchError: one place of a value would be held to more than MAX_CHECKS_AT_ONE_PLACE subschemas, or
            to one that refers to itself, or the schema refers by something else than `#` or `#/…`.
    """
    count = _Count(schema)
    most = max((count.at(node)[1] for node in _nodes(schema)), default=0)
    return None if most < 2 else int(math.log(MAX_VISITS) / math.log(most))


def depth_of(value: object) -> int:
    """How deep a JSON value nests; 0 for one that is no list or object."""
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [
            item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder)
        ]
    return depth


class _Count:
    """Counts (subschemas, subschemas that look inwards) at the place of a node."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def at(self, node: object) -> tuple[int, int]:
        if not isinstance(node, Mapping):
            return 1, 0
        key = id(node)
        if key in self._known:
            return self._known[key]
        if key in self._open:
            raise TooMuchError("a part of it refers to itself without going deeper")
        self._open.add(key)
        # A pattern may look at what a name does too.
        patterns = node.get("patternProperties")
        inwards = int(not _INWARDS.isdisjoint(node)) + (len(patterns) if isinstance(patterns, Mapping) else 0)
        checks = 1
        for part in self._in_place(node):
            more = self.at(part)
            checks, inwards = checks + more[0], inwards + more[1]
            if checks > MAX_CHECKS_AT_ONE_PLACE:
                raise TooMuchError(
                    f"it holds one value to more than {MAX_CHECKS_AT_ONE_PLACE} subschemas,"
                    " references followed"
                )
        self._open.remove(key)
        self._known[key] = checks, inwards
        return checks, inwards

    def _in_place(self, node: Mapping[str, Any]) -> list[object]:
        parts: list[object] = []
        for name in _LISTS:
            value = node.get(name)
            parts += value if isinstance(value, list) else []
        parts += [node[name] for name in _SINGLES if name in node]
        dependent = node.get("dependentSchemas")
        parts += dependent.values() if isinstance(dependent, Mapping) else []
        for name in ("$dynamicRef", "$recursiveRef"):
            if isinstance(node.get(name), str):
                raise TooMuchError(f"{name} is not supported; use $ref")
        if isinstance(node.get("$ref"), str):
            parts.append(self._target(node["$ref"]))
        return parts

    def _target(self, reference: str) -> object:
        if reference != "#" and not reference.startswith("#/"):
            raise TooMuchError(f"it refers to {reference[:80]!r}; only # and #/… are supported")
        target: Any = self._root
        for step in reference[2:].split("/") if len(reference) > 1 else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                raise TooMuchError(f"it refers to {reference[:80]!r}, which is not there")
        return target


def _nodes(schema: object) -> list[Mapping[str, Any]]:
    """All objects within a schema; some are no subschemas, which does no harm."""
    found: list[Mapping[str, Any]] = []
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, Mapping):
            found.append(node)
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found
