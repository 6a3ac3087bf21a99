"""A leg's answer from its plain parts, how it stands, and what of its score is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from services.shadow.core.scorers.answer import Answer, ToolCall
from services.shadow.core.scorers.registry import sees_all_calls
from services.shadow.core.scorers.standing import Standing, standing

MILLION = 1_000_000
_REASONS = {
    Standing.ANSWER: "",
    Standing.REFUSED: "refused",
    Standing.EMPTY: "empty",
    Standing.INVALID: "invalid",
}


def answer(text: str, tool_calls: Sequence[tuple[str, str]] = (), refusal: str = "") -> Answer:
    """An answer to be scored.

    Args:
        text: what is said.
        tool_calls: (name, arguments as they were written), all of the turn: none hangs on what another says.
        refusal: what is said instead.
    """
    return Answer(text, tuple(ToolCall(name, arguments) for name, arguments in tool_calls), refusal)


def shown(whole: Answer, scorer: str) -> Answer:
    """What a scorer of this name is given of an answer."""
    return whole if sees_all_calls(scorer) else replace(whole, tool_calls=whole.tool_calls[:1])


def reason_of(sovereign: Answer, schema: Mapping[str, Any] | None) -> str:
    """Why an answer is none that the request asked for: `refused`, `empty`, `invalid`; empty if it is one."""
    return _REASONS[standing(sovereign, schema)]


def rounded_down(agreement: Fraction) -> int:
    """A sovereign agreement in millionths: rounding never helps it."""
    return (agreement * MILLION).__floor__()


def rounded_up(agreement: Fraction) -> int:
    """The noise's agreement in millionths."""
    return (agreement * MILLION).__ceil__()
