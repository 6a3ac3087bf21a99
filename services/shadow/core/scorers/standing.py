"""What an answer is before anyone reads it: an answer, a refusal, nothing, or not what the request asked for.

Answers that stand differently agree 0. Two that both break the schema are compared like any two: had they
agreed 1 (or 0), a workload whose cloud always breaks it would find any model at parity.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from fractions import Fraction
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.json_values import read_arguments, read_json

KEPT_SCHEMAS = 256
"""Compiled schemas that are kept: more than the workloads that are shadowed at once."""
MAX_BACKTRACKS = 100_000
"""Steps of one `pattern`, as at the router."""


class Standing(Enum):
    """How an answer stands."""

    ANSWER = auto()
    REFUSED = auto()
    EMPTY = auto()
    INVALID = auto()
    """It breaks the schema, or the arguments of a call are no JSON object."""


def settled(a: Answer, b: Answer, schema: Mapping[str, Any] | None) -> Fraction | None:
    """How much two answers agree if that needs no reading; None if it does.

    Two answers with tool calls, and two without, are left to the scorer.
    """
    mine, other = standing(a, schema), standing(b, schema)
    if mine is not other:
        return Fraction(0)
    if mine in (Standing.REFUSED, Standing.EMPTY):
        return Fraction(1)
    if bool(a.tool_calls) != bool(b.tool_calls):
        return Fraction(0)
    return None


def standing(answer: Answer, schema: Mapping[str, Any] | None) -> Standing:
    """How an answer stands. A schema holds for the text; an answer of calls is held to the calls' form."""
    if answer.refused:
        return Standing.REFUSED
    if answer.empty:
        return Standing.EMPTY
    if answer.tool_calls:
        readable = all(read_arguments(call.arguments_json) is not None for call in answer.tool_calls)
        return Standing.ANSWER if readable else Standing.INVALID
    if schema is not None and not _meets(answer.text, orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)):
        return Standing.INVALID
    return Standing.ANSWER


def _meets(text: str, schema: bytes) -> bool:
    value = read_json(text)
    if value is None:
        return False
    validator = _compiled(schema)
    return validator is None or validator.is_valid(value.value)


@lru_cache(KEPT_SCHEMAS)
def _compiled(schema: bytes) -> jsonschema_rs.Validator | None:
    """None for a schema that is none: then an answer need only be JSON."""
    try:
        return jsonschema_rs.validator_for(
            orjson.loads(schema),
            retriever=_nothing_outside,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS),
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
        return None


def _nothing_outside(uri: str) -> Any:
    raise ValueError(f"the schema refers to {uri}; put it under `$defs`")
