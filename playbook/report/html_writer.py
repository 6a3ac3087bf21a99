"""The document as one HTML file, which loads nothing and needs no script: for browser, phone and printer."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

from playbook.report.document import (
    Block,
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

STYLE = "style.css"
FACTS_ID = "facts"
"""Of the script element with the facts."""
SHOWN_SOURCES = 24
WHOLE = 14
"""Signs of a fact that stays on one line."""


def html(document: Document, carried: Mapping[str, Any]) -> str:
    """The page."""
    style = resources.files("playbook.report").joinpath(STYLE).read_text(encoding="utf-8")
    # A "<" in the data could end the element.
    data = json.dumps(carried, ensure_ascii=False).replace("<", "\\u003c")
    body = "\n".join(_section(section, document, 2) for section in (*document.sections, *document.appendix))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_clean(document.title)}</title>
<style>
{style}
</style>
</head>
<body>
<header><h1>{_clean(document.title)}</h1><p>{_text(document.subtitle, document)}</p></header>
<nav aria-label="Contents">{_contents(document)}</nav>
<main>
{body}
</main>
<script type="application/json" id="{FACTS_ID}">{data}</script>
</body>
</html>
"""


def _contents(document: Document) -> str:
    items = []
    for section in (*document.sections, *document.appendix):
        parts = "".join(
            f'<li><a href="#{_id(part.name)}">{_text(part.title, document)}</a></li>'
            for part in section.sections
        )
        inner = f"<ul>{parts}</ul>" if parts else ""
        items.append(f'<li><a href="#{_id(section.name)}">{_text(section.title, document)}</a>{inner}</li>')
    return f"<ul>{''.join(items)}</ul>"


def _section(section: Section, document: Document, level: int) -> str:
    blocks = "\n".join(_block(block, document) for block in section.blocks)
    parts = "\n".join(_section(part, document, level + 1) for part in section.sections)
    title = _text(section.title, document)
    return f'<section id="{_id(section.name)}"><h{level}>{title}</h{level}>\n{blocks}\n{parts}</section>'


def _id(name: str) -> str:
    return "s-" + "".join(
        sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "-" for sign in name
    )


def _clean(text: str) -> str:
    """Escaped, and without signs that would turn the order of a line around."""
    return escape("".join(sign if sign.isprintable() or sign in "\n\t\u00a0" else "\ufffd" for sign in text))


def _text(text: Text, document: Document, *, marks: bool = False) -> str:
    return "".join(_span(span, document, marks) for span in text)


def _span(span: Any, document: Document, marks: bool) -> str:
    match span:
        case Fact():
            number = document.numbers[span.reference.key]
            rows = f", {span.reference.rows:,} rows" if span.reference.rows is not None else ""
            title = _clean(f"{number}: {span.reference.name}{rows}")
            kind = ("f" if span.there else "f unknown") + (" n" if len(span.text) <= WHOLE else "")
            link = (
                f'<a class="{kind}" href="#ref-{number}" data-fact="{_clean(span.key)}"'
                f' title="{title}">{_clean(span.text)}</a>'
            )
            return link + (f'<sup><a href="#ref-{number}">{number}</a></sup>' if marks else "")
        case Name(text=said, style="strong"):
            return f"<strong>{_clean(said)}</strong>"
        case Name(text=said, style="code"):
            return f"<code>{_clean(said)}</code>"
        case Name(text=said, style="quiet"):
            return f'<span class="quiet">{_clean(said)}</span>'
        case Name(text=said):
            return _clean(said)
        case Link(text=said, to=to):
            return f'<a href="#{_id(to)}">{_clean(said)}</a>'
    return _clean(str(span))


def _block(block: Block, document: Document) -> str:
    match block:
        case Paragraph():
            kind = ' class="lead"' if block.lead else ""
            return f"<p{kind}>{_text(block.spans, document, marks=True)}</p>"
        case Points():
            items = "".join(f"<li>{_text(item, document, marks=True)}</li>" for item in block.items)
            return f"<ul>{items}</ul>"
        case Note():
            said = _text(block.spans, document, marks=True)
            return f"<aside><strong>{_clean(block.title)}</strong><p>{said}</p></aside>"
        case Figure():
            data = b64encode(block.svg).decode("ascii")
            image = f'<img src="data:image/svg+xml;base64,{data}" alt="{_clean(block.alt)}">'
            return (
                f"<figure><figcaption>{_text(block.caption, document)}</figcaption>"
                f'<div class="drawn">{image}</div>'
                f"{_sources(block, document)}{_drawn(block, document)}</figure>"
            )
        case Table():
            return _table(block, document)
        case Cards():
            cards = "".join(
                f'<div class="card"><span class="label">{_clean(card.label)}</span>'
                f'<span class="value">{_text((card.fact,), document, marks=True)}</span>'
                f'<span class="label">{_text(card.more, document, marks=True)}</span></div>'
                for card in block.items
            )
            return f'<div class="cards">{cards}</div>'
        case Entry():
            source = f"<pre><code>{_clean(block.source)}</code></pre>" if block.source else ""
            about = f'<p class="quiet">{_clean(block.about)}</p>' if block.about else ""
            return (
                f'<div class="entry" id="ref-{block.number}"><span class="number">{block.number}</span>'
                f"<div><strong>{_clean(block.title)}</strong>{about}{source}</div></div>"
            )


def _drawn(block: Figure, document: Document) -> str:
    """The hashes of what a picture was drawn from: there to be verified, not to be read."""
    return f"<span hidden>{_text(block.drawn, document)}</span>"


def _table(block: Table, document: Document) -> str:
    caption = f"<caption>{_text(block.caption, document)}</caption>" if block.caption else ""
    head = ""
    if any(column.title for column in block.columns):
        cells = "".join(
            f'<th scope="col"{_side(column.align)}>{_clean(column.title)}</th>' for column in block.columns
        )
        head = f"<thead><tr>{cells}</tr></thead>"
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td{_side(column.align)} data-title="{_clean(column.title)}">'
            f"<div>{_text(cell, document)}</div></td>"
            for column, cell in zip(block.columns, row, strict=True)
        )
        + "</tr>"
        for row in block.rows
    )
    kind = "pairs" if not head else "rows"
    table = f'<table class="{kind}">{caption}{head}<tbody>{rows}</tbody></table>'
    return f'<div class="table">{table}{_sources(block, document)}</div>'


def _side(align: str) -> str:
    return ' class="right"' if align == "right" else ""


def _sources(block: Block, document: Document) -> str:
    found = dict.fromkeys(document.numbers[fact.reference.key] for fact in block_facts(block))
    if not found:
        return ""
    ordered = sorted(found, key=lambda number: (number[0], int(number[1:])))
    shown = ", ".join(f'<a href="#ref-{number}">{number}</a>' for number in ordered[:SHOWN_SOURCES])
    more = " …" if len(ordered) > SHOWN_SOURCES else ""
    return f'<p class="sources">Source{"s" if len(ordered) > 1 else ""}: {shown}{more}</p>'
