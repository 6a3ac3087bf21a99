"""`token_f1@1`: shared words and nearness of meaning. For answers to questions on a context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.blend import blended
from services.shadow.core.scorers.calls import calls_f1
from services.shadow.core.scorers.meaning import Embed, nearness
from services.shadow.core.scorers.standing import settled
from services.shadow.core.scorers.texts import bare, tokens


class TokenF1:
    """Half F1 over words, half nearness; F1 alone where the encoder can't read. Symmetric."""

    name = "token_f1@1"

    def __init__(self, embed: Embed) -> None:
        self._embed = embed

    def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None = None) -> Fraction:
        """How many words two answers share. Answers of tool calls are compared as such."""
        known = settled(a, b, schema)
        if known is not None:
            return known
        if a.tool_calls:
            return calls_f1(a.tool_calls, b.tool_calls)
        if bare(a.text) == bare(b.text):
            return Fraction(1)
        return blended(token_f1(a.text, b.text), nearness(a.text, b.text, self._embed))


def token_f1(text: str, reference: str) -> float:
    """F1 over words, each counted as often as it stands there; 0 if a text has none."""
    mine, other = Counter(tokens(text)), Counter(tokens(reference))
    shared = (mine & other).total()
    return 2 * shared / (mine.total() + other.total()) if shared else 0.0
