"""Two pictures for a board: the cash flow, added up, and what matters most."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the choice of the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from playbook.finance.inputs import WORDS, Case, told
from playbook.finance.model import Outcome, evaluate
from playbook.finance.money import NANOS_PER_DOLLAR, brief
from playbook.finance.risk import Swing, tornado

GAIN, LOSS, INK, QUIET, LIGHT = "#1b7f5c", "#b5432b", "#1f2933", "#69747f", "#c9d1d9"
BARS = 8
"""Inputs of the tornado: those after them hardly matter."""
SIZE_INCHES = (11.0, 4.6)
DOTS_PER_INCH = 130


def draw_cash_flow(case: Case, file: Path) -> None:
    """Draws the flows by month and their sum, with the middle of what is unknown.

    Args:
        case: every input has a value or a range.
        file: ends in .png or .svg; its folder is made.

    Raises:
        OSError: the file can't be written.
    """
    _save(lambda: _cash_flow(case), file)


def draw_tornado(case: Case, file: Path) -> None:
    """Draws what each input's range does to the three-year NPV; arguments as `draw_cash_flow`."""
    _save(lambda: _tornado(case), file)


def middle(case: Case) -> Outcome:
    """What follows from the values, and from the middle of what is unknown."""
    return evaluate({name: item.middle or Fraction(0) for name, item in case.items()})


def _cash_flow(case: Case) -> Figure:
    outcome = middle(case)
    sums, total = [], 0
    for flow in outcome.flows:
        total += flow
        sums.append(total / NANOS_PER_DOLLAR)
    figure, axes = _axes(left=0.085)
    months = range(len(outcome.flows))
    flows = [flow / NANOS_PER_DOLLAR for flow in outcome.flows]
    axes.bar(months, flows, color=[GAIN if flow >= 0 else LOSS for flow in flows], width=0.7, alpha=0.55)
    axes.plot(months, sums, color=INK, linewidth=2, marker=".", markersize=5)
    axes.axhline(0, color=QUIET, linewidth=0.9)
    axes.annotate(
        brief(total),
        (months[-1], sums[-1]),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontweight="bold",
    )
    if outcome.turns:
        axes.axvline(outcome.turns, color=GAIN, linewidth=1, linestyle="--")
        axes.annotate(
            f"month {outcome.turns}", (outcome.turns, 0), (4, -12), textcoords="offset points", color=GAIN
        )
    axes.yaxis.set_major_formatter(_dollars())
    axes.set_xticks(range(0, 37, 6))
    axes.set_xlabel("months since work began", color=QUIET)
    ends = (
        f"is made up for in month {outcome.turns}" if outcome.turns else "is not made up for in three years"
    )
    _title(figure, f"What is paid {ends}", "Bars: by month. Line: all of them added up." + _unknown(case))
    return figure


def _tornado(case: Case) -> Figure:
    swings = [swing for swing in tornado(case) if swing.size][:BARS]
    base = middle(case).npv / NANOS_PER_DOLLAR
    figure, axes = _axes(left=0.30)
    for place, swing in enumerate(swings):
        for end, value in (("low", swing.at_low), ("high", swing.at_high)):
            _bar(axes, place, float(value) / NANOS_PER_DOLLAR, base, end, swing, case)
    axes.axvline(base, color=INK, linewidth=1.2)
    axes.axvline(0, color=QUIET, linewidth=0.9, linestyle=":")
    axes.set_yticks(range(len(swings)), [WORDS[swing.name] for swing in swings])
    axes.set_ylim(max(len(swings), 1) - 0.4, -0.6)
    axes.margins(x=0.16)
    axes.xaxis.set_major_formatter(_dollars())
    axes.set_xlabel("three-year NPV", color=QUIET)
    first = f"Most depends on the {WORDS[swings[0].name]}" if swings else "Nothing has a range"
    about = f"Each input at both ends of its range; with all as they are, it is {brief(middle(case).npv)}."
    _title(figure, first, about + _unknown(case))
    return figure


def _bar(axes: Axes, place: int, value: float, base: float, end: str, swing: Swing, case: Case) -> None:
    item = case[swing.name]
    left = value < base
    axes.barh(place, value - base, left=base, height=0.6, color=LOSS if left else GAIN, alpha=0.8)
    axes.annotate(
        told(item.unit, item.low if end == "low" else item.high),
        (value, place),
        (-4 if left else 4, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8.5,
        color=QUIET,
    )


def _axes(left: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=SIZE_INCHES)
    figure.subplots_adjust(left=left, right=0.93, top=0.80, bottom=0.13)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT)
    axes.tick_params(length=0, labelcolor=INK)
    return figure, axes


def _title(figure: Figure, title: str, about: str) -> None:
    figure.text(0.015, 0.94, title, fontsize=15, fontweight="bold", va="center")
    figure.text(0.015, 0.87, about, fontsize=9.5, color=QUIET, va="center")


def _unknown(case: Case) -> str:
    names: Sequence[str] = [WORDS[name] for name, item in case.items() if item.value is None]
    return f" Unknown, and taken at the middle: {', '.join(names)}." if names else ""


def _dollars() -> FuncFormatter:
    return FuncFormatter(lambda value, _: brief(round(value) * NANOS_PER_DOLLAR))


def _save(make: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    style: dict[Any, Any] = {
        "font.size": 9.5,
        "font.family": "DejaVu Sans",
        "svg.hashsalt": "homeward",
        "text.color": INK,
        "text.parse_math": False,
    }
    with plt.rc_context(style):
        figure = make()
        # Without date and version the same figures give the same bytes.
        metadata = {"Date": None} if file.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(file, dpi=DOTS_PER_INCH, metadata=metadata)
        finally:
            plt.close(figure)
