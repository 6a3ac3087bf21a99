"""JSON schemas of strangers: a value is held to one in bounded time, and nothing is fetched for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from services.common.schema_work import MAX_STEPS, Work

KEPT_SCHEMAS = 512
"""Compiled schemas that are kept: more than an organisation has workloads."""
MAX_BACKTRACKS = 100_000
"""Steps of one `pattern`: an expression that needs more is an attack or a mistake."""
MAX_PROBLEM_CHARS = 300
MAX_SCHEMA_BYTES = 256 * 1024
"""Of a schema's JSON: a fifth of a second to count and compile, and what bounds the kept ones' memory."""


class UnusableError(ValueError):
    """Nothing can be held to the schema; the message says why."""


def usable(schema: Mapping[str, Any]) -> bytes:
    """The JSON of a schema, by which `first_problem` knows it.

    Raises:
        UnusableError: it is none, would take too long, or refers to something outside.
    """
    try:
        key = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
        if len(key) > MAX_SCHEMA_BYTES:
            raise UnusableError(f"it has {len(key)} bytes; at most {MAX_SCHEMA_BYTES} are supported")
        _compiled(key)
    except (
        jsonschema_rs.ValidationError,
        jsonschema_rs.ReferencingError,
        orjson.JSONEncodeError,
        ValueError,
    ) as error:
        raise UnusableError((getattr(error, "message", None) or str(error))[:MAX_PROBLEM_CHARS]) from None
    return key


def first_problem(schema: bytes, value: object) -> str:
    """The first thing in a value that breaks a usable schema; empty if nothing does."""
    validator, work, names = _compiled(schema)
    if work.steps(value) > MAX_STEPS:
        return "it is too large, or nests too deep, to be checked against this schema"
    try:
        # Stops at the first; `iter_errors` collects them all before it gives one.
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return _told(error, names)[:MAX_PROBLEM_CHARS]
    return ""


def _told(error: jsonschema_rs.ValidationError, names: frozenset[str]) -> str:
    """The problem without the names that only the value has: an answer may have put anybody's data there."""
    steps = (str(step) if isinstance(step, int) or step in names else "*" for step in error.instance_path)
    where = "/".join(steps) or "it"
    kind = type(error.kind).__name__
    if kind in ("AdditionalProperties", "UnevaluatedProperties"):
        return f"{where}: it has properties that the schema does not allow"
    if kind == "PropertyNames":
        return f"{where}: the name of one of its properties is not as the schema has it"
    return f"{where}: {error.message}"


@lru_cache(KEPT_SCHEMAS)
def _compiled(schema: bytes) -> tuple[jsonschema_rs.Validator, Work, frozenset[str]]:
    document = orjson.loads(schema)
    # Counted first: what never ends might not end while it is compiled either.
    work = Work(document)
    validator = jsonschema_rs.validator_for(
        document,
        # The problem gets into traces, where nobody's answer may be.
        mask="the value",
        retriever=_nothing_outside,
        pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS),
    )
    return validator, work, frozenset(_property_names(document))


def _property_names(document: object) -> Iterator[str]:
    """The names that the schema itself gives to properties."""
    parts = [document]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if isinstance(named := part.get("properties"), dict):
                yield from named
            parts += part.values()
        elif isinstance(part, list):
            parts += part


def _nothing_outside(uri: str) -> Any:
    # A schema comes from an application; it must not make a service fetch anything.
    raise ValueError(f"the schema refers to {uri!r}, which is outside of it")
