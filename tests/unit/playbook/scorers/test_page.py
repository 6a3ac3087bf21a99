"""The page's tables: places and words."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook.scorers.figures import Case
from playbook.scorers.measuring import CLOUDS, Measured
from playbook.scorers.page import AIMED, PageError, aims, refreshed

PAGE = "Text.\n<!-- measured: aims -->\nold\n<!-- end -->\nMore."


def row(values: list[float], longer: float) -> Measured:
    cases = [Case(number, value) for number, value in enumerate(values)]
    return Measured("LLMFAO", CLOUDS[0], "pairs", AIMED, cases, [Case(0, longer)])


def test_only_what_stands_between_the_comments_changes() -> None:
    assert refreshed(PAGE, {"aims": "new"}) == PAGE.replace("old", "new")
    with pytest.raises(PageError, match="choice"):
        refreshed(PAGE, {"aims": "new", "choice": "table"})
    with pytest.raises(PageError, match="aims"):
        refreshed("Text.", {"aims": "new"})


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([0.8, 0.8], "| yes |"), ([0.9, 0.6], "on all, not on the other half"), ([0.5, 0.5], "| **no** |")],
)
def test_an_aim_is_held_against_all_and_against_the_other_half(values: list[float], verdict: str) -> None:
    line = aims([row(values, 0.3)]).splitlines()[2]
    assert "≥ 0.72" in line
    assert verdict in line


def test_what_is_not_there_is_not_measured_and_what_is_no_better_is_counted() -> None:
    lines = aims([row([0.8, 0.8], 0.9)]).splitlines()
    assert sum("not here, not measured" in line for line in lines) == 3
    assert "0 of 1 rows" in lines[-1]


def test_the_page_in_the_project_has_a_place_for_each_table() -> None:
    page = (Path(__file__).parents[4] / "docs" / "scorers.md").read_text(encoding="utf-8")
    tables = dict.fromkeys(("aims", "agreement", "judges", "literature", "choice"), "x")
    assert "x" in refreshed(page, tables)
