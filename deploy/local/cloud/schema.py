"""Fills a JSON schema with values from a text, so that the result is valid under the schema.

The subset is that of OpenAI's structured outputs (platform.openai.com/docs/guides/structured-outputs):
object, array, string, number, integer, boolean, null, enum, const, anyOf, $ref and $defs, with the limits
on lengths and numbers; and allOf and oneOf as far as their parts don't contradict each other. A `pattern`
is met only by what the text has or by a few plain words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from deploy.local.cloud import pick
from deploy.local.cloud.choose import Option, name_words
from deploy.local.cloud.pick import Source
from deploy.local.cloud.settle import MAX_DEPTH, Settler, kind_of, refused

SHALLOW = 5
"""Below this depth what can be left out is left out, so that a recursive schema comes to its end."""
MANY = 500
"""After this many values, too."""
MAX_LENGTH = 10_000
"""Most items or characters that a schema may ask for."""
MAX_ITEMS = 3
"""Items of an array that asks for no number."""

_PLAIN = ("a", "A", "0", "1", "abc", "ABC", "Abc", "123", "2000", "a1", "A1", "a-b", "ABC-123", "1.0", "true")


class Filler:
    """Fills one schema."""

    def __init__(self, root: Mapping[str, Any], source: Source, *, required_only: bool = False) -> None:
        """Takes the schema that `$ref` refers into, and what to fill it from.

        Args:
            root: the schema.
            source: where the values come from.
            required_only: leaves out the properties that may be left out.
        """
        self._root = root
        self._settler = Settler(root)
        self._source = source
        self._required_only = required_only
        self._values = 0

    def fill(self) -> Any:
        """The value.

        Raises:
            ApiError: the schema is endless or nothing can be valid under it.
        """
        try:
            return self._value(self._root, "", 0)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise refused(f"it is not a JSON schema ({error})") from None

    def _value(self, schema: Any, name: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise refused("it refers to itself without an end")
        self._values += 1
        if schema is False:
            raise refused(f"nothing is valid for '{name}'")
        if constants := _constants(schema):
            options = [Option(str(value), description) for value, description in constants]
            return constants[self._source.choose(options)][0]
        schema = self._settled(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._source.choose([Option(str(value)) for value in schema["enum"]])]
        kind = kind_of(schema)
        hint = f"{name_words(name)} {schema.get('title', '')} {schema.get('description', '')}"
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("number", "integer"):
            return self._number(schema, hint, whole=kind == "integer")
        if kind == "boolean":
            return self._source.mentions(hint) > 0
        return None if kind == "null" else self._string(schema, name)

    def _settled(self, schema: Any, depth: int) -> Mapping[str, Any]:
        if not isinstance(schema, Mapping):
            return {}
        return self._settler.settle(schema, simplest=self._is_deep(depth))

    def _is_deep(self, depth: int) -> bool:
        return depth > SHALLOW or self._values > MANY

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required = list(schema.get("required") or ())
        few = self._required_only or self._is_deep(depth)
        wanted = required if few else [*properties, *(name for name in required if name not in properties)]
        return {
            name: self._value(properties.get(name, {}), name, depth + 1)
            for name in wanted
            if properties.get(name) is not False
        }

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        least = _limited(schema.get("minItems", 0))
        most = schema.get("maxItems", max(MAX_ITEMS, least))
        filled = [self._value(item, name, depth + 1) for item in schema.get("prefixItems") or ()][:most]
        items = schema.get("items", {})
        if items is False or most <= len(filled):
            return filled
        inner = self._settled(items, depth + 1)
        count = max(least, min(most, len(filled) + self._usual_count(inner, depth)))
        if inner.get("enum"):
            ranked = [inner["enum"][index] for _, index in self._source.rank(inner["enum"])]
            return filled + [ranked[i % len(ranked)] for i in range(count - len(filled))]
        return filled + [self._value(items, name, depth + 1) for _ in range(count - len(filled))]

    def _usual_count(self, item: Mapping[str, Any], depth: int) -> int:
        if self._is_deep(depth):
            return 0
        if item.get("enum"):
            return sum(times > 0 for times, _ in self._source.rank(item["enum"]))
        return MAX_ITEMS if kind_of(item) in ("string", "number", "integer") else 1

    def _number(self, schema: Mapping[str, Any], hint: str, *, whole: bool) -> float:
        least, above = schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf)
        most, below = schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf)
        step = schema.get("multipleOf") or (1 if whole else None)

        def fits(value: float) -> bool:
            return (
                least <= value <= most
                and above < value < below
                and (not whole or value == int(value))
                and (not step or abs(value / step - round(value / step)) < 1e-9)
            )

        found = self._source.numbers(hint, fits)
        if found is None:
            found = next(
                (value for value in _candidates(max(least, above), min(most, below), step) if fits(value)),
                None,
            )
        if found is None:
            raise refused("no number is within its limits")
        return int(found) if whole else found

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        if pattern := schema.get("pattern"):
            return self._by_pattern(pattern)
        if schema.get("format") in pick.FORMATS:
            finder, default = pick.FORMATS[schema["format"]]
            match = finder.search(self._source.text)
            return match[0] if match else default
        value = self._source.string(name, f"{schema.get('title', '')} {schema.get('description', '')}")
        most = schema.get("maxLength")
        return value[:most].ljust(_limited(schema.get("minLength", 0)), ".")

    def _by_pattern(self, pattern: str) -> str:
        try:
            compiled = re.compile(pattern)
        except re.error:
            raise refused(f"pattern {pattern[:80]!r} can't be read") from None
        found = self._source.matching(compiled)
        found = found or next((plain for plain in _PLAIN if compiled.search(plain)), None)
        if found is None:
            raise refused(f"the stand-in finds nothing that matches the pattern {pattern[:80]!r}")
        return found


def _constants(schema: Any) -> list[tuple[Any, str]]:
    """The values of alternatives that are all constants, each with its description."""
    alternatives = schema.get("oneOf") or schema.get("anyOf") if isinstance(schema, Mapping) else None
    if not alternatives or not all(isinstance(one, Mapping) and "const" in one for one in alternatives):
        return []
    return [(one["const"], str(one.get("description", ""))) for one in alternatives]


def _limited(length: int) -> int:
    if length > MAX_LENGTH:
        raise refused(f"it asks for a length of {length}, and the stand-in gives {MAX_LENGTH} at most")
    return length


def _candidates(low: float, high: float, step: float | None) -> list[float]:
    values: list[float] = [0, 1]
    for end, way in ((low, 1), (high, -1)):
        if math.isfinite(end):
            values += [end, end + way, math.ceil(end), math.floor(end)]
            if step:
                near = (math.ceil if way > 0 else math.floor)(end / step)
                values += [near * step, (near + way) * step]
    if math.isfinite(low) and math.isfinite(high):
        values.append((low + high) / 2)
    return values
