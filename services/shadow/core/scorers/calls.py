"""Tool calls beside each other. They were never made: what counts is what the model asked for."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from services.shadow.core.scorers.answer import ToolCall
from services.shadow.core.scorers.json_values import LEAF, MAX_PAIRED, common, leaves, read_arguments
from services.shadow.core.scorers.pairing import most


def calls_f1(a: Sequence[ToolCall], b: Sequence[ToolCall]) -> Fraction:
    """F1 over names and the leaves of arguments. Symmetric.

    Each name is one leaf beside those of its arguments. Calls of one turn have no order: they are paired so
    that as much as possible agrees; calls of different names share nothing.
    """
    if not a or not b:
        return Fraction(not a and not b)
    if min(len(a), len(b)) > MAX_PAIRED:
        shared = sum(_common(mine, other) for mine, other in zip(a, b, strict=False))
    else:
        shared = most([[_common(mine, other) for other in b] for mine in a])
    size = sum(1 + leaves(_arguments(call)) for call in (*a, *b))
    return Fraction(2 * shared, size * LEAF)


def _common(a: ToolCall, b: ToolCall) -> int:
    return LEAF + common(_arguments(a), _arguments(b)) if a.name == b.name else 0


def _arguments(call: ToolCall) -> object:
    arguments = read_arguments(call.arguments_json)
    return call.arguments_json if arguments is None else arguments
