"""The scorers by name and version, and which of them fits a task type.

A scorer that would give another number to any pair gets a new version: an experiment names the one that it
was registered with, and what was scored can be scored again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Protocol

from services.common.errors import invalid_request
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.exact_match import ExactMatch
from services.shadow.core.scorers.json_fields import JsonFields
from services.shadow.core.scorers.judge import FORM, judge_model
from services.shadow.core.scorers.meaning import Embed
from services.shadow.core.scorers.text_overlap import TextOverlap
from services.shadow.core.scorers.token_f1 import TokenF1
from services.shadow.core.scorers.tool_calls import FirstToolCall, ToolCalls

__all__ = [
    "DEFAULT_SCORERS",
    "KNOWN_SCORERS",
    "SCORER_NAMES",
    "Embed",
    "Scorer",
    "is_scorer",
    "needs_encoder",
    "scorer",
    "sees_all_calls",
]


class Scorer(Protocol):
    """How much two answers agree."""

    name: str
    """With its version: `exact_match@1`."""

    def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None = None) -> Fraction:
        """From 0 to 1. Pure, and exact: on one machine the same each time.

        Args:
            a: the answer that is held against the other.
            b: the reference.
            schema: the JSON schema that the request asked for, if it did.
        """
        ...


_PLAIN: Mapping[str, Callable[[], Scorer]] = {kind.name: kind for kind in (ExactMatch, JsonFields)}
_EMBEDDING: Mapping[str, Callable[[Embed], Scorer]] = {
    kind.name: kind for kind in (TextOverlap, TokenF1, ToolCalls, FirstToolCall)
}

SCORER_NAMES: tuple[str, ...] = (*_PLAIN, *_EMBEDDING)
"""The pure ones: `scorer` makes them."""
KNOWN_SCORERS = ", ".join((*SCORER_NAMES, FORM))
"""What an experiment may name, for people."""

DEFAULT_SCORERS: Mapping[str, str] = {
    "classification": ExactMatch.name,
    "extraction": JsonFields.name,
    "summarization": TextOverlap.name,
    "translation": TextOverlap.name,
    "generation": TextOverlap.name,
    "context_qa": TokenF1.name,
    "tool_use": ToolCalls.name,
}
"""By the label of a task type. Code, reasoning and open-ended work have none: two right answers may share
nothing, so they need a judge, or an owner who names a scorer."""


def is_scorer(name: str) -> bool:
    """Whether an experiment may name it: a pure scorer, or a judge by its model."""
    return name in SCORER_NAMES or judge_model(name) is not None


def sees_all_calls(name: str) -> bool:
    """Whether the scorer of this name is given all calls of a turn. The others were registered with, and keep
    to, the first."""
    return name == ToolCalls.name


def needs_encoder(name: str) -> bool:
    """Whether the scorer of this name needs an `embed`."""
    return name in _EMBEDDING


def scorer(name: str, embed: Embed | None) -> Scorer:
    """The scorer of a name.

    Args:
        name: one of SCORER_NAMES.
        embed: for those that need an encoder; None where none is there.

    Raises:
        DomainError: INVALID_REQUEST, no scorer has this name.
        ValueError: it needs an encoder, and there is none.
    """
    if name in _PLAIN:
        return _PLAIN[name]()
    if name not in _EMBEDDING:
        raise invalid_request("experiment.scorer", f"one of {KNOWN_SCORERS}", name)
    if embed is None:
        raise ValueError(f"{name} needs an encoder")
    return _EMBEDDING[name](embed)
