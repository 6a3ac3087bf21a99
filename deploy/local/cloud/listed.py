"""Finds the options that instructions list, such as `Answer with one of: billing, bug, other.`"""

from __future__ import annotations

import re
from collections.abc import Iterable

from deploy.local.cloud.choose import Option

MAX_CHARS = 20_000
"""What is read of the instructions."""

_LEAD = re.compile(
    r"\b(?:one of|either|(?:options|labels|categories|classes|topics|intents|domains)\b[^:\n.]{0,40}:)"
    r"(?:[^:\n.,]{0,40}:)?[ \t]*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+(.+)")
_SEPARATOR = re.compile(r"\s*(?:[,;|]\s*(?:or|and)?|\bor\b)\s+|\s*[;|]\s*")
_NAME = re.compile(r"[\"'`*]*([\w][\w &/'?-]{0,59}?)[\"'`*]*")


def options(instructions: str) -> list[Option]:
    """The options in their order, with descriptions where lines have them; none if fewer than two."""
    text = instructions[:MAX_CHARS]
    for lead in _LEAD.finditer(text):
        first, _, following = text[lead.end() :].partition("\n")
        found = _inline(first) if first.strip() else _lines(following.split("\n"))
        if len(found) >= 2:
            return found
    return []


def _inline(line: str) -> list[Option]:
    sentence = re.split(r"\.(?:\s|$)", " ".join(line.split()), maxsplit=1)[0]
    names = [_NAME.fullmatch(part.strip()) for part in _SEPARATOR.split(sentence)]
    return _unique(Option(match[1]) for match in names if match) if all(names) else []


def _lines(lines: Iterable[str]) -> list[Option]:
    found = []
    for line in lines:
        if not line.strip():
            continue
        bullet = _BULLET.fullmatch(line.rstrip())
        if bullet is None:
            break
        head, _, description = re.sub(r"\s[-–—]\s", ": ", bullet[1], count=1).partition(":")
        match = _NAME.fullmatch(head.strip())
        if match is None:
            break
        found.append(Option(match[1], description.strip()))
    return _unique(found)


def _unique(found: Iterable[Option]) -> list[Option]:
    return list({option.name: option for option in found}.values())
