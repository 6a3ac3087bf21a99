"""The document as a PDF, by Typst. Every text is a string literal of Typst's code: nothing is ever markup."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from itertools import zip_longest
from typing import Any

import typst

from playbook.report.document import (
    Block,
    Card,
    Cards,
    Document,
    Entry,
    Figure,
    Link,
    Name,
    Note,
    Paragraph,
    Points,
    Section,
    Table,
    Text,
    block_facts,
)
from playbook.report.facts import Fact

TEMPLATE = "template.typ"
ATTACHMENT = "facts.json"
_PAGE = re.compile(rb"/Type\s*/Page\b")
LONG_WORD = 18
"""Signs without a space after which a line may end within a word."""
WHOLE = 14
"""Signs of a fact that stays on one line, so that no sign parts from its number."""
WHOLE_ROWS, WHOLE_PAIRS, WHOLE_SIGNS = 8, 20, 1_800
"""A table of no more rows (without a head: of pairs) and signs is not parted by the end of a page."""
LARGE_CARD = 12
"""Signs of a card's figure that fit in large letters."""
STANDARDS: tuple[str, ...] = ("a-3a", "ua-1")
"""PDF/A-3 to be kept for decades, with the facts attached; PDF/UA to be read aloud."""
_WAYS: tuple[Mapping[str, Any], ...] = (
    # Typst's own fonts are the same everywhere, and so is the file.
    {"pdf_standards": list(STANDARDS), "ignore_system_fonts": True},
    # A name may have signs that only a font of this machine has.
    {"pdf_standards": list(STANDARDS)},
    # One that no font here has can't be part of such a file. It is shown as a box.
    {},
)


def pdf(document: Document, carried: Mapping[str, Any], made: datetime) -> bytes:
    """The PDF, with the facts attached.

    Args:
        document: what it says.
        carried: the facts as JSON.
        made: when, for its properties.
    """
    text = source(document, carried)
    made = made.replace(microsecond=0)
    found = None
    for options in _WAYS:
        try:
            found = _compiled(text, format="pdf", timestamp=made, **options)
        except typst.TypstError:
            if options is _WAYS[-1]:
                raise
        else:
            break
    assert isinstance(found, bytes)
    return found


def pages(document: Document, carried: Mapping[str, Any], dots_per_inch: float = 110) -> list[bytes]:
    """Each page as PNG."""
    found = _compiled(source(document, carried), format="png", ppi=dots_per_inch)
    return found if isinstance(found, list) else [found]


def page_count(made: bytes) -> int:
    """How many pages a PDF of ours has."""
    return len(_PAGE.findall(made))


def _compiled(text: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        # That a font lacks a sign of somebody's name, say.
        warnings.simplefilter("ignore", typst.TypstWarning)
        return typst.compile(text.encode("utf-8"), **options)


def source(document: Document, carried: Mapping[str, Any]) -> str:
    """The Typst source."""
    template = resources.files("playbook.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    parts = [
        template,
        f"#show: report.with({literal(document.title)}, {_text(document.subtitle, document)})",
        f"#pdf.attach({literal(ATTACHMENT)}, bytes({literal(json.dumps(carried, ensure_ascii=False))}),"
        ' mime-type: "application/json", relationship: "data",'
        ' description: "The facts of this document, for homeward report --verify")',
    ]
    parts += [_section(section, document, 1) for section in document.sections[:1]]
    # The words that come next stand on the page of the contents.
    parts.append(f"#contents(<{_half(document)}>)")
    parts += [_section(section, document, 1) for section in document.sections[1:]]
    parts += [_section(section, document, 1) for section in document.appendix]
    return "\n".join(parts)


def literal(text: str) -> str:
    """A text as a string literal of Typst; control characters but for line ends are shown as such."""
    made = []
    for sign in text:
        if sign in '"\\':
            made.append("\\" + sign)
        elif sign == "\n":
            made.append("\\n")
        elif sign == "\t":
            made.append(" ")
        elif not sign.isprintable() and sign not in "\u00a0\u200b\u00ad":
            # With them a name could turn the order of a line around, or end it.
            made.append("\\u{fffd}")
        else:
            made.append(sign)
    return '"' + "".join(made) + '"'


def breakable(text: str) -> str:
    """A text in which lines may end within long words: after a joining sign, else after some signs."""
    return " ".join(_word(word) for word in text.split(" "))


def _word(word: str) -> str:
    if len(word) <= LONG_WORD:
        return word
    made, since = [], 0
    for sign in word:
        made.append(sign)
        since += 1
        if (sign in "-_/.:,;=@(" and since > 3) or since >= LONG_WORD:
            made.append("\u200b")
            since = 0
    return "".join(made)


def _section(section: Section, document: Document, level: int) -> str:
    parts = ["#pagebreak(weak: true)"] if section.new_page else []
    title = _text(section.title, document)
    parts.append(f"#heading(level: {level}, {title}) <{_label(section.name)}>")
    for block, after in zip_longest(section.blocks, section.blocks[1:]):
        made = _block(block, document)
        keeps = isinstance(block, Paragraph) and isinstance(after, (Table, Figure))
        parts.append(f"#block(sticky: true, {{{made.removeprefix('#')}}})" if keeps else made)
    parts += [_section(part, document, level + 1) for part in section.sections]
    return "\n".join(parts)


def _half(document: Document) -> str:
    """The first section of the contents' second column: so that both are about as long."""
    sections = (*document.sections, *document.appendix)
    lengths = [1 + len(section.sections) for section in sections]
    where = min(
        range(1, len(sections)), key=lambda number: abs(2 * sum(lengths[:number]) - sum(lengths)), default=0
    )
    return _label(sections[where].name)


def _label(name: str) -> str:
    """A label that Typst takes, the same for the same name."""
    return "s-" + "".join(
        sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "-" for sign in name
    )


def _text(text: Text, document: Document, *, marks: bool = False) -> str:
    if not text:
        return "[]"
    return "{" + "; ".join(_span(span, document, marks) for span in text) + "}"


def _span(span: Any, document: Document, marks: bool) -> str:
    match span:
        case Fact():
            number, short = document.numbers[span.reference.key], len(span.text) <= WHOLE
            where, known = f"<ref-{number}>", _yes(span.there)
            # A short one stands unbroken, if there is a mark with the mark.
            said = literal(span.text.replace(" ", "\u00a0") if short else breakable(span.text))
            if short and marks:
                return f"cited({where}, {said}, {known}, {literal(number)})"
            call = f"fact({where}, {said}, {known}, {_yes(short)})"
            return f"{call}; mark({where}, {literal(number)})" if marks else call
        case Name(text=said, style="strong"):
            return f"strong({literal(breakable(said))})"
        case Name(text=said, style="code"):
            return f"code({literal(breakable(said))})"
        case Name(text=said, style="quiet"):
            return f"quiet({literal(breakable(said))})"
        case Name(text=said):
            return literal(breakable(said))
        case Link(text=said, to=to):
            return f"way(<{_label(to)}>, {literal(said)})"
    return literal(str(span))


def _yes(holds: bool) -> str:
    return "true" if holds else "false"


def _block(block: Block, document: Document) -> str:
    match block:
        case Paragraph(lead=True):
            return f"#lead({_text(block.spans, document, marks=True)})"
        case Paragraph():
            return f"#para({_text(block.spans, document, marks=True)})"
        case Points():
            return (
                "#points(" + "".join(_text(item, document, marks=True) + ", " for item in block.items) + ")"
            )
        case Note():
            return f"#note({literal(block.title)}, {_text(block.spans, document, marks=True)})"
        case Figure():
            return (
                f"#picture(bytes({literal(block.svg.decode('utf-8'))}), {literal(block.alt)},"
                f" {_text(block.caption, document)}, {_sources(block, document)}, {block.width:.2f})"
            )
        case Table():
            return _table(block, document)
        case Cards():
            return "#cards(" + "".join(_card(card, document) + ", " for card in block.items) + ")"
        case Entry():
            code = f", {literal(block.source)}" if block.source else ""
            return (
                f"#entry({literal(block.number)}, {literal(breakable(block.title))},"
                f" {literal(breakable(block.about))}{code}) <ref-{block.number}>"
            )


def _card(card: Card, document: Document) -> str:
    number = document.numbers[card.fact.reference.key]
    more = _text(card.more, document, marks=True)
    fact, mark = _text((card.fact,), document), f"mark(<ref-{number}>, {literal(number)})"
    size = "15pt" if card.fact.known and len(card.fact.text) <= LARGE_CARD else "11pt"
    return f"({literal(card.label)}, {fact}, {more}, {mark}, {size})"


def _table(block: Table, document: Document) -> str:
    columns = ", ".join(f"{column.share or 1:g}fr" for column in block.columns)
    align = ", ".join(column.align for column in block.columns)
    head = ", ".join(literal(column.title) for column in block.columns)
    rows = "".join(f"({', '.join(_text(cell, document) for cell in row)},),\n" for row in block.rows)
    bare = _yes(not any(column.title for column in block.columns))
    signs = sum(
        len(span if isinstance(span, str) else span.text)
        for row in block.rows
        for cell in row
        for span in cell
    )
    most = WHOLE_ROWS if bare == "false" else WHOLE_PAIRS
    whole = _yes(len(block.rows) <= most and signs <= WHOLE_SIGNS)
    return (
        f"#grid-of(({columns},), ({align},), ({head},), (\n{rows}), {_text(block.caption, document)},"
        f" {_sources(block, document)}, {bare}, {whole})"
    )


def _sources(block: Block, document: Document) -> str:
    """The references of a table or a picture, for the line below it."""
    found = dict.fromkeys(document.numbers[fact.reference.key] for fact in block_facts(block))
    return _marks(sorted(found, key=lambda number: (number[0], int(number[1:]))))


def _marks(numbers: Sequence[str]) -> str:
    shown = "".join(f"(<ref-{number}>, {literal(number)}), " for number in numbers)
    return f"({shown})" if numbers else "()"
