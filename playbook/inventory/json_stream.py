"""Pages of a usage API as they come: one page, an array of pages, or one page after another.

A page may hold a year, so nothing but one bucket is in memory at a time. Numbers with a point are Decimals:
money must not pass through a float.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn

from playbook.inventory.stream import CUT_OFF, MAX_RECORD_BYTES, Stream

_SPACE = " \t\r\n"
_decoder = json.JSONDecoder(parse_float=Decimal)


class BrokenJsonError(ValueError):
    """No JSON from here on; the message says what is wrong."""


def buckets(stream: Stream, key: str = "data") -> Iterator[Any]:
    """The elements of the arrays named `key` of all pages; arrays and lines of buckets themselves as well.

    Raises:
        BrokenJsonError: the text is cut off or no JSON.
    """
    text = _Text(stream)
    while (sign := text.peek()) is not None:
        if sign == "[":
            for _ in text.elements():
                yield from _page(text, key)
        else:
            yield from _page(text, key)
        # One page a line may be separated by commas, as in a log that was cut out of an array.
        if text.peek() == ",":
            text.skip()


def _page(text: _Text, key: str) -> Iterator[Any]:
    """The buckets of the page that begins here, or the value itself if it is none."""
    if text.peek() != "{":
        yield text.value()
        return
    text.skip()
    kept: dict[str, Any] = {}
    found = False
    while text.peek() != "}":
        name = text.value()
        text.expect(":")
        if name == key and text.peek() == "[":
            found = True
            for _ in text.elements():
                yield text.value()
        else:
            kept[str(name)] = text.value()
        if text.peek() == ",":
            text.skip()
        elif text.peek() != "}":
            text.fail()
    text.skip()
    if not found:
        yield kept


class _Text:
    """A window on the text."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._window = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str | None:
        """The next sign that is no white space; None at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._more():
                return None

    def skip(self) -> None:
        """Passes over one sign."""
        self._at += 1

    def expect(self, sign: str) -> None:
        """Passes over this sign."""
        if self.peek() != sign:
            self.fail()
        self._at += 1

    def elements(self) -> Iterator[None]:
        """Stops before each element of the array that begins here; the caller reads it."""
        self.skip()
        while self.peek() != "]":
            if self.peek() is None:
                self.fail()
            yield
            if self.peek() == ",":
                self.skip()
            elif self.peek() != "]":
                self.fail()
        self.skip()

    def value(self) -> Any:
        """The value that begins here."""
        if self.peek() is None:
            self.fail()
        while True:
            try:
                found, end = _decoder.raw_decode(self._window, self._at)
            except RecursionError:
                raise BrokenJsonError("values nested too deep") from None
            except json.JSONDecodeError as error:
                if not self._cut(error) or not self._more():
                    self.fail(error)
                continue
            except ValueError:
                # A number of thousands of digits.
                raise BrokenJsonError("a number that nothing can hold") from None
            # A number may go on behind the window's end.
            if end == len(self._window) and self._more():
                continue
            self._at = end
            return found

    def fail(self, error: json.JSONDecodeError | None = None) -> NoReturn:
        """Says what is wrong here.

        Raises:
            BrokenJsonError: always.
        """
        if self._cut(error) if error else self.peek() is None:
            raise BrokenJsonError(CUT_OFF)
        what = error.msg if error else f"{self.peek()!r} is not expected"
        raise BrokenJsonError(f"no JSON from here on ({what}); the rest of the file was not read")

    def _cut(self, error: json.JSONDecodeError) -> bool:
        """True if the value may only be unfinished."""
        return error.msg.startswith("Unterminated") or error.pos >= len(self._window) - 16

    def _more(self) -> bool:
        if self._ended or len(self._window) - self._at > MAX_RECORD_BYTES:
            return False
        # What is read grows with the value, so that a large one is not decoded a thousand times.
        wanted = max(256 * 1024, len(self._window) - self._at)
        parts = [self._window[self._at :]]
        while wanted > 0:
            chunk = self._stream.read(wanted)
            if not chunk:
                self._ended = True
                parts.append(self._decode(b"", True))
                break
            wanted -= len(chunk)
            parts.append(self._decode(chunk))
        grown = "".join(parts)
        more = len(grown) > len(parts[0])
        self._window, self._at = grown, 0
        return more
