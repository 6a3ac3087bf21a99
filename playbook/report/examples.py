"""Examples of disagreement: what models said where they differ most, as far as the data class lets it. Pure.

Which ones a document shows follows from its period: those that were kept at its end. Their texts may be
deleted since, but their hashes are not, so that a check still finds the same examples and compares these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from playbook.disagreements import Piece, left_out, marked, texts_sha256
from playbook.report.book import Book, Found
from playbook.report.document import (
    Block,
    Column,
    Name,
    Paragraph,
    Points,
    Section,
    Table,
    Text,
    nothing,
    text,
)
from playbook.report.facts import Fact, Kind, Reference
from playbook.report.registration import data_class_of, days_kept, in_settings

SHOWN = 3
"""Of a workload: enough to see what kind of mistakes there are; `homeward shadow examples` has the others."""
SHOWN_SIGNS = 600
"""Of each text."""
SETTLED = timedelta(seconds=5)
"""How old an example must be: shadow sends its scores to the book every second."""
DELETED = {
    "expired": "as its time was over",
    "replaced": "as a worse one took its place",
    "settings": "as the settings keep less",
}


def chosen(kept: Sequence[Mapping[str, Any]], since: datetime, until: datetime) -> list[dict[str, Any]]:
    """The examples of a workload that a document of a period shows, the worst first.

    Args:
        kept: all that ever were, as `playbook.disagreements.document` has them, the lowest D first.
        since, until: the period.
    """
    found = []
    for item in kept:
        ends = [item["expire_time"], *([item["delete_time"]] if item["delete_time"] else [])]
        there = _moment(item["keep_time"]) + SETTLED <= until < min(map(_moment, ends))
        if there and since <= _moment(item["request_time"]) < until:
            found.append(dict(item))
    return found[:SHOWN]


def deleted_since(item: Mapping[str, Any]) -> str:
    """What can't be compared any more of an example; empty if its texts are still there."""
    if item["texts"] is not None:
        return ""
    day = str(item["delete_time"] or item["expire_time"])[:10]
    why = DELETED.get(item["delete_reason"], "")
    return (
        f"the texts of example {item['sample_id']} of {item['workload']} themselves, which were deleted on"
        f" {day} {why}; their hash was kept, and is compared"
    )


def examples_section(book: Book, compared: Sequence[str]) -> Section:
    """For each workload that is compared, its worst disagreements, or why there are none."""
    title = text("Examples of disagreement")
    if not compared:
        return Section("disagreement", title, (nothing("Nothing was compared in the period."),))
    lead = Paragraph(
        text(
            "The samples with the lowest ",
            Name("D"),
            ", one of each conversation, with what was said. They are the worst, not the usual: what all"
            " samples say together is above. Words that only one of the answers has are strong. Texts are"
            " kept only where a workload's data class lets them, and deleted after the days that it sets.",
        )
    )
    blocks: list[Block] = [lead]
    without: list[Text] = []
    for name in compared:
        found = (book.gathered.examples or {}).get(name, ())
        blocks += [_example(book, number, item) for number, item in enumerate(found, 1)]
        if not found:
            without.append(_none(book, name))
    return Section("disagreement", title, (*blocks, *([Points(tuple(without))] if without else [])))


def _none(book: Book, workload: str) -> Text:
    if not in_settings(book, workload):
        return text(Name(workload), ": not kept: it has no section in the settings any more.")
    days = days_kept(book, workload)
    if not days.value:
        return text(
            Name(workload),
            ": not kept: the data class ",
            data_class_of(book, workload),
            " keeps no texts.",
        )
    if book.gathered.examples is None:
        return text(Name(workload), ": not known: shadow did not tell them to who asked.")
    return text(Name(workload), ": none is there; texts are kept for ", days, " since it was set.")


def _example(book: Book, number: int, item: Mapping[str, Any]) -> Table:
    texts = item["texts"]
    rows: list[tuple[Text, Text]] = []
    if texts is None:
        rows.append(_row("texts", text(Name(f"deleted on {str(item['delete_time'])[:10]}", "quiet"))))
    else:
        rows += [_row(turn["speaker"], _said([(turn["text"], False)], turn)) for turn in _shown_turns(texts)]
        cloud, home = marked(texts["cloud"]["text"], texts["sovereign"]["text"])
        rows.append(_row("in the cloud", _said(cloud, texts["cloud"])))
        rows.append(_row("at home", _said(home, texts["sovereign"])))
    row = _triplet(book, item)
    scores = [
        row.fact(column, unit) if row else book.missing("examples", column, unit, sample_id=item["sample_id"])
        for column, unit in (("d", "difference"), ("sovereign", "number"), ("noise", "number"))
    ]
    rows.append(
        _row(
            "scores",
            text(
                Name("D"),
                " ",
                scores[0],
                ": the model at home agrees with the cloud ",
                scores[1],
                ", the cloud with itself ",
                scores[2],
                Name(f" ({item['reason']})" if item["reason"] else ""),
            ),
        )
    )
    rows.append(
        _row(
            "found by",
            text(
                "row ",
                Name(_hex(item), "code"),
                " of ",
                Name("homeward.triplets", "code"),
                "; hash of the texts ",
                _hash(item),
            ),
        )
    )
    after = ", sampled after the cutover" if item["lane"] else ""
    return Table(
        (Column("", share=1), Column("", share=5)),
        tuple(rows),
        text(Name(f"{item['workload']}, example {number}"), after),
        small=True,
    )


def _triplet(book: Book, item: Mapping[str, Any]) -> Found | None:
    return next(iter(book.rows("examples", sample_id=_hex(item), lane=item["lane"])), None)


def _hash(item: Mapping[str, Any]) -> Fact:
    """Of the texts as they are, else as it was kept."""
    digest = texts_sha256(item["texts"]) if item["texts"] is not None else item["texts_sha256"]
    reference = Reference(
        Kind.SHADOW,
        f"example {item['sample_id']}",
        "ShadowService.ListExamples; SHA-256 of `texts` as `homeward shadow examples --json` prints it, with"
        " sorted keys and without spaces",
        rows=1,
    )
    return Fact(f"example/{item['sample_id']}/texts_sha256", digest, "hash", reference)


def _shown_turns(texts: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The instructions, and what the user said last."""
    turns = texts["turns"]
    last = max((place for place, turn in enumerate(turns) if turn["speaker"] == "user"), default=-1)
    return [
        turn
        for place, turn in enumerate(turns)
        if place == last or turn["speaker"] in ("system", "developer")
    ]


def _row(label: str, said: Text) -> tuple[Text, Text]:
    return text(Name(label, "quiet")), said


def _said(pieces: Sequence[Piece], turn: Mapping[str, Any]) -> Text:
    """A text with its words that differ, cut to what a page bears."""
    spans: list[Name] = []
    room = SHOWN_SIGNS
    for differs, group in groupby(pieces, key=lambda piece: piece[1]):
        said = "".join(piece for piece, _ in group)
        spans.append(Name(said[:room], "strong" if differs else "plain"))
        room -= len(said)
        if room <= 0:
            break
    if room < 0:
        spans.append(Name(" … cut here", "quiet"))
    elif turn["bytes_left_out"]:
        spans.append(Name(f" {left_out(turn)}", "quiet"))
    return tuple(spans) or text(Name("nothing", "quiet"))


def _hex(item: Mapping[str, Any]) -> str:
    """The sample's id as the book has it."""
    return str(item["sample_id"]).replace("-", "")


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value)
