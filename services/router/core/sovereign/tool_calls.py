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

HEAD_CHARS = 1024
"""What a call's name is looked for in: a tool's has at most 128 characters."""

_NAME = re.compile(r'\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")')
_ARGUMENTS = re.compile(r'\s*,\s*"(?:parameters|arguments)"\s*:\s*(?=\{)')
"""After the usual beginning the arguments can be passed on as they come."""
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
        # Of what is held: where an object starts, and how far the span has read it.
        self._start = self._seen = 0

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
        if held and not self.calls and self._where in (_Where.BEFORE, _Where.HEAD):
            return [Text(held)]
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
        end = self._span.feed(self._held)
        piece = self._held if end is None else self._held[:end]
        self._held = self._held[len(piece) :]
        if self._where is _Where.ARGUMENTS:
            events.append(Arguments(self.calls - 1, piece))
        if end is not None and self._where is _Where.ARGUMENTS:
            # A model that writes more keys after the arguments is heard out.
            self._where, self._span = _Where.TAIL, _Span(depth=1)
        elif end is not None:
            self._where = _Where.BEFORE
        return end is not None

    def _before(self) -> bool:
        rest = self._held.lstrip()
        if self.calls:
            rest = self._held = rest[_between_end(rest) :]
        if rest.startswith(PYTHON_TAG):
            rest = rest[len(PYTHON_TAG) :].lstrip()
        elif PYTHON_TAG.startswith(rest):
            return False
        if rest.startswith("["):
            # A list of calls, unless it is a list of something else.
            rest = rest[1:].lstrip()
        if not rest:
            return False
        if not rest.startswith("{"):
            return self._no_call()
        self._where, self._span = _Where.HEAD, _Span()
        self._start = self._seen = len(self._held) - len(rest)
        return True

    def _no_call(self) -> bool:
        if self.calls:
            self.done = True
            self._held = ""
        self._where = _Where.TEXT
        return True

    def _begin(self, name: str) -> Started:
        self.calls += 1
        return Started(self.calls - 1, name)

    def _head(self, events: list[Event]) -> bool:
        # Each look is at no more than HEAD_CHARS, so that a long object is not read again for each piece.
        limits = self._start, self._start + HEAD_CHARS
        match = _NAME.match(self._held, *limits)
        if match is not None:
            name = _name(match["name"])
            if name not in self._tools:
                return self._no_call()
            match = _ARGUMENTS.match(self._held, match.end(), limits[1])
            if match is not None:
                events.append(self._begin(name))
                self._held = self._held[match.end() :]
                self._where, self._span = _Where.ARGUMENTS, _Span()
                return True
        key = _FIRST_KEY.match(self._held, *limits)
        if key[1] not in _CALL_KEYS if key else len(self._held) > limits[1]:
            return self._no_call()
        end = self._span.feed(self._held[self._seen :])
        if end is None:
            self._seen = len(self._held)
            return False
        end += self._seen
        call = _parsed(self._held[self._start : end], self._tools)
        if call is None:
            return self._no_call()
        begun = self._begin(call[0])
        events += [begun, Arguments(begun.index, call[1])]
        self._held = self._held[end:]
        self._where = _Where.BEFORE
        return True


class _Span:
    """Finds the end of a JSON object that comes in pieces."""

    def __init__(self, depth: int = 0) -> None:
        """`depth` is how many braces were opened before."""
        self._depth = depth
        self._in_string = False
        self._skip = False

    def feed(self, piece: str) -> int | None:
        """Index just after the object's last brace within the piece; None if it is not there yet."""
        place = 0
        if self._skip and piece:
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


def _name(text: str) -> str:
    """A name from its JSON; empty if it is not JSON after all."""
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:
        return ""


def _parsed(text: str, tools: Collection[str]) -> tuple[str, str] | None:
    """(name, arguments) of a whole call whose keys stand in another order, or None if it is no call."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str) or name not in tools:
        return None
    arguments = document.get("parameters", document.get("arguments"))
    if isinstance(arguments, str):
        # Some models write the arguments as JSON within JSON, as OpenAI's API has them.
        return name, arguments
    if not isinstance(arguments, (dict, type(None))):
        return None
    try:
        return name, orjson.dumps(arguments or {}).decode()
    except orjson.JSONEncodeError:
        # It is nested deeper than orjson writes, though not than it reads.
        return None
