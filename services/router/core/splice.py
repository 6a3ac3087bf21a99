"""Changes one key at the top of a JSON object and leaves every other byte as it is.

What an application sends must reach the cloud unchanged but for what Homeward must set, and come back
unchanged: parsing and writing again would change spacing, number forms and repeated keys.
"""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_TEXT_VALUE = re.compile(rb'\s*+:\s*+("(?:[^"\\]++|\\.)*+")', re.DOTALL)
_ASCII_ESCAPED = re.compile(rb"\\u00[2-7]")
"""What could spell a key in other letters."""
NEAR_BYTES = 64 * 1024
"""How near to either end a key is looked for before every token is: `model` stands first or last in what is
large, but for the list of texts, tokens or vectors that makes it so."""


def set_key(document: bytes, key: str, value: bytes) -> bytes:
    """The object with `key` set to `value` at its top level.

    Args:
        document: a valid JSON object; what is not one gives an unspecified result.
        key: plain ASCII, as it would stand between quotes.
        value: JSON.
    """
    quoted = b'"' + key.encode() + b'"'
    near = _near_span(document, quoted)
    spans = [near] if near else _value_spans(document, quoted)
    if not spans:
        return insert_key(document, key, value)
    pieces: list[bytes] = []
    done = 0
    # A repeated key counts by its last value, but servers differ: all are set.
    for start, end in spans:
        pieces += (document[done:start], value)
        done = end
    return b"".join((*pieces, document[done:]))


def set_nested(document: bytes, outer: str, key: str, value: bytes) -> bytes:
    """The same for a key of the object that is the value of `outer` at the top level."""
    for start, end in reversed(_value_spans(document, b'"' + outer.encode() + b'"')):
        document = document[:start] + set_key(document[start:end], key, value) + document[end:]
    return document


def insert_key(document: bytes, key: str, value: bytes) -> bytes:
    """The same for a key that is known not to be there; costs one copy."""
    at = document.index(b"{") + 1
    empty = document[at:].lstrip()[:1] == b"}"
    return b"".join((document[:at], b'"', key.encode(), b'":', value, b"" if empty else b",", document[at:]))


def _near_span(document: bytes, quoted: bytes) -> tuple[int, int] | None:
    """Where the value of a key is if it is a string, near to an end, and there beyond doubt; else None."""
    if document.count(quoted) != 1 or _ASCII_ESCAPED.search(document):
        return None
    at = document.index(quoted)
    found = _TEXT_VALUE.match(document, at + len(quoted))
    # Behind a backslash the first quote is within a string.
    if found is None or document[at - 1 : at] == b"\\":
        return None
    start, end = found.span(1)
    before, after = at <= NEAR_BYTES, len(document) - end <= NEAR_BYTES
    if not before and not after:
        return None
    signs = _STRING.sub(b"", document[:at] if before else document[end:])
    depth = signs.count(b"{") + signs.count(b"[") - signs.count(b"}") - signs.count(b"]")
    return (start, end) if depth == (1 if before else -1) else None


def _value_spans(document: bytes, quoted: bytes) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    depth = 0
    # Where the walk is at the top level: before a key, after the wanted key, or inside its value.
    at_key = found = False
    start = -1
    for match in _TOKEN.finditer(document):
        token = match.group()
        sign = token[:1]
        if sign in b"{[":
            depth += 1
            at_key = depth == 1
        elif sign in b"}]":
            depth -= 1
        elif depth == 1 and sign == b'"' and at_key:
            found, at_key = token == quoted or (b"\\" in token and _is(token, quoted)), False
        elif depth == 1 and sign == b":" and found:
            start, found = match.end(), False
        if start >= 0 and ((depth == 1 and sign == b",") or depth == 0):
            spans.append(_trim(document, start, match.start()))
            start = -1
        if depth == 1 and sign == b",":
            at_key = True
    return spans


def _is(token: bytes, quoted: bytes) -> bool:
    return bool(json.loads(token) == json.loads(quoted))


def _trim(document: bytes, start: int, end: int) -> tuple[int, int]:
    while document[start : start + 1].isspace():
        start += 1
    while document[end - 1 : end].isspace():
        end -= 1
    return start, end
