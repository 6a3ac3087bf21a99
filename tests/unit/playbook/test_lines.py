"""What is printed fits the terminal: lines whose commands stay whole, tables that become blocks."""

from __future__ import annotations

import io
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from playbook.help_text import broken, flowing
from playbook.lines import fitted
from playbook.shown import table_or_records

WORDS = st.lists(st.text("abcdefgh-/.", min_size=1, max_size=12), min_size=1, max_size=12).map(" ".join)
TEXTS = st.lists(st.one_of(WORDS, WORDS.map(lambda text: f"`{text}`")), min_size=1, max_size=6).map(" ".join)


@given(TEXTS, st.integers(20, 120))
def test_no_word_is_lost_and_no_command_broken(text: str, width: int) -> None:
    lines = fitted(text, width).split("\n")
    assert " ".join(lines).split() == text.split()
    for command in re.findall(r"`[^`]+`", text):
        assert any(command in line for line in lines)
    for line in lines:
        assert len(line) <= width or max(map(len, re.findall(r"`[^`]+`|\S+", line))) > width / 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("- one two three four five", "- one two three\n  four five"),
        ("  - one two three four", "  - one two three\n    four"),
        ("Next: `homeward shadow show x`.", "Next:\n`homeward shadow show x`."),
        ("a\n\nb", "a\n\nb"),
    ],
)
def test_lines_are_indented_below_their_words(text: str, shown: str) -> None:
    assert fitted(text, 17) == shown


def printed(width: int, **columns: bool) -> str:
    table = Table(title="Bills", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, folds in columns.items():
        table.add_column(name, no_wrap=not folds, overflow="fold")
    table.add_row("ticket-triage", "[bold]one two three four five[/bold]", "1,204")
    table.add_row("minutes", "six", "7")
    console = Console(file=io.StringIO(), width=width)
    console.print(table_or_records(table, width))
    found = console.file
    assert isinstance(found, io.StringIO)
    return "\n".join(line.rstrip() for line in found.getvalue().splitlines())


def test_a_table_that_fits_is_a_table() -> None:
    assert printed(60, workload=False, what=False, votes=False).splitlines()[1] == (
        "workload       what                     votes"
    )


def test_a_column_that_folds_takes_more_lines() -> None:
    lines = printed(30, workload=False, what=True, votes=False).splitlines()
    assert lines[1].split() == ["workload", "what", "votes"]
    assert len(lines) > 4


def test_a_table_that_does_not_fit_is_a_block_for_each_row() -> None:
    assert printed(30, workload=False, what=False, votes=False) == (
        "Bills\n\n"
        "ticket-triage\n  what   one two three four\n         five\n  votes  1,204\n\n"
        "minutes\n  what   six\n  votes  7"
    )


@given(st.lists(st.sampled_from(["--rate 0.2", "plan", "FILE.jsonl", '--reason "a b"']), max_size=9))
def test_an_example_on_several_lines_is_the_same_command(parts: list[str]) -> None:
    command = " ".join(["homeward", *parts])
    lines = broken(command, 40)
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(command)
    assert max(map(len, lines)) <= 40


def test_a_docstring_flows_and_its_brackets_are_text() -> None:
    assert flowing("One\n    two.\n\n    A [pools.NAME]\n    and {x}[3].") == (
        "One two.\n\nA \\[pools.NAME] and {x}[3]."
    )
