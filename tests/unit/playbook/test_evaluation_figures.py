"""The committed figures of the classifier are what the committed model gives.

Its int8 kernels round otherwise on another CPU, so the shares have some room, which is stated below. The
files of the model have none.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from playbook.evaluation import card, few_shot, figures
from services.classifier.adapters.reader import Reader
from services.classifier.core.background import Background

COMMITTED: dict[str, Any] = json.loads((figures.MODEL / "evaluation.json").read_text(encoding="utf-8"))
TOLERANCE = 0.005
"""Half a point: six of 1,236 requests."""
MOVED_ROWS = 6
"""Requests that may stand elsewhere in the confusion matrix."""
GROUP_ROWS = 2
"""Requests of a source or a class that may come out otherwise."""
FEW_SHOT_TOLERANCE = 0.01
"""A draw of ten intents has 300 test queries."""
STALE = "run `make eval-classifier` and commit what it writes"


@pytest.fixture(scope="module")
def reader() -> Reader:
    """The committed model."""
    return Reader(figures.MODEL, threads=1)


def test_the_measured_model_is_the_committed_one() -> None:
    assert figures.digests() == COMMITTED["model"], STALE


def test_the_task_types_of_test_dev_are_told_as_well_as_the_figures_say(reader: Reader) -> None:
    found, committed = figures.of_task_types(reader), COMMITTED["task_types"]
    assert found.keys() == committed.keys(), STALE
    assert found["n"] == committed["n"], STALE
    for name in ("accuracy", "tier_accuracy", "macro_f1", "ece", "tier_ece", "abstained"):
        assert found[name] == pytest.approx(committed[name], abs=TOLERANCE), f"{name}: {STALE}"
    for now, then in zip(found["risk_coverage"], committed["risk_coverage"], strict=True):
        assert now == pytest.approx(then, abs=TOLERANCE), STALE
    moved = np.abs(np.array(found["confusion"]["matrix"]) - np.array(committed["confusion"]["matrix"])).sum()
    assert moved <= 2 * MOVED_ROWS, STALE
    for groups in ("by_source", "by_kind", "by_exposure"):
        assert found[groups].keys() == committed[groups].keys(), STALE
        for name, then in committed[groups].items():
            now, room = found[groups][name], (GROUP_ROWS + 0.01) / then["n"]
            assert now["n"] == then["n"], f"{name}: {STALE}"
            for share in ("accuracy", "tier_accuracy", "abstained"):
                assert now[share] == pytest.approx(then[share], abs=room), f"{name}, {share}: {STALE}"


def test_a_few_shot_draw_comes_out_as_the_figures_say(reader: Reader) -> None:
    name = "clinc150_10_intents"
    background = Background.from_file(figures.MODEL / "background.npz")
    found = few_shot.measure(few_shot.settings()[name], few_shot.Readings(reader), background, draws=[0])
    for figure, committed in COMMITTED["few_shot"][name].items():
        if isinstance(committed, dict):
            assert found[figure]["by_draw"] == pytest.approx(
                committed["by_draw"][:1], abs=FEW_SHOT_TOLERANCE
            ), f"{figure}: {STALE}"


def test_the_model_card_shows_the_figures() -> None:
    page = (figures.MODEL / "README.md").read_text(encoding="utf-8")
    assert card.refreshed(page, COMMITTED) == page, STALE


@pytest.mark.parametrize("name", ["risk-coverage", "confusion", "calibration", "few-shot"])
def test_the_pictures_are_there_and_wide_enough_to_read(name: str) -> None:
    image = (figures.ROOT / "docs" / "images" / f"classifier-{name}.png").read_bytes()
    width, height = struct.unpack(">II", image[16:24])
    assert width >= 800
    assert height >= 400
    assert f"classifier-{name}.png" in (figures.MODEL / "README.md").read_text(encoding="utf-8")
