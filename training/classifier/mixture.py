"""Which rows an epoch sees: all that real users asked and applications sent, a few of each data set's."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.seen import Seen, cut
from training.classifier.rows import Row

CAP = 300
"""Rows of one source in an epoch: a data set of 3,500 rows has no ten times as much to say."""
CAPS = {"P3/T0 (self-instruct copy)": 700, "super-natural-instructions": 700}
"""Of sources that are many data sets each."""
WHOLE = (
    "Auto-J",
    "Arena-Hard",
    "Self-Instruct",
    "BiGGen-Bench",
    "LegalBench",
    "Vicuna",
    "MT-bench",
    "BFCL live",
)
"""How the names of sources begin that every epoch sees whole: real users' queries, and the tuning rows."""
TWICE = ("fabric", "langchain", "llama_index", "graphrag", "anthropic-cookbook", "semantic-kernel")
"""Of those that it sees twice: the prompts of applications."""
TOOL_CHARS = 1500
"""Of the tools' descriptions that are told."""


def seen_of(row: Row) -> Seen:
    """A row as the router would show it to the classifier."""
    return cut(
        "\n".join(content for role, content in row.messages if role == "system"),
        [content for role, content in row.messages if role != "system"],
        tool_names=[tool["name"] for tool in row.tools],
    )


def without_tools(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows as training reads them. None carries tools: a request that does needs no text to be known.

    Before there was a field for tools applications told of them in the prompt, and many still do.
    So a row with described tools stays with them told in the system prompt or before the question. A
    row whose tools have no description goes.
    """
    random = np.random.default_rng(seed)
    kept: list[Row] = []
    for row in rows:
        if not row.tools:
            kept.append(row)
        elif any(tool.get("description") for tool in row.tools):
            told = _OPENINGS[random.integers(len(_OPENINGS))] + _told(row.tools, bool(random.integers(2)))
            kept.append(replace(row, tools=(), messages=_with(told, row.messages, bool(random.integers(2)))))
    return kept


def drawn(rows: Sequence[Row], epochs: int, seed: int) -> list[NDArray[np.int64]]:
    """The rows of each epoch: of each source another draw up to its cap."""
    random = np.random.default_rng(seed)
    by_source = _by_source(rows)
    found: list[NDArray[np.int64]] = []
    for _ in range(epochs):
        parts: list[NDArray[np.int64]] = []
        for source in sorted(by_source):
            places = random.permutation(by_source[source])
            if source.startswith(TWICE):
                parts += [places, places]
            else:
                parts.append(places[: _cap(source)])
        found.append(np.concatenate(parts))
    return found


def fitting_weights(rows: Sequence[Row]) -> NDArray[np.float32]:
    """How often an epoch sees each row on average: the weights of a head that is fitted on all at once."""
    weights = np.empty(len(rows), np.float32)
    for source, places in _by_source(rows).items():
        weights[places] = 2 if source.startswith(TWICE) else min(1, _cap(source) / len(places))
    return weights


def _cap(source: str) -> int:
    return 10**9 if source.startswith(WHOLE) else CAPS.get(source, CAP)


def _by_source(rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[row.source].append(place)
    return {source: np.array(found) for source, found in places.items()}


_OPENINGS = (
    "You have access to the following tools:\n",
    "You are an agent. Use these functions to answer:\n",
    "Tools:\n",
    "Answer by calling one of the functions below. Reply with the call only.\n",
    "The following APIs are available.\n",
    "You are given a list of functions. Choose which to call and with what arguments.\n",
    "[AVAILABLE_TOOLS]\n",
    "Use the tools when you need them. Thought, Action, Action Input, Observation.\n",
)


def _told(tools: Sequence[Mapping[str, Any]], as_json: bool) -> str:
    if as_json:
        return json.dumps(tools, ensure_ascii=False)[:TOOL_CHARS]
    lines = (
        f"{number}. {tool['name']}: {tool.get('description', '')}" for number, tool in enumerate(tools, 1)
    )
    return "\n".join(lines)[:TOOL_CHARS]


def _with(told: str, messages: Sequence[tuple[str, str]], in_system: bool) -> tuple[tuple[str, str], ...]:
    (role, first), *rest = [message for message in messages if message[0] != "system"]
    if in_system:
        return (("system", told), (role, first), *rest)
    return ((role, f"{told}\n\n{first}"), *rest)
