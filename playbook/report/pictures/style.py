"""One style for all pictures of the document: they can be read without the text around them.

Pictures are SVG, whose letters are outlines: they look the same in both renderings.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

HOME, CLOUD, WARN, AMBER = "#1f6f54", "#34618e", "#b5432b", "#c9952c"
INK, QUIET, RULE, WASH = "#1f2933", "#66717d", "#d5dbe1", "#eef1f4"
WIDTH = 6.7
"""Inches: the text's width on the page."""
PANELS = 6
"""Workloads that have a panel of their own at most; the tables have all."""
STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "homeward",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.titlesize": 8.5,
    "axes.titlecolor": INK,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,
}


def across(count: int) -> int:
    """Panels beside each other."""
    return 1 if count < 2 else 2


def panels(count: int, height: float, wide: int | None = None) -> tuple[Canvas, list[Axes]]:
    """A canvas with that many panels, each so many inches high."""
    wide = wide or across(count)
    high = math.ceil(max(count, 1) / wide)
    figure = Canvas(figsize=(WIDTH, height * high + 0.2), layout="constrained")
    grid = figure.subplots(high, wide, squeeze=False)
    every = list(grid.flat)
    for axes in every[count:]:
        axes.set_visible(False)
    return figure, every[:count]


def money(value: float) -> str:
    """Dollars at an axis: `$12k`."""
    sign, size = ("−" if value < 0 else ""), abs(value)
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{sign}${size / unit:.3g}{letter}"
    if size >= 1 or not size:
        return f"{sign}${size:,.2f}" if 0 < size < 10 else f"{sign}${size:,.0f}"
    return f"{sign}${size:.3g}" if size >= 0.0001 else f"{sign}${size:.0e}"


def short(name: str, limit: int) -> str:
    """A name in so many signs at most."""
    name = "".join(sign if sign.isprintable() else "·" for sign in name)
    return name if len(name) <= limit else name[: limit - 1] + "…"


def svg(figure: Canvas) -> bytes:
    """The picture, the same for the same figures."""
    made = io.BytesIO()
    with warnings.catch_warnings():
        # That the font lacks a sign of somebody's name: it is shown as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(made, format="svg", metadata={"Date": None, "Creator": None})
    text = made.getvalue()
    return text[text.index(b"<svg") :]
