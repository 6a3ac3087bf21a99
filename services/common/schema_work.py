"""How much work a JSON schema can make, so that one that would never end is refused before it is used.

A validator tries each alternative of `anyOf` and the like, and follows references each time that it meets
them: a few hundred bytes of schema can ask for 2^n steps at one place, and for k^depth over an answer that
nests. Both are counted here, with the references followed. What can't be counted is refused.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

MAX_CHECKS_AT_ONE_PLACE = 1000
"""Subschemas that one value may be held to. Generated schemas of large unions have a few dozen."""
MAX_CHAIN = 250
"""Subschemas within each other at one place. Those of people have a few; the count itself goes as deep."""
MAX_STEPS = 10_000_000
"""Subschemas that all values of an answer may be held to, one after the other: a second at the most."""
PATTERN_STEPS = 10_000
"""Steps that an expression counts for which may run into the limit of backtracking: about a millisecond."""
MAX_COUNTED = 200_000
"""Subschemas that are visited to tell the levels of an answer apart; beyond, all are taken for the worst."""

_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLES = ("not", "if", "then", "else")
_MAPS = ("dependentSchemas", "dependencies")
_NAMED_INWARDS = ("properties", "patternProperties")
AGAIN = 3
"""Times that what holds at a place is gone through where `unevaluated…` asks what it has looked at."""
_UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
_ONE_LOOK = frozenset(
    {"properties", "additionalProperties", "propertyNames", "items", "prefixItems", "additionalItems"}
)
"""Keywords that together look once at what is within a value."""
_MORE_LOOKS = ("contains", *_UNEVALUATED)
"""Those that look at it once more each."""
_INWARDS = frozenset({*_NAMED_INWARDS, *_ONE_LOOK, *_MORE_LOOKS})
"""Keywords that look at what is within a value."""
_BACKTRACKS = re.compile(r"\(\?(?!:)|\\[1-9kgGK]|[*+?}]\+")
"""What makes the engine of expressions backtrack: looking around, back references, possessive repetition."""


class TooMuchError(ValueError):
    """The schema can't be used; the message says why."""


class _Place(NamedTuple):
    """What a value is held to at the place of a node."""

    checks: int
    inwards: int
    """Of the checks, how many look at what is within the value."""
    steps: int


_NOTHING = _Place(1, 0, 1)
"""Of `true`, `false`, and where nothing is said."""


class Work:
    """The work that one schema makes."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """
        Raises:
            TooMuchError: one place of a value would be held to more than MAX_CHECKS_AT_ONE_PLACE subschemas,
                or to one that refers to itself, or the schema refers by something else than `#` or `#/…`.
        """
        self._count = _Count(schema)
        self._worst = _worst([self._count.at(node) for node in self._reached(schema)])
        self._levels: list[_Place] = []
        self._next: dict[int, object] = {id(schema): schema}
        self._counted = 0
        # Threads share what is compiled.
        self._lock = threading.Lock()

    def steps(self, value: object) -> int:
        """The most steps that a JSON value takes; not counted further than beyond MAX_STEPS."""
        total, looks, depth = 0, 1, 0
        values = [value]
        while values and total <= MAX_STEPS:
            place = self._level(depth)
            total += len(values) * looks * place.steps
            looks *= max(1, place.inwards)
            depth += 1
            values = [item for value in values for item in _within(value)]
        return total

    def _level(self, depth: int) -> _Place:
        """The worst of all places at a depth of the value."""
        with self._lock:
            while len(self._levels) <= depth:
                if self._counted > MAX_COUNTED:
                    return self._worst
                nodes = self._closure(self._next)
                self._counted += len(nodes)
                places = [self._count.at(node) for node in self._next.values()]
                self._levels.append(_worst(places))
                self._next = {id(part): part for node in nodes for part in _inwards(node)}
            return self._levels[depth]

    def _reached(self, schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """All that any value may be held to, at any depth."""
        found: dict[int, Mapping[str, Any]] = {}
        todo: list[object] = [schema]
        while todo:
            node = todo.pop()
            if isinstance(node, Mapping) and id(node) not in found:
                found[id(node)] = node
                todo += [*self._count.in_place(node), *_inwards(node)]
        return list(found.values())

    def _closure(self, nodes: Mapping[int, object]) -> list[Mapping[str, Any]]:
        """The nodes, and all that holds at the same places."""
        found: dict[int, Mapping[str, Any]] = {}
        todo = list(nodes.values())
        while todo:
            node = todo.pop()
            if isinstance(node, Mapping) and id(node) not in found:
                found[id(node)] = node
                todo += self._count.in_place(node)
        return list(found.values())


class _Count:
    """Counts what holds at the place of a node."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        # Names of a part that give `#` another meaning within it.
        self._names = ("$id", "$schema", *(("id",) if "draft-04" in str(root.get("$schema")) else ()))
        self._known: dict[int, _Place] = {}
        self._open: set[int] = set()

    def at(self, node: object) -> _Place:
        if not isinstance(node, Mapping):
            return _NOTHING
        key = id(node)
        if key in self._known:
            return self._known[key]
        if key in self._open:
            raise TooMuchError("a part of it refers to itself without going deeper")
        if len(self._open) >= MAX_CHAIN:
            raise TooMuchError(f"more than {MAX_CHAIN} of its parts lie or refer within each other")
        self._open.add(key)
        patterns = _map(node, "patternProperties")
        # A pattern may look at what a name does too.
        again = AGAIN if any(name in node for name in _UNEVALUATED) else 1
        inwards = int(not _ONE_LOOK.isdisjoint(node)) + len(patterns)
        inwards += sum(name in node for name in _MORE_LOOKS)
        checks = 1
        steps = 1 + PATTERN_STEPS * sum(map(_backtracks, [node.get("pattern"), *patterns]))
        for part in self.in_place(node):
            more = self.at(part)
            checks += again * more.checks
            inwards += again * more.inwards
            steps += again * more.steps
            if checks > MAX_CHECKS_AT_ONE_PLACE:
                raise TooMuchError(
                    f"it holds one value to more than {MAX_CHECKS_AT_ONE_PLACE} subschemas,"
                    " references followed"
                )
        self._open.remove(key)
        self._known[key] = _Place(checks, inwards, steps)
        return self._known[key]

    def in_place(self, node: Mapping[str, Any]) -> list[object]:
        """The subschemas that hold for the same value."""
        self._check_names(node)
        for name in ("$dynamicRef", "$recursiveRef"):
            if isinstance(node.get(name), str):
                raise TooMuchError(f"{name} is not supported; use $ref")
        parts: list[object] = []
        for name in _LISTS:
            value = node.get(name)
            parts += value if isinstance(value, list) else []
        parts += [node[name] for name in _SINGLES if name in node]
        for name in _MAPS:
            parts += [item for item in _map(node, name).values() if not isinstance(item, list)]
        if isinstance(node.get("$ref"), str):
            parts.append(self._target(node["$ref"]))
        return parts

    def _check_names(self, node: object) -> None:
        """Fails for a part within which `#` is another place."""
        if node is self._root or not isinstance(node, Mapping):
            return
        for name in self._names:
            if isinstance(node.get(name), str):
                raise TooMuchError(f"{name} is supported at its root alone")

    def _target(self, reference: str) -> object:
        path = unquote(reference)
        if path != "#" and not path.startswith("#/"):
            raise TooMuchError(f"it refers to {reference[:80]!r}; only # and #/… are supported")
        target: Any = self._root
        for step in path[2:].split("/") if len(path) > 1 else ():
            self._check_names(target)
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, Mapping) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                raise TooMuchError(f"it refers to {reference[:80]!r}, which is not there")
        return target


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _inwards(node: Mapping[str, Any]) -> list[object]:
    """The subschemas that hold for what is within a value."""
    parts: list[object] = []
    for name in _INWARDS:
        value = node.get(name)
        if name in _NAMED_INWARDS:
            parts += _map(node, name).values()
        elif isinstance(value, list):
            parts += value
        else:
            parts += [value] if isinstance(value, Mapping) else []
    return parts


def _map(node: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = node.get(name)
    return value if isinstance(value, Mapping) else {}


def _backtracks(pattern: object) -> bool:
    return isinstance(pattern, str) and _BACKTRACKS.search(pattern) is not None


def _worst(places: Sequence[_Place]) -> _Place:
    return _Place(*map(max, zip(*places, strict=True))) if places else _NOTHING
