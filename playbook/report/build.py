"""Makes the document of what was gathered: the summary, the cases, the appendix of all references. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from playbook.report.book import Book
from playbook.report.digest import words
from playbook.report.document import Block, Document, Entry, Name, Paragraph, Section, facts, text
from playbook.report.engineering import engineering
from playbook.report.facts import KINDS, Fact, Kind, Reference, references
from playbook.report.finance import finance
from playbook.report.gathered import Gathered
from playbook.report.legal import legal
from playbook.report.mappings import Law
from playbook.report.procurement import procurement
from playbook.report.summary import summary
from playbook.report.words import words_section

CASES = ("engineering", "finance", "legal", "procurement")
SETTING = "setting/"
"""How keys of settings' facts begin."""
FORMAT = 2
"""Of what a document carries."""


def build(found: Gathered, laws: Sequence[Law], cases: Sequence[str] = CASES) -> Document:
    """The document.

    Args:
        found: everything that was asked.
        laws: the control mappings.
        cases: those that are wanted, of CASES.
    """
    book = Book(found)
    makers: Mapping[str, Callable[[], Section]] = {
        "engineering": lambda: engineering(book),
        "finance": lambda: finance(book),
        "legal": lambda: legal(book, laws),
        "procurement": lambda: procurement(book),
    }
    chosen = [case for case in CASES if case in cases]
    sections = (summary(book, chosen), words_section(), *(makers[case]() for case in chosen))
    told = found.settings.get("compliance", {}).get("controller", "")
    asked = ", ".join(found.asked_workloads) or "all workloads"
    until = f"{found.until[:16].replace('T', ' ')} UTC"
    subtitle = text(Name(" · ".join([*([told] if told else []), asked, f"made on {until}"])))
    document = Document("Moving language-model workloads home", subtitle, _known_links(sections), (), {})
    numbers = _numbers(document)
    return replace(document, numbers=numbers, appendix=_appendix(document, numbers, found))


def all_facts(document: Document) -> list[Fact]:
    """Those that stand in the document, and those that they are computed from, each key once."""
    made: dict[str, Fact] = {}
    waiting = list(reversed(facts(document)))
    while waiting:
        fact = waiting.pop()
        if fact.key not in made:
            made[fact.key] = fact
            waiting += reversed(fact.reference.inputs)
    return list(made.values())


def carried(document: Document, found: Gathered, cases: Sequence[str]) -> dict[str, Any]:
    """What a rendering carries along, so that it can be verified: JSON."""
    every = all_facts(document)
    return {
        "homeward_report": FORMAT,
        "version": found.version,
        "written_with": dict(found.written_with),
        "request": {
            "workloads": list(found.asked_workloads),
            "cases": list(cases),
            "since": found.since,
            "until": found.until,
        },
        "facts": [
            {
                "key": fact.key,
                "value": fact.value,
                "unit": fact.unit,
                "text": fact.text,
                "reference": document.numbers[fact.reference.key],
            }
            for fact in every
        ],
        "references": [
            {
                "number": document.numbers[item.key],
                "kind": KINDS[item.kind],
                "name": item.name,
                "detail": item.detail,
                "parameters": dict(item.parameters),
                "rows": item.rows,
                "inputs": [fact.key for fact in item.inputs],
            }
            for item in references(every)
        ],
        "words": words(document),
    }


def _numbers(document: Document) -> dict[tuple[str, str, str], str]:
    counts: dict[Kind, int] = {}
    numbers = {}
    for reference in references(facts(document)):
        counts[reference.kind] = counts.get(reference.kind, 0) + 1
        numbers[reference.key] = f"{reference.kind.value}{counts[reference.kind]}"
    return numbers


def _appendix(
    document: Document, numbers: Mapping[tuple[str, str, str], str], found: Gathered
) -> tuple[Section, ...]:
    by_kind: dict[Kind, list[Reference]] = {}
    told = _settings(document)
    for reference in references(facts(document)):
        by_kind.setdefault(reference.kind, []).append(reference)
    parts = []
    asked: dict[str, str] = {}
    for kind, name in KINDS.items():
        if kind not in by_kind:
            continue
        blocks: list[Block] = [_entry(item, numbers, asked, told) for item in by_kind[kind]]
        parts.append(Section(f"references-{kind.value}", text(Name(_plural(name))), tuple(blocks)))
    how = Paragraph(
        text(
            "Each number of this document points here. A query can be asked again with its parameters, by"
            " the user ",
            Name("analyst", "code"),
            "; ",
            Name("homeward report --verify FILE", "code"),
            " asks all of them again and names what has changed. The period is from ",
            Name(f"{found.since} to {found.until}"),
            ", the first included and the last not.",
        )
    )
    return (
        Section(
            "appendix", text("Appendix: where every number comes from"), (how,), tuple(parts), new_page=True
        ),
    )


def _plural(name: str) -> str:
    head, _, rest = name.partition(" ")
    plural = {"query": "Queries", "entry": "Entries", "answer": "Answers", "setting": "Settings"}
    plural |= {"published": "Published", "computed": "Computed"}
    tail = rest + "s" if head == "published" else rest
    return f"{plural[head]} {tail}".strip()


def _settings(document: Document) -> dict[tuple[str, str, str], str]:
    """What the document tells of each section of the settings."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for fact in all_facts(document):
        if fact.key.startswith(SETTING):
            place = fact.key.removeprefix(SETTING).replace("/", ".")
            name = place.removeprefix(fact.reference.name.strip("[]")).strip(".")
            found.setdefault(fact.reference.key, []).append(f"{name}: {fact.text}")
    return {key: "; ".join(lines) for key, lines in found.items()}


def _entry(
    item: Reference,
    numbers: Mapping[tuple[str, str, str], str],
    asked: dict[str, str],
    told: Mapping[tuple[str, str, str], str],
) -> Entry:
    number = numbers[item.key]
    if item.key in told:
        return Entry(number, item.name, told[item.key])
    about = []
    if item.rows is not None:
        about.append(f"{item.rows:,} row{'' if item.rows == 1 else 's'}")
    about += [f"{name} = {_parameter(value)}" for name, value in item.parameters]
    if item.kind is Kind.QUERY:
        source = item.detail.strip()
        if asked.setdefault(source, number) != number:
            return Entry(number, item.name, "; ".join([f"the same query as {asked[source]}", *about]))
        return Entry(number, item.name, "; ".join(about), source)
    if item.kind is Kind.COMPUTED and item.inputs:
        used = list(dict.fromkeys(numbers[fact.reference.key] for fact in item.inputs))
        about.append(f"from {', '.join(used[:30])}{' …' if len(used) > 30 else ''}")
    return Entry(number, item.name, "; ".join([*([item.detail] if item.detail else []), *about]))


def _parameter(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)


def _known_links(sections: tuple[Section, ...]) -> tuple[Section, ...]:
    """The sections, in which links to what is not there are plain words: of a case that nobody asked for."""
    from playbook.report.document import Link, Note, Points, Table

    names: set[str] = set()

    def name(section: Section) -> None:
        names.add(section.name)
        for part in section.sections:
            name(part)

    for section in sections:
        name(section)

    def spans(found: Any) -> Any:
        return tuple(
            Name(item.text) if isinstance(item, Link) and item.to not in names else item for item in found
        )

    def block(found: Block) -> Block:
        match found:
            case Paragraph() | Note():
                return replace(found, spans=spans(found.spans))
            case Points():
                return replace(found, items=tuple(spans(item) for item in found.items))
            case Table():
                return replace(found, rows=tuple(tuple(spans(cell) for cell in row) for row in found.rows))
        return found

    def walked(section: Section) -> Section:
        return replace(
            section,
            blocks=tuple(block(item) for item in section.blocks),
            sections=tuple(walked(part) for part in section.sections),
        )

    return tuple(walked(section) for section in sections)
