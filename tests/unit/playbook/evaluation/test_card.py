"""The tables of the model card."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from playbook.evaluation import card, pictures

MODEL = Path(__file__).parents[4] / "models" / "classifier"
FIGURES: dict[str, Any] = json.loads((MODEL / "evaluation.json").read_text(encoding="utf-8"))
EMPTY = "".join(f"<!-- table: {name} -->\n<!-- end -->\n" for name in card.TABLES)


def test_only_what_stands_between_the_comments_changes() -> None:
    page = card.refreshed(f"# Title\n\n{EMPTY}\nThe end.\n", FIGURES)
    assert page.startswith("# Title\n\n<!-- table: ")
    assert page.endswith("<!-- end -->\n\nThe end.\n")
    assert card.refreshed(page, FIGURES) == page


def test_a_figure_that_changes_changes_the_page() -> None:
    page = card.refreshed(EMPTY, FIGURES)
    other = copy.deepcopy(FIGURES)
    other["task_types"]["by_class"]["translation"]["recall"] = 0.1234
    changed = card.refreshed(page, other)
    assert "| 0.123 |" in changed
    assert "| 0.123 |" not in page


@pytest.mark.parametrize(
    "page",
    ["", EMPTY + "<!-- table: totals -->\n<!-- end -->\n", EMPTY + "<!-- table: odd -->\n<!-- end -->\n"],
)
def test_a_place_that_is_missing_or_has_no_table_is_told(page: str) -> None:
    with pytest.raises(card.CardError, match="the card must have a place"):
        card.refreshed(page, FIGURES)


def test_the_pictures_follow_from_the_figures(tmp_path: Path) -> None:
    drawn = pictures.draw(FIGURES, tmp_path)
    assert [path.name for path in drawn] == [
        "classifier-risk-coverage.png",
        "classifier-confusion.png",
        "classifier-calibration.png",
        "classifier-few-shot.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
