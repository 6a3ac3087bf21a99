"""Reads the links of a PDF that Typst wrote: what each is laid over, and what stands where it leads."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_OBJECT = re.compile(rb"(?:^|\n)(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)
_WITHIN = rb"(?:\\.|[^\\()])"
_BALANCED = rb"(?:" + _WITHIN + rb"|\((?:" + _WITHIN + rb"|\(" + _WITHIN + rb"*\))*\))*"
"""What a string has: its brackets need no escape if they close."""
_STRING = rb"(?:\((?P<plain>" + _BALANCED + rb")\)|<(?P<digits>[0-9A-Fa-f]*)>)"
_TOKEN = re.compile(
    rb"(?P<replaced><<[^\n]{0,9}/ActualText(?:(?!BDC).)*BDC.*?EMC)|(?P<marked><<(?:(?!BDC).)*BDC)"
    rb"|"
    + _STRING
    + rb"|1 0 0 -1 (?P<x>[\d.]+) (?P<y>[\d.]+) cm\b|/(?P<font>\w+) [\d.]+ Tf\b|(?P<end>\bET\b)",
    re.DOTALL,
)
"""Of a page: signs that stand for others, what a text is marked as, parts of a text, where it begins, its
font, its end."""
_STANDS_FOR = re.compile(rb"/ActualText ?" + _STRING, re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
ABOVE = 10.0
"""How far above what it leads to Typst lays a destination, in points."""
LINE = 14.0
"""How far below that the first line may stand at most."""


@dataclass(frozen=True, slots=True)
class PdfLink:
    """A link within the file."""

    shown: str
    """The text under it, without spaces."""
    leads_to: str
    """The first text at its destination, without spaces."""


@dataclass(frozen=True, slots=True)
class _Run:
    x: float
    y: float
    text: str


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._objects = {int(found[1]): found[2] for found in _OBJECT.finditer(data)}
        self._pages: dict[int, list[_Run]] = {}
        names = re.search(rb"/Dests ?<</Names ?\[(.*?)\]", data, re.DOTALL)
        listed = re.findall(rb"\((.*?)\) ?(\d+) 0 R", names[1]) if names else []
        self._named = {name: int(number) for name, number in listed}

    def links(self) -> Iterator[PdfLink]:
        for number, page in self._objects.items():
            if not re.search(rb"/Type/Page\b", page):
                continue
            listed = re.search(rb"/Annots ?\[(.*?)\]", page)
            for one in re.findall(rb"(\d+) 0 R", listed[1]) if listed else ():
                annotation = self._objects[int(one)]
                if b"/Subtype/Link" in annotation:
                    yield PdfLink(self._under(number, annotation), self._there(annotation))

    def _under(self, page: int, annotation: bytes) -> str:
        return "".join(
            run.text
            for left, bottom, right, top in _places(annotation)
            for run in self._runs(page)
            if left - 0.1 <= run.x < right and bottom - 0.1 <= run.y <= top + 0.1
        )

    def _there(self, annotation: bytes) -> str:
        place = re.search(rb"/Dest ?(?:(\d+) 0 R|\((.*?)\))", annotation)
        assert place is not None, annotation
        number = int(place[1]) if place[1] else self._named[place[2]]
        found = re.match(rb"\[(\d+) 0 R/XYZ ([\d.]+) ([\d.]+)", self._objects[number])
        assert found is not None, place
        x, y = float(found[2]), float(found[3]) - ABOVE
        below = [run for run in self._runs(int(found[1])) if y - LINE < run.y <= y and run.x >= x - 0.1]
        return min(below, key=lambda run: (-run.y, run.x)).text if below else ""

    def _runs(self, page: int) -> list[_Run]:
        if page not in self._pages:
            self._pages[page] = list(self._read(self._objects[page]))
        return self._pages[page]

    def _read(self, page: bytes) -> Iterator[_Run]:
        fonts = {
            name: self._signs(number) for name, number in self._fonts(self._objects[_one(page, b"Resources")])
        }
        x, y, text = 0.0, 0.0, ""
        signs: dict[bytes, str] = {}
        for found in _TOKEN.finditer(self._stream(_one(page, b"Contents"))):
            match found.lastgroup:
                case "y":
                    x, y = float(found["x"]), float(found["y"])
                case "font":
                    signs = fonts[found["font"]]
                case "replaced":
                    meant = _STANDS_FOR.search(found["replaced"])
                    assert meant is not None, found["replaced"]
                    text += _meant(_codes(meant))
                case "plain" | "digits":
                    codes = _codes(found)
                    places = range(0, len(codes), 2)
                    text += "".join(signs.get(codes[place : place + 2], "\ufffd") for place in places)
                case "end":
                    yield _Run(x, y, _bare(text))
                    text = ""

    def _fonts(self, resources: bytes) -> Iterator[tuple[bytes, int]]:
        found = re.search(rb"/Font ?(?:<<(.*?)>>|(\d+) 0 R)", resources)
        listed = b"" if found is None else found[1] or self._objects[int(found[2])]
        for name, number in re.findall(rb"/(\w+) (\d+) 0 R", listed):
            yield name, int(number)

    def _signs(self, font: int) -> dict[bytes, str]:
        """By code, which is the number of a picture in the font."""
        table = self._stream(_one(self._objects[font], b"ToUnicode"))
        return {
            bytes.fromhex(code.decode()): bytes.fromhex(sign.decode()).decode("utf-16-be")
            for part in re.findall(rb"beginbfchar(.*?)endbfchar", table, re.DOTALL)
            for code, sign in re.findall(rb"<(\w+)> ?<(\w+)>", part)
        }

    def _stream(self, number: int) -> bytes:
        found = self._objects[number]
        head, _, rest = found.partition(b"stream\n")
        content = rest[: _length(head)]
        return zlib.decompress(content) if b"/FlateDecode" in head else content


def pdf_links(data: bytes) -> list[PdfLink]:
    """All links that lead to a place of the same file."""
    return list(_Reader(data).links())


def assert_links_lead(links: list[PdfLink], carried: Mapping[str, Any]) -> None:
    """That each leads to the reference of what it shows, and the others to a heading of that name."""
    texts: dict[str, list[str]] = {}
    for fact in carried["facts"]:
        texts.setdefault(fact["reference"], []).append(_bare(fact["text"]))
    numbers = {item["number"] for item in carried["references"]}
    assert links
    for link in links:
        assert link.shown, link
        if link.shown in numbers:
            assert link.leads_to == link.shown, link
        elif link.leads_to in numbers:
            # A long one is a link in each of its lines.
            assert any(link.shown in text for text in texts[link.leads_to]), link
        else:
            assert link.leads_to, link


def _places(annotation: bytes) -> Iterator[tuple[float, float, float, float]]:
    """What it is laid over: a rectangle for each line if it has several."""
    places = re.search(rb"/QuadPoints ?\[(.*?)\]", annotation)
    if places is None:
        places = re.search(rb"/Rect ?\[(.*?)\]", annotation)
    assert places is not None, annotation
    numbers = [float(one) for one in places[1].split()]
    size = 4 if len(numbers) == 4 else 8
    for place in range(0, len(numbers), size):
        across, up = numbers[place : place + size : 2], numbers[place + 1 : place + size : 2]
        yield min(across), min(up), max(across), max(up)


def _one(found: bytes, name: bytes) -> int:
    place = re.search(rb"/" + name + rb" (\d+) 0 R", found)
    assert place is not None, (name, found[:200])
    return int(place[1])


def _codes(found: re.Match[bytes]) -> bytes:
    digits = found["digits"]
    return _unescaped(found["plain"]) if digits is None else bytes.fromhex(digits.decode())


def _meant(codes: bytes) -> str:
    return codes.decode("utf-16" if codes.startswith(b"\xfe\xff") else "latin-1")


def _bare(text: str) -> str:
    return re.sub(r"[\s\u200b\u00ad]", "", text)


def _length(head: bytes) -> int:
    found = re.search(rb"/Length (\d+)", head)
    assert found is not None
    return int(found[1])


def _unescaped(text: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        sign = found[1]
        return bytes([int(sign, 8) & 0xFF]) if sign[:1].isdigit() else _ESCAPED.get(sign, sign)

    return _ESCAPE.sub(one, text)
