"""Reads the fields of a request and refuses wrong types in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.local.cloud.errors import ApiError, invalid

_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    dict: "an object",
    list: "an array",
    type(None): "null",
}


def wrong_type(param: str, expected: str, got: object) -> ApiError:
    """The refusal of a value of the wrong type."""
    given = _NAMES.get(type(got), "a value")
    return invalid(
        f"Invalid type for '{param}': expected {expected}, but got {given} instead.",
        param,
        "invalid_type",
    )


def bad_value(param: str, got: object, allowed: Sequence[str]) -> ApiError:
    """The refusal of a value that is none of the allowed ones."""
    listed = ", ".join(f"'{item}'" for item in allowed)
    return invalid(f"Invalid value: '{got}'. Supported values are: {listed}.", param, "invalid_value")


class Fields:
    """An object of a request, with the path that leads to it. Null counts as left out."""

    def __init__(self, document: object, path: str = "") -> None:
        """Takes the object.

        Raises:
            ApiError: it is none.
        """
        if not isinstance(document, Mapping):
            raise wrong_type(path, "an object", document)
        self.document: Mapping[str, Any] = document
        self._path = path

    def param(self, key: str) -> str:
        """The path of one of its fields."""
        return f"{self._path}.{key}" if self._path else key

    def get(self, key: str) -> Any:
        """The value as it is; None if it is left out."""
        return self.document.get(key)

    def need(self, key: str) -> Any:
        """The value of a field that must be there."""
        if self.document.get(key) is None:
            raise invalid(
                f"Missing required parameter: '{self.param(key)}'.",
                self.param(key),
                "missing_required_parameter",
            )
        return self.document[key]

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise wrong_type(self.param(key), "a string", value)
        return value

    def need_text(self, key: str) -> str:
        """A string that must be there."""
        self.need(key)
        return self.text(key)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise wrong_type(self.param(key), "a boolean", value)
        return value

    def whole(self, key: str, least: int, most: int = 2**31) -> int | None:
        """An integer within limits."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(self.param(key), "an integer", value)
        self._within(key, "integer", value, least, most)
        return value

    def number(self, key: str, least: float, most: float) -> float | None:
        """A number within limits."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(self.param(key), "a decimal number", value)
        self._within(key, "decimal", value, least, most)
        return float(value)

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self.text(key, default)
        if value not in allowed:
            raise bad_value(self.param(key), value, allowed)
        return value

    def inner(self, key: str) -> Fields | None:
        """An object within it."""
        value = self.get(key)
        return None if value is None else Fields(value, self.param(key))

    def items(self, key: str) -> list[Any]:
        """An array."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise wrong_type(self.param(key), "an array", value)
        return value

    def objects(self, key: str) -> list[Fields]:
        """An array of objects."""
        return [Fields(item, f"{self.param(key)}[{index}]") for index, item in enumerate(self.items(key))]

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        """A string or an array of strings."""
        value = self.get(key)
        if isinstance(value, str):
            return (value,)
        if value is not None and not isinstance(value, list):
            raise wrong_type(self.param(key), "a string or an array of strings", value)
        items = self.items(key)
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise wrong_type(f"{self.param(key)}[{index}]", "a string", item)
        if len(items) > most:
            raise invalid(
                f"Invalid '{self.param(key)}': array too long. Expected an array with maximum length {most},"
                f" but got an array with length {len(items)} instead.",
                self.param(key),
                "array_above_max_length",
            )
        return tuple(items)

    def _within(self, key: str, kind: str, value: float, least: float, most: float) -> None:
        if least <= value <= most:
            return
        side, sign, limit = ("below minimum", ">=", least) if value < least else ("above maximum", "<=", most)
        raise invalid(
            f"Invalid '{self.param(key)}': {kind} {side} value. Expected a value {sign} {limit}, but got"
            f" {value} instead.",
            self.param(key),
            f"{kind}_{side.split()[0]}_{side.split()[1][:3]}_value",
        )
