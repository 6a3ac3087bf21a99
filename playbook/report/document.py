"""What a document is made of: sections of paragraphs, tables and figures. Both writers read nothing else.

Prose is a plain string and may have no digit in it: a number gets into the document as a Fact, with its
reference, or as a Name: what somebody is called, a clause of a law, a word that has a digit in it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from playbook.report.facts import Fact

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Name:
    """A text that is no measurement: the name of a workload, `Art. 30`, a sentence that a person wrote."""

    text: str
    style: Literal["plain", "strong", "code", "quiet"] = "plain"


@dataclass(frozen=True, slots=True)
class Link:
    """A way to another section."""

    text: str
    to: str


Span = str | Fact | Name | Link
Text = tuple[Span, ...]


def text(*spans: Span) -> Text:
    """A text, checked.

    Raises:
        ValueError: a plain string has a digit, so that a number would have no reference.
    """
    for span in spans:
        if isinstance(span, str) and _DIGIT.search(span):
            raise ValueError(f"a number without a reference: {span!r}")
    return spans


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph; a lead is larger and opens a case."""

    spans: Text
    lead: bool = False

    def __post_init__(self) -> None:
        text(*self.spans)


@dataclass(frozen=True, slots=True)
class Points:
    """A list of points."""

    items: tuple[Text, ...]

    def __post_init__(self) -> None:
        for item in self.items:
            text(*item)


@dataclass(frozen=True, slots=True)
class Note:
    """A box: what must not be overlooked."""

    title: str
    spans: Text

    def __post_init__(self) -> None:
        text(self.title, *self.spans)


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, and the facts that say what it was drawn from."""

    name: str
    svg: bytes
    alt: str
    caption: Text
    drawn: tuple[Fact, ...]
    """At least one: a picture without data has no reference either."""
    width: float = 1.0
    """Of the text's width."""

    def __post_init__(self) -> None:
        text(*self.caption)
        if not self.drawn:
            raise ValueError(f"the picture {self.name} is drawn from nothing")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, where its text stands, and its share of the width (0: as wide as it needs)."""

    title: str
    align: Literal["left", "right"] = "left"
    share: float = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts; `caption` stands above it."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]
    caption: Text = ()
    small: bool = False

    def __post_init__(self) -> None:
        text(*self.caption)
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns")
            for cell in row:
                text(*cell)


@dataclass(frozen=True, slots=True)
class Card:
    """A figure that stands out, and what it is."""

    label: str
    fact: Fact
    more: Text = ()

    def __post_init__(self) -> None:
        text(self.label, *self.more)


@dataclass(frozen=True, slots=True)
class Cards:
    """Cards side by side."""

    items: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A reference in the appendix: its number, what it is, and the query if it is one."""

    number: str
    title: str
    about: str = ""
    source: str = ""


Block = Paragraph | Points | Note | Figure | Table | Cards | Entry


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what stands under it, and sections of its own."""

    name: str
    """Where links lead; unique."""
    title: Text
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    new_page: bool = False

    def __post_init__(self) -> None:
        text(*self.title)


@dataclass(frozen=True, slots=True)
class Document:
    """All of it."""

    title: str
    subtitle: Text
    sections: tuple[Section, ...]
    appendix: tuple[Section, ...] = field(default=())
    """After everything else; its figures describe references and have none themselves."""
    numbers: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """Of references by their key: `Q1`."""


def facts(document: Document) -> list[Fact]:
    """All facts in the order in which they stand there, each key once."""
    found: dict[str, Fact] = {}
    for span in _spans(document):
        if isinstance(span, Fact):
            found.setdefault(span.key, span)
    return list(found.values())


def block_facts(block: Block) -> list[Fact]:
    """The facts of a block, each key once."""
    found = {span.key: span for span in _block(block) if isinstance(span, Fact)}
    return list(found.values())


def _spans(document: Document) -> Iterator[Span]:
    yield from document.subtitle
    for section in document.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[Span]:
    yield from section.title
    for block in section.blocks:
        yield from _block(block)
    for part in section.sections:
        yield from _section(part)


def _block(block: Block) -> Iterator[Span]:
    match block:
        case Paragraph() | Note():
            yield from block.spans
        case Points():
            for item in block.items:
                yield from item
        case Figure():
            yield from block.caption
            yield from block.drawn
        case Table():
            yield from block.caption
            for row in block.rows:
                for cell in row:
                    yield from cell
        case Cards():
            for card in block.items:
                yield card.fact
                yield from card.more
        case Entry():
            return


def joined(parts: Sequence[Text], between: str = ", ") -> Text:
    """Texts with a word between them."""
    made: list[Span] = []
    for number, part in enumerate(parts):
        made += ([between] if number else []) + list(part)
    return tuple(made)


def some_of(shown: int, every: int) -> Text:
    """What a caption says of a picture that has not all workloads; empty if it has."""
    return text(Name(f"; the first {shown} of {every} workloads")) if every > shown else ()


def nothing(why: str) -> Paragraph:
    """What stands where there would be figures, and why there are none."""
    return Paragraph(text(Name("Not measured. ", "strong"), why))
