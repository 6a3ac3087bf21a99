"""What an answer is before anyone reads it: an answer, a refusal, nothing, or not what the request asked for.

Answers that stand differently agree 0. Two that both break the schema are compared like any two: had they
agreed 1 (or 0), a workload whose cloud always breaks it would find any model at parity.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from fractions import Fraction
from typing import Any

from services.common.schemas import UnusableError, first_problem, usable
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.json_values import read_arguments, read_json


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
    if schema is not None and not _meets(answer.text, schema):
        return Standing.INVALID
    return Standing.ANSWER


def _meets(text: str, schema: Mapping[str, Any]) -> bool:
    value = read_json(text)
    if value is None:
        return False
    try:
        key = usable(schema)
    # The router refuses it for a model at home; of the others, an answer need only be JSON.
    except UnusableError:
        return True
    return not first_problem(key, value.value)
