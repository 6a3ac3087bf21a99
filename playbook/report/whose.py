"""Whose money a document tells of that is about some workloads only. Pure."""

from __future__ import annotations

from playbook.finance.inputs import WORDS
from playbook.finance.inputs import Name as Input
from playbook.report.book import Book
from playbook.report.document import Block, Name, Note, text
from playbook.report.money import Money

SHARED = (Input.INFRASTRUCTURE, Input.ENGINEERING, Input.RUNNING)
"""What is paid for all workloads together: nothing says which part is whose."""
SET = "[finance] share_that_moves"
"""How the source of that share begins where nobody computed it."""


def whose_money(book: Book, money: Money | None) -> list[Block]:
    """A note at the head of a case where the money is not that of the named workloads alone."""
    names = book.gathered.asked_workloads
    if not names or money is None:
        return []
    asked = Name(", ".join(names), "strong")
    if money.case[Input.MOVES].source.text.startswith(SET):
        said = text(
            "The money is that of all workloads that are planned to move, not of ",
            asked,
            " alone: ",
            Name("[finance] share_that_moves", "code"),
            " says how much moves.",
        )
        return [Note("Whose money this is", said)]
    shared = [WORDS[name] for name in SHARED if money.case[name].value != 0]
    if not shared:
        return []
    said = text(
        "The spend that moves is that of ",
        asked,
        " alone. What follows is that of all workloads that are planned to move, for nothing says which part"
        " is whose: ",
        Name("; ".join(shared)),
        ". So moving looks dearer here than it is as a part of the whole.",
    )
    return [Note("Whose money this is", said)]
