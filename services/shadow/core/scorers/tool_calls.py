"""`tool_calls@2`: the calls that a model asks for first, all of one turn. For tool use."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.calls import calls_f1
from services.shadow.core.scorers.meaning import Embed
from services.shadow.core.scorers.standing import settled
from services.shadow.core.scorers.text_overlap import TextOverlap


class ToolCalls:
    """F1 over names and arguments of the calls of one turn. Symmetric.

    Where neither answer calls a tool, their texts are compared as `text_overlap@1` does: to count any two of
    them as the same would find parity in the turns that follow a tool's result.
    """

    name = "tool_calls@2"

    def __init__(self, embed: Embed) -> None:
        self._texts = TextOverlap(embed)

    def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None = None) -> Fraction:
        """How much the calls agree; a call against none is 0."""
        known = settled(a, b, schema)
        if known is not None:
            return known
        if a.tool_calls:
            return calls_f1(a.tool_calls, b.tool_calls)
        return self._texts.texts(a.text, b.text)


class FirstToolCall(ToolCalls):
    """The same for experiments that were registered while only the first call of a turn was handed over."""

    name = "tool_calls@1"
