"""A number without a reference can't get into a document."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from playbook.report.document import (
    Card,
    Column,
    Figure,
    Name,
    Note,
    Paragraph,
    Points,
    Section,
    Table,
    block_facts,
    text,
)
from playbook.report.facts import Fact, Kind, Reference

FACT = Fact("legs", 12, "count", Reference(Kind.QUERY, "totals"))
BAD = "we saved 12 dollars"


@pytest.mark.parametrize(
    "make",
    [
        lambda: text(BAD),
        lambda: Paragraph((BAD,)),
        lambda: Points(((BAD,),)),
        lambda: Note("title", (BAD,)),
        lambda: Note(BAD, ("text",)),
        lambda: Card(BAD, FACT),
        lambda: Card("label", FACT, (BAD,)),
        lambda: Figure("f", b"", "alt", (BAD,), (FACT,)),
        lambda: Table((Column("a"),), (((BAD,),),)),
        lambda: Table((Column("a"),), (), (BAD,)),
        lambda: Section("s", (BAD,)),
        lambda: Paragraph(("full-width digits count as well: ４２",)),
    ],
)
def test_a_digit_in_prose_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="without a reference"):
        make()


def test_facts_and_names_may_have_digits() -> None:
    made = Paragraph(("Of ", FACT, " legs by ", Name("team-7"), "."))
    assert block_facts(made) == [FACT]


def test_a_picture_without_data_is_refused() -> None:
    with pytest.raises(ValueError, match="from nothing"):
        Figure("f", b"", "alt", ("caption",), ())


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="2 cells in a table of 1"):
        Table((Column("a"),), ((("x",), ("y",)),))
