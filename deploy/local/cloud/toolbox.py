"""Chooses the tool to call, and fills its arguments."""

from __future__ import annotations

import random

import orjson

from deploy.local.cloud import extract, pick
from deploy.local.cloud.ask import Ask, Tool
from deploy.local.cloud.pick import Source
from deploy.local.cloud.schema import Filler


def choose(ask: Ask) -> Tool | None:
    """The tool to call; None if the answer is to be text.

    It is the one whose name and description share most words with the last message of the user. With
    `auto` it must share one, and what follows a tool's result is text.
    """
    if not ask.tools or ask.tool_choice == "none":
        return None
    if ask.tool_choice.startswith("="):
        return next((tool for tool in ask.tools if tool.name == ask.tool_choice[1:]), None)
    best = max(ask.tools, key=lambda tool: _overlap(tool, ask))
    if ask.tool_choice == "required":
        return best
    if ask.turns[-1].role == "tool" or not _overlap(best, ask):
        return None
    return best


def arguments(tool: Tool, ask: Ask, noise: random.Random | None) -> str:
    """The arguments of a call, as JSON that is valid under the tool's schema."""
    source = Source(_last_user(ask), noise, ask.temperature)
    return orjson.dumps(Filler(tool.parameters, source, required_only=True).fill()).decode()


def _overlap(tool: Tool, ask: Ask) -> int:
    about = extract.stems(f"{pick.name_words(tool.name)} {tool.description}")
    return len(about & extract.stems(_last_user(ask)))


def _last_user(ask: Ask) -> str:
    return next((turn.text for turn in reversed(ask.turns) if turn.role == "user"), "")
