"""Both renderings say the same, lead nowhere that is not there, and take any name that a person may give."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
import typst
from hypothesis import given, settings
from hypothesis import strategies as st

from playbook.report.build import all_facts, build, carried
from playbook.report.carried import NotADocumentError, read
from playbook.report.document import Document, Name, Paragraph, Section, facts, text
from playbook.report.gathered import Gathered
from playbook.report.html_writer import html
from playbook.report.mappings import Law
from playbook.report.typst_writer import breakable, literal, page_count, pdf, source
from tests.support.pdf_links import assert_links_lead, pdf_links

MADE = datetime(2026, 11, 29, 22, 5, tzinfo=UTC)
NASTY = [
    '#panic("x")',
    '"); #panic("x',
    "\\u{41}\\",
    "<script>alert(1)</script>",
    "</script><b>&amp;",
    "*bold* _it_ `code` $x$ @ref <label> // comment /* more",
    "a\u202egnp.exe",
    "new\nline\ttab\x00\x07",
    "𝔘nicode 日本語 🏠 ﷽",
    "x" * 200,
    "",
    "[compliance]",
    "%PDF-1.7 endstream",
]


class Page(HTMLParser):
    """What a browser finds in a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if tag == "a" else []
        self.loads += [found.get("src") or ""] if tag in ("img", "script", "iframe") else []
        self.loads += [found.get("href") or ""] if tag == "link" else []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def page(whole: tuple[Document, dict[str, Any]]) -> str:
    return html(*whole)


@pytest.fixture(scope="module")
def printed(whole: tuple[Document, dict[str, Any]]) -> bytes:
    return pdf(*whole, MADE)


def named(name: str) -> Document:
    """A document with a name in all places that names have."""
    return Document(
        "Title",
        text(Name(name)),
        (
            Section(
                "summary",
                text(Name(name, "strong")),
                (Paragraph(text("by ", Name(name), Name(name, "code"), Name(name, "quiet"))),),
            ),
        ),
    )


def summary_ends(told: str) -> int:
    """The page on which the contents could begin, if they began no page of their own."""
    assert told.count("#contents(") == 1
    marked = told.replace("#contents(", "#context [#metadata(here().page()) <end>]\n#contents(")
    (found,) = json.loads(typst.query(marked.encode(), "<end>"))
    return int(found["value"])


def test_every_link_of_the_page_leads_to_one_place(page: str) -> None:
    found = Page(page)
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert all(link.startswith("#") for link in found.links)


def test_a_cell_is_one_thing_beside_its_title_on_a_phone(page: str) -> None:
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)
    assert len(cells) > 300
    assert all(cell.startswith("<div>") and cell.endswith("</div>") for cell in cells)


def test_the_page_loads_nothing(page: str) -> None:
    found = Page(page)
    assert all(item.startswith("data:image/svg+xml;base64,") or not item for item in found.loads)
    assert not re.search(r"url\(|@import", page.partition("<body>")[0])


def test_the_page_shows_every_fact_as_it_is(page: str, whole: tuple[Document, dict[str, Any]]) -> None:
    told, shown = read(page.encode())
    assert told == json.loads(json.dumps(whole[1]))
    assert {key for key, _ in shown} == {fact.key for fact in facts(whole[0])}
    texts = {fact.key: fact.text for fact in all_facts(whole[0])}
    assert all(texts[key] == said for key, said in shown)


def test_the_pdf_carries_the_same_facts(printed: bytes, whole: tuple[Document, dict[str, Any]]) -> None:
    told, _ = read(printed)
    assert told == json.loads(json.dumps(whole[1]))


def test_every_link_of_the_pdf_leads_to_the_reference_of_what_it_shows(
    printed: bytes, whole: tuple[Document, dict[str, Any]]
) -> None:
    links = pdf_links(printed)
    assert_links_lead(links, whole[1])
    shown = {fact.reference.key for fact in facts(whole[0])}
    assert {whole[0].numbers[key] for key in shown} <= {link.leads_to for link in links}
    wrong = [dataclasses.replace(link, leads_to="C1") if link.shown == "Q1" else link for link in links]
    with pytest.raises(AssertionError):
        assert_links_lead(wrong, whole[1])


def test_the_pdf_is_made_to_be_kept_and_read_aloud(printed: bytes) -> None:
    assert b"pdfaid:part" in printed
    assert b"pdfuaid:part" in printed
    assert 15 < page_count(printed) < 40


def test_the_summary_is_one_page(whole: tuple[Document, dict[str, Any]]) -> None:
    assert summary_ends(source(*whole)) == 1


def test_the_summary_of_many_is_one_page_as_well(example: Gathered, laws: list[Law]) -> None:
    names = [
        f"{'customer-service-intent-classification-for-the-nordics'}-{number:02}" for number in range(40)
    ]
    answers = {
        key: dataclasses.replace(
            item,
            rows=[
                {**row, "workload": name}
                for row in item.rows
                for name in names
                if row["workload"] == "voice-domain"
            ],
        )
        for key, item in example.answers.items()
        if item.rows and "workload" in item.rows[0]
    }
    decisions = [
        {**row, "workload": name, "decision_id": 100 * place + row["decision_id"]}
        for place, name in enumerate(names)
        for row in example.decisions
        if row["workload"] == "voice-domain"
    ]
    found = dataclasses.replace(example, workloads=names, answers=answers, decisions=decisions)
    document = build(found, laws, [])
    assert summary_ends(source(document, carried(document, found, []))) == 1


@pytest.mark.parametrize("name", NASTY)
def test_any_name_is_text_in_both(name: str) -> None:
    document = named(name)
    assert page_count(pdf(document, {"homeward_report": 1, "name": name}, MADE)) == 2
    found = Page(html(document, {"homeward_report": 1, "request": {}, "facts": [], "name": name}))
    assert found.tags.count("script") == 1
    assert "b" not in found.tags
    told, _ = read(html(document, {"homeward_report": 1, "request": {}, "facts": [], "name": name}).encode())
    assert told["name"] == name


@settings(max_examples=150)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_literal_of_typst_is_the_text_itself(said: str) -> None:
    (found,) = json.loads(typst.query(f"#metadata({literal(said)}) <x>".encode(), "<x>"))
    assert found["value"] == "".join(_shown(sign) for sign in said)


@settings(max_examples=150)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_of_html_is_the_text_itself(said: str) -> None:
    found = Page(html(named(said), {}))
    assert found.tags.count("strong") == 2
    wanted = "".join(sign if sign.isprintable() or sign in "\n\t\u00a0" else "\ufffd" for sign in said)
    assert wanted in "".join(found.words)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_breaking_a_word_changes_none_of_its_signs(said: str) -> None:
    broken = breakable(said)
    assert broken.replace("\u200b", "") == said.replace("\u200b", "")
    assert all(
        len(part) <= 18 for word in broken.split(" ") for part in word.split("\u200b") if len(word) > 18
    )


def _shown(sign: str) -> str:
    if sign == "\t":
        return " "
    return sign if sign.isprintable() or sign in "\n\u00a0\u200b\u00ad" else "\ufffd"


def test_owners_and_reasons_get_into_a_whole_document_unharmed(example: Gathered, laws: list[Law]) -> None:
    owner = NASTY[0] + NASTY[3] + NASTY[6]
    example.settings["workloads"]["bank-intent"]["owner"] = owner
    example.decisions[-1]["reason"] = owner  # type: ignore[index]
    document = build(example, laws)
    told = carried(document, example, ["engineering"])
    assert page_count(pdf(document, told, MADE)) > 15
    assert "<script>alert" not in html(document, told)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"%PDF-1.7\nnothing", "no facts attached"),
        (b"<html><body>hello</body></html>", "no <script"),
        (b"\xff\xfe\x00", "neither"),
        (b'<script id="facts">{</script>', "no JSON"),
        (b'<script id="facts">[1]</script>', "not those of a report"),
        (b'<script id="facts">{"facts": []}</script>', "not those of a report"),
    ],
)
def test_a_file_without_our_facts_is_told_apart(data: bytes, says: str) -> None:
    with pytest.raises(NotADocumentError, match=says):
        read(data)
