"""Reads the facts that a document carries: an element of an HTML file, the attachment of a PDF. Pure."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from playbook.report.html_writer import FACTS_ID

_EMBEDDED = re.compile(rb"<<([^\x00]{0,400}?/Type\s*/EmbeddedFile[^\x00]{0,400}?)>>\s*stream\r?\n")
_LENGTH = re.compile(rb"/Length\s+(\d+)")
FIELDS = {"key", "value", "unit", "text"}
"""Of each fact."""
CITED = {"number", "kind", "name", "detail"}
"""Of each reference."""


class NotADocumentError(Exception):
    """The file has no facts of ours."""


def read(data: bytes) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The facts, and of an HTML file also what is shown: key and text of each fact.

    Raises:
        NotADocumentError: it is none of ours, or is broken.
    """
    if data.startswith(b"%PDF"):
        return _checked(_attached(data)), []
    reader = _Reader()
    try:
        reader.feed(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise NotADocumentError("it is neither a PDF nor an HTML file") from None
    if not reader.facts:
        raise NotADocumentError(f'it has no <script id="{FACTS_ID}">')
    return _checked("".join(reader.facts)), reader.shown


def _attached(data: bytes) -> str:
    for found in _EMBEDDED.finditer(data):
        length = _LENGTH.search(found[1])
        if length is None:
            continue
        content = data[found.end() : found.end() + int(length[1])]
        try:
            told = zlib.decompress(content) if b"/FlateDecode" in found[1] else content
            text = told.decode("utf-8")
        except (zlib.error, UnicodeDecodeError):
            continue
        if "homeward_report" in text:
            return text
    raise NotADocumentError(
        "the PDF has no facts attached; one that another program has written anew loses them"
    )


def _checked(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise NotADocumentError("its facts are no JSON") from None
    if not isinstance(found, Mapping) or not {"homeward_report", "request", "facts"} <= set(found):
        raise NotADocumentError("its facts are not those of a report")
    facts = found["facts"]
    if not isinstance(facts, list) or not all(isinstance(one, dict) and set(one) >= FIELDS for one in facts):
        raise NotADocumentError("its facts were edited")
    cited = found.get("references", [])
    if not isinstance(cited, list) or not all(isinstance(one, dict) and set(one) >= CITED for one in cited):
        raise NotADocumentError("its references were edited")
    if not isinstance(found.get("words", {}), dict):
        raise NotADocumentError("its words' hashes were edited")
    return dict(found)


class _Reader(HTMLParser):
    """Collects the facts' element, and the text of each element with `data-fact`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.facts: list[str] = []
        self.shown: list[tuple[str, str]] = []
        self._in_facts = False
        self._key: str | None = None
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "script" and found.get("id") == FACTS_ID:
            self._in_facts = True
        elif "data-fact" in found:
            self._key, self._text = found["data-fact"], []

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_facts = False
        elif tag == "a" and self._key is not None:
            self.shown.append((self._key, "".join(self._text)))
            self._key = None

    def handle_data(self, data: str) -> None:
        if self._in_facts:
            self.facts.append(data)
        elif self._key is not None:
            self._text.append(data)
