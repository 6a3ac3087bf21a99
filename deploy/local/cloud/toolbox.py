"""Chooses the tool to call, and fills its arguments."""

from __future__ import annotations

import random
import re

import orjson

from deploy.local.cloud import extract
from deploy.local.cloud.ask import Ask, Tool
from deploy.local.cloud.choose import name_words
from deploy.local.cloud.pick import Source
from deploy.local.cloud.schema import Filler

_CALL = re.compile(
    r"(?:^|[.!\n])[ \t]{0,9}(?:call|use|invoke)\b(?![^.\n]{0,200}\b(?:if|when|where)\b)"
    r"[^.\n]{0,60}\b(?:tool|function)s?\b",
    re.IGNORECASE,
)
"""A sentence of the instructions that says to call a tool, come what may."""


def choose(ask: Ask) -> Tool | None:
    """The tool to call; None if the answer is to be text.

    It is the one whose name and description share most words with the last message of the user. With
    `auto` it must share one unless the instructions say to call it, and what follows a tool's result is text.
    """
    if not ask.tools or ask.tool_choice == "none":
        return None
    if ask.tool_choice.startswith("="):
        return next((tool for tool in ask.tools if tool.name == ask.tool_choice[1:]), None)
    best = max(ask.tools, key=lambda tool: _overlap(tool, ask))
    if ask.tool_choice == "required":
        return best
    if ask.turns[-1].role == "tool":
        return None
    return best if _overlap(best, ask) or _CALL.search(ask.instructions) else None


def arguments(tool: Tool, ask: Ask, noise: random.Random | None) -> str:
    """The arguments of a call, as JSON that is valid under the tool's schema."""
    source = Source(ask.question, noise, ask.temperature)
    return orjson.dumps(Filler(tool.parameters, source, required_only=True).fill()).decode()


def _overlap(tool: Tool, ask: Ask) -> int:
    about = extract.stems(f"{name_words(tool.name)} {tool.description}")
    return len(about & extract.stems(ask.question))
