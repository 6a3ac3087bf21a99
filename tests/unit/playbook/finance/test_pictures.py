"""Pictures of the case: any can be drawn, twice the same, and all words are within the picture."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from playbook.finance import pictures
from playbook.finance.inputs import Case, Name, Source, known, unknown
from playbook.finance.reference import case_of, published

DOLLAR = 1_000_000_000
SOURCE = Source("setting", "a test")
CLEAR = case_of(published())
CASES: dict[str, Case] = {
    "clear": CLEAR,
    "cents": {**CLEAR, Name.CLOUD: known(Name.CLOUD, DOLLAR // 2, SOURCE, 0, DOLLAR)},
    "nothing": {name: known(name, 0, SOURCE) for name in Name},
    "dearer": {**CLEAR, Name.RUNNING: known(Name.RUNNING, 10**5 * DOLLAR, SOURCE, 0, 10**6 * DOLLAR)},
    "unknown": {
        name: unknown(name, "nobody said", Fraction(item.middle or 0) / 2, Fraction(item.middle or 0) + 1)
        for name, item in CLEAR.items()
    },
    "huge": {**CLEAR, Name.CLOUD: replace(CLEAR[Name.CLOUD], high=Fraction(10**12 * DOLLAR))},
}


def shown(figure: Figure) -> list[Text]:
    """All words of a figure: of ticks, those within the axes."""
    (axes,) = figure.axes
    texts = [*figure.texts, *axes.texts, axes.xaxis.label, axes.yaxis.label]
    for axis, ends in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
        texts += [tick.label1 for tick in axis.get_major_ticks() if ends[0] <= tick.get_loc() <= ends[1]]
    return [text for text in texts if text.get_text()]


@pytest.mark.parametrize("name", CASES)
def test_all_words_are_within_the_picture(name: str) -> None:
    for make in (pictures._cash_flow, pictures._tornado):
        figure = make(CASES[name])
        try:
            figure.canvas.draw()
            width, height = figure.bbox.width, figure.bbox.height
            for text in shown(figure):
                box = text.get_window_extent()
                found = (box.x0 >= 0, box.x1 <= width, box.y0 >= 0, box.y1 <= height)
                assert all(found), text.get_text()
        finally:
            plt.close(figure)


def test_the_same_case_gives_the_same_bytes(tmp_path: Path) -> None:
    for draw in (pictures.draw_cash_flow, pictures.draw_tornado):
        files = [tmp_path / "made" / name for name in ("a.svg", "b.svg")]
        for file in files:
            draw(CASES["unknown"], file)
        assert files[0].read_bytes() == files[1].read_bytes()


def test_signs_can_be_told_without_colours() -> None:
    """The greys of gain and loss lie apart (relative luminance, ITU-R BT.709)."""

    def grey(colour: str) -> float:
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert abs(grey(pictures.GAIN) - grey(pictures.LOSS)) > 0.2
