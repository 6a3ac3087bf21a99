"""`exact_match@1`: the same label or not. For classification."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import orjson

from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.json_values import read_arguments, read_json
from services.shadow.core.scorers.standing import settled
from services.shadow.core.scorers.texts import bare


class ExactMatch:
    """1 or 0. Symmetric.

    Texts are compared in NFKC without case, spaces, and what stands around; JSON by its values, whatever the
    order of its keys; calls by names and arguments, in their order.
    """

    name = "exact_match@1"

    def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None = None) -> Fraction:
        """Whether two answers say the same."""
        known = settled(a, b, schema)
        return Fraction(_said(a) == _said(b)) if known is None else known


def _said(answer: Answer) -> object:
    if answer.tool_calls:
        calls = []
        for call in answer.tool_calls:
            arguments = read_arguments(call.arguments_json)
            calls.append((call.name, call.arguments_json if arguments is None else _canonical(arguments)))
        return calls
    read = read_json(answer.text, fenced=True)
    if read is None or not isinstance(read.value, (dict, list)):
        return bare(answer.text)
    return _canonical(read.value)


def _canonical(value: object) -> bytes:
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return bare(value)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
