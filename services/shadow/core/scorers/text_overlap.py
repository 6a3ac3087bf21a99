"""`text_overlap@1`: shared characters and nearness of meaning. For summarization, translation, generation."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.blend import blended
from services.shadow.core.scorers.calls import calls_f1
from services.shadow.core.scorers.chrf import chrf
from services.shadow.core.scorers.meaning import Embed, nearness
from services.shadow.core.scorers.standing import settled
from services.shadow.core.scorers.texts import bare


class TextOverlap:
    """Half chrF, half nearness; chrF alone where the encoder can't read. Symmetric."""

    name = "text_overlap@1"

    def __init__(self, embed: Embed) -> None:
        self._embed = embed

    def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None = None) -> Fraction:
        """How much two texts share. Answers of tool calls are compared as such."""
        known = settled(a, b, schema)
        if known is not None:
            return known
        return calls_f1(a.tool_calls, b.tool_calls) if a.tool_calls else self.texts(a.text, b.text)

    def texts(self, text: str, reference: str) -> Fraction:
        """Two texts, neither of them empty."""
        if bare(text) == bare(reference):
            return Fraction(1)
        return blended(chrf(text, reference), nearness(text, reference, self._embed))
