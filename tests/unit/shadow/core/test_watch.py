"""The watch after a cutover: who votes, and that a restart changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.detector import Detector
from services.shadow.core.watch import Snapshot, Watch

WINDOW_US = 1000
MARGIN = 0.05


@dataclass(frozen=True)
class Row:
    """What the watch reads of a finished sample."""

    arrival_unix_us: int | None
    cluster: str = ""
    sovereign_millionths: int | None = 1_000_000
    noise_millionths: int | None = 1_000_000


ROWS = st.lists(
    st.builds(
        Row,
        st.one_of(st.none(), st.integers(0, 5 * WINDOW_US)),
        st.sampled_from(["", "a", "b", "c"]),
        st.sampled_from([None, 0, 500_000, 1_000_000]),
        st.sampled_from([None, 1_000_000, 800_000]),
    ),
    max_size=40,
)


def watched(rows: list[Row], first: int = 1) -> Watch:
    """A watch that has seen all rows."""
    watch = Watch(MARGIN, WINDOW_US)
    watch.take(enumerate(rows, first))
    return watch


@pytest.mark.parametrize(
    ("rows", "votes"),
    [
        ([Row(1), Row(2), Row(3)], 3),
        # One vote a cluster and window: the first.
        ([Row(1, "a"), Row(2, "a"), Row(3, "b")], 2),
        ([Row(1, "a"), Row(999, "a"), Row(1000, "a")], 2),
        # Rows that overtook each other belong to the window that is open.
        ([Row(1000, "a"), Row(999, "a")], 1),
        ([Row(1, "a"), Row(None, "a"), Row(None, "b")], 2),
    ],
)
def test_who_votes(rows: list[Row], votes: int) -> None:
    assert watched(rows).detector.votes == votes


@pytest.mark.parametrize(
    ("sovereign", "noise", "difference"),
    [
        (1_000_000, 1_000_000, Fraction(0)),
        (None, 1_000_000, Fraction(-1)),
        (1_000_000, None, Fraction(0)),
        (None, None, Fraction(-1)),
        (500_000, 800_000, Fraction(-3, 10)),
    ],
)
def test_what_a_row_says(sovereign: int | None, noise: int | None, difference: Fraction) -> None:
    row = Row(1, "", sovereign, noise)
    assert watched([row]).detector == Detector(MARGIN).after([difference])


@given(ROWS, st.integers(0, 40))
def test_a_restart_changes_nothing(rows: list[Row], cut: int) -> None:
    before = watched(rows[:cut])
    after = Watch(MARGIN, WINDOW_US, Snapshot.from_json(before.snapshot.to_json()))
    numbered = list(enumerate(rows, 1))
    after.take(item for item in numbered if item[0] > after.rowid)
    whole = watched(rows)
    assert after.detector == whole.detector
    assert after.snapshot == whole.snapshot
    assert after.alarm == whole.alarm


def test_it_alarms_on_a_model_that_fails_and_on_no_other() -> None:
    assert watched([Row(1)] * 300).alarm == ""
    failing = watched([Row(1, sovereign_millionths=None)] * 100)
    assert failing.alarm.startswith("the alarm after cutover: ")
    # It stops at the vote that alarmed.
    assert failing.detector.votes < 100
