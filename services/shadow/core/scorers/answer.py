"""An answer as the scorers see it: what the application would have got of one leg."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that a model asked for; it was never made."""

    name: str
    arguments_json: str
    """As the model wrote them; they may be no JSON at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole. A leg that failed gave none: the triplet scores it 0 without a scorer."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str = ""
    """The model's own `refusal`; words of refusal in `text` are text."""
    finish_reason: str = ""
    """`stop`, `length`, `tool_calls`, `content_filter` or empty."""

    @property
    def refused(self) -> bool:
        """Whether the model, or a filter behind it, declined."""
        return bool(self.refusal.strip()) or self.finish_reason == "content_filter"

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it: no text and no call."""
        return not self.text.strip() and not self.tool_calls
