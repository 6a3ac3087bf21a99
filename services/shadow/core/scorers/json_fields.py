"""`json_fields@1`: which fields are right. For extraction."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.calls import calls_f1
from services.shadow.core.scorers.json_values import LEAF, leaf_f1, likeness, read_json
from services.shadow.core.scorers.standing import settled


class JsonFields:
    """F1 over the leaves of two JSON values, behind the gate of the schema. Symmetric."""

    name = "json_fields@1"

    def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None = None) -> Fraction:
        """How many fields agree.

        Without a schema, JSON may stand in a block of Markdown. JSON against none is 0; two texts that are
        none are compared as one string each.
        """
        known = settled(a, b, schema)
        if known is not None:
            return known
        if a.tool_calls:
            return calls_f1(a.tool_calls, b.tool_calls)
        mine, other = (read_json(answer.text, fenced=schema is None) for answer in (a, b))
        if mine is not None and other is not None:
            return leaf_f1(mine.value, other.value)
        if mine is None and other is None:
            return Fraction(likeness(a.text, b.text), LEAF)
        return Fraction(0)
