"""Drafts for the book, and what somebody might do to a journal behind the ledger's back."""

from __future__ import annotations

import sqlalchemy as sql
from hypothesis import strategies as st

from services.ledger.core.book import Draft, Kind, Line, draft, pool, provider

NANOS = st.integers(-(10**14), 10**14)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""As protobuf has it: with NUL, slashes and signs of all planes, without surrogates."""


def simple_draft(batch: str, cost_nanos: int = 1_000_003, kind: Kind = Kind.LEGS) -> Draft:
    """A batch of two legs of different workloads, with a third of unknown cost."""
    return draft(
        kind,
        batch,
        [
            Line("triage", "cloud", "PRODUCTION", provider("openai"), 2, 1, (cost_nanos, 0, 0, 7, 0, 0)),
            Line("notes", "sovereign", "SHADOW", pool("home"), 1, 0, (1, 2, 3, 4, 5, 6)),
        ],
        detail={"rates": {"gpt": [150_000, None]}, "note": "ß"},
    )


@st.composite
def lines(draw: st.DrawFn) -> list[Line]:
    """Lines of an entry, no two with the same key."""
    made = st.builds(
        lambda workload, target, purpose, creditor, known, unknown, parts: Line(
            workload, target, purpose, creditor, known + unknown, unknown, parts
        ),
        TEXT,
        st.sampled_from(["cloud", "sovereign"]),
        st.sampled_from(["PRODUCTION", "SHADOW", "JUDGE"]),
        st.one_of(TEXT.map(provider), TEXT.map(pool)),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.tuples(*[NANOS] * 6),
    )
    return draw(st.lists(made, max_size=5, unique_by=lambda line: line.key))


@st.composite
def drafts(draw: st.DrawFn, batch: str = "batch") -> Draft:
    """Any draft that the book can make."""
    return draft(
        draw(st.sampled_from(Kind)),
        batch,
        draw(lines()),
        idle=draw(st.dictionaries(TEXT, NANOS, max_size=2)),
        detail=draw(st.dictionaries(TEXT, st.one_of(st.none(), st.integers(), TEXT), max_size=3)),
    )


def tamper(url: str, *statements: str) -> None:
    """Runs statements as a stranger would, behind the ledger's back; foreign keys do not hold him up."""
    engine = sql.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as db:
        if db.dialect.name == "postgresql":
            db.exec_driver_sql("SET session_replication_role = replica")
        for statement in statements:
            db.exec_driver_sql(statement)
    engine.dispose()
