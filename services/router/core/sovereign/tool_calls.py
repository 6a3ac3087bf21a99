"""Reads tool calls out of a model's text while it comes, in Llama 3.1's format.

A call is the JSON object `{"name": "…", "parameters": {…}}`, maybe after `<|python_tag|>`, several with
`;`, `,` or a line break between them or in a list (Meta, "Llama 3.1 prompt format", JSON-based tool
calling). Text that turns out to be no call, because it is not that or names no known tool, is text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

import orjson

PYTHON_TAG = "<|python_tag|>"

_HEAD = re.compile(
    r'\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,'
    r'\s*"(?:parameters|arguments)"\s*:\s*(?=\{)'
)
"""The usual beginning, after which the arguments can be passed on as they come."""
_FIRST_KEY = re.compile(r'\{\s*"((?:[^"\\]|\\.)*)"\s*:')
_CALL_KEYS = frozenset({"type", "name", "parameters", "arguments", "id"})
_BETWEEN = re.compile(r"[\s;,\[\]]*")
_SIGN = re.compile(r'["\\{}\[\]]')


@dataclass(frozen=True, slots=True)
class Text:
    """Text for the application."""

    text: str


@dataclass(frozen=True, slots=True)
class Started:
    """A call has begun."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """A piece of a call's arguments, as the model wrote them."""

    index: int
    text: str


Event = Text | Started | Arguments


class _Where(Enum):
    BEFORE = "before"
    TEXT = "text"
    HEAD = "head"
    ARGUMENTS = "arguments"
    TAIL = "tail"


class ToolCallReader:
    """Reads one answer."""

    def __init__(self, tools: Collection[str]) -> None:
        """`tools` has the names that may be called."""
        self.calls = 0
        """Calls begun so far."""
        self.done = False
        """True once something that is no call has followed a call: what a model says then is nobody's. (It
        may have ended its turn with `<|eom_id|>`, which is invisible, and on which older releases of
        TensorRT-LLM do not stop.)"""
        self._tools = tools
        self._where = _Where.BEFORE
        self._held = ""
        self._span = _Span()

    def feed(self, piece: str) -> list[Event]:
        """What a further piece of text brings."""
        events: list[Event] = []
        self._held += "" if self.done else piece
        while self._held and self._step(events):
            pass
        return events

    def finish(self) -> list[Event]:
        """What is left when the text has ended."""
        held, self._held = self._held, ""
        if self._where is _Where.HEAD or (self._where is _Where.BEFORE and not self.calls):
            return [Text(held)] if held else []
        return []

    def _step(self, events: list[Event]) -> bool:
        """Reads on as far as it is clear what comes; False if more must come first."""
        if self._where is _Where.TEXT:
            events.append(Text(self._held))
            self._held = ""
            return False
        if self._where is _Where.BEFORE:
            return self._before()
        if self._where is _Where.HEAD:
            return self._head(events)
        if self._where is _Where.ARGUMENTS:
            end = self._span.feed(self._held)
            piece = self._held if end is None else self._held[:end]
            events.append(Arguments(self.calls - 1, piece))
            self._held = self._held[len(piece) :]
            if end is not None:
                self._where = _Where.TAIL
            return end is not None
        # The brace that closes the call; a model that wrote more keys after the arguments is heard out.
        end = self._held.find("}")
        if end < 0:
            return False
        self._held = self._held[end + 1 :]
        self._where = _Where.BEFORE
        return True

    def _before(self) -> bool:
        rest = self._held.lstrip()
        if self.calls:
            rest = rest[_between_end(rest) :]
        elif rest.startswith("["):
            # A list of calls, unless it is a list of something else.
            after = rest[1:].lstrip()
            if not after:
                return False
            rest = after if after.startswith("{") else rest
        if rest.startswith(PYTHON_TAG):
            rest = rest[len(PYTHON_TAG) :].lstrip()
        elif PYTHON_TAG.startswith(rest):
            return False
        if not rest:
            return False
        if rest.startswith("{"):
            if self.calls:
                self._held = rest
            self._where = _Where.HEAD
        elif self.calls:
            self.done = True
            self._held = ""
        else:
            self._where = _Where.TEXT
        return True

    def _head(self, events: list[Event]) -> bool:
        start = self._held.index("{")
        match = _HEAD.match(self._held, start)
        if match is not None:
            name = orjson.loads(match["name"])
            if name not in self._tools:
                self._where = _Where.TEXT
                return True
            events.append(Started(self.calls, name))
            self.calls += 1
            self._held = self._held[match.end() :]
            self._span = _Span()
            self._where = _Where.ARGUMENTS
            return True
        key = _FIRST_KEY.match(self._held, start)
        if key is not None and key[1] not in _CALL_KEYS:
            self._where = _Where.TEXT
            return True
        end = _Span().feed(self._held[start:])
        if end is None:
            return False
        whole, rest = self._held[start : start + end], self._held[start + end :]
        call = _parsed(whole, self._tools)
        if call is None:
            self._where = _Where.TEXT
            return True
        name, arguments = call
        events += [Started(self.calls, name), Arguments(self.calls, arguments)]
        self.calls += 1
        self._held = rest
        self._where = _Where.BEFORE
        return bool(rest)


class _Span:
    """Finds the end of a JSON object that comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._skip = False

    def feed(self, piece: str) -> int | None:
        """Index just after the object's last brace within the piece; None if it is not there yet."""
        place = 0
        if self._skip:
            place, self._skip = 1, False
        while match := _SIGN.search(piece, place):
            sign, place = match[0], match.end()
            if self._in_string:
                if sign == '"':
                    self._in_string = False
                elif sign == "\\":
                    if place >= len(piece):
                        self._skip = True
                        return None
                    place += 1
            elif sign == '"':
                self._in_string = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return place
        return None


def _between_end(text: str) -> int:
    match = _BETWEEN.match(text)
    return match.end() if match else 0


def _parsed(text: str, tools: Collection[str]) -> tuple[str, str] | None:
    """(name, arguments) of a whole call whose keys stand in another order, or None if it is no call."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("name") not in tools:
        return None
    arguments = document.get("parameters", document.get("arguments", {}))
    if isinstance(arguments, str):
        # Some models write the arguments as JSON within JSON, as OpenAI's API has them.
        return document["name"], arguments
    if not isinstance(arguments, dict):
        return None
    return document["name"], orjson.dumps(arguments).decode()
