"""Two pictures for a board: the cash flow, added up, and what matters most.

Each can be read without colours: signs and sides say what is gained, and greys differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the choice of the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from playbook.finance.inputs import WORDS, Case, told
from playbook.finance.model import MONTHS
from playbook.finance.money import NANOS_PER_DOLLAR, brief, money
from playbook.finance.risk import Swing, mattering, middle, tornado

GAIN, LOSS, INK, QUIET, LIGHT = "#1b7f5c", "#e0925f", "#1f2933", "#5b6670", "#d5dbe1"
BARS = 8
"""Inputs of the tornado at most."""
ALIKE_USD = 40
"""Of axes that span less than a quarter of it, ticks are cents apart."""
LEAST_ROWS = 4
"""Rows that there is room for at least."""
SIZE_INCHES = (11.0, 4.9)
DOTS_PER_INCH = 130
ABOUT_CHARS = 150
"""Of a line below the title."""


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


def _cash_flow(case: Case) -> Figure:
    outcome = middle(case)
    sums, total = [], 0
    for flow in outcome.flows:
        total += flow
        sums.append(total / NANOS_PER_DOLLAR)
    if outcome.turns:
        title = f"What is paid is made up for in month {outcome.turns}"
    else:
        title = "Nothing is paid" if outcome.turns == 0 else "Three years do not make up for what is paid"
    about = (
        "Bars: what a month saves less what it costs. Line: all months until then added up, not discounted."
    )
    figure, axes = _axes(title, about + _unknown(case), left=0.085)
    months = range(len(outcome.flows))
    flows = [flow / NANOS_PER_DOLLAR for flow in outcome.flows]
    axes.bar(months, flows, color=[GAIN if flow >= 0 else LOSS for flow in flows], width=0.7, zorder=2)
    axes.plot(months, sums, color=INK, linewidth=2, zorder=3)
    axes.axhline(0, color=QUIET, linewidth=0.9, zorder=2)
    lowest = min(months, key=lambda month: (sums[month], month))
    marks = {lowest: "most that is out: ", months[-1]: "after three years: "}
    for month, words in marks.items():
        axes.plot(month, sums[month], "o", color=INK, markersize=5, zorder=4)
        last = month == months[-1]
        # Beside the line, where neither it nor the bars are.
        axes.annotate(
            f"{words}{brief(round(sums[month] * NANOS_PER_DOLLAR))}",
            (month, sums[month]),
            (-8 if last else 8, 2 if last and sums[month] > 0 else -4),
            textcoords="offset points",
            ha="right" if last else "left",
            va="bottom" if last and sums[month] > 0 else "top",
            fontweight="bold",
            zorder=5,
        )
    if outcome.turns:
        axes.plot(outcome.turns, sums[outcome.turns], "o", color="white", markeredgecolor=INK, zorder=4)
        axes.annotate(
            f"month {outcome.turns}: even",
            (outcome.turns, sums[outcome.turns]),
            (-6, 16),
            textcoords="offset points",
            ha="right",
            fontweight="bold",
            zorder=5,
        )
    axes.margins(y=0.14)
    axes.grid(axis="y", color=LIGHT, linewidth=0.7, zorder=0)
    axes.yaxis.set_major_formatter(_dollars(axes.get_ylim()))
    axes.set_xlim(-1, MONTHS + 1)
    axes.set_xticks(range(0, MONTHS + 1, 6))
    axes.set_xlabel("months since the first day of work", color=QUIET)
    axes.set_ylabel("US dollars", color=QUIET)
    return figure


def _tornado(case: Case) -> Figure:
    swings, every = mattering(case)[:BARS], [swing for swing in tornado(case) if swing.size]
    npv = middle(case).npv
    base = npv / NANOS_PER_DOLLAR
    title = f"What matters most: {WORDS[swings[0].name]}" if swings else "Nothing has a range"
    about = (
        f"The three-year NPV is {brief(npv)}; each bar is what it would be with one input at the ends of its"
        " range, which stand beside it."
    )
    if len(every) > len(swings):
        about += f" {len(every) - len(swings)} more inputs matter less."
    figure, axes = _axes(title, about + _unknown(case), left=0.265)
    for place, swing in enumerate(swings):
        for end, value in (("low", swing.at_low), ("high", swing.at_high)):
            _bar(axes, place, float(value) / NANOS_PER_DOLLAR, base, end, swing, case)
    axes.axvline(base, color=INK, linewidth=1.2, zorder=3)
    ends = [base, *(float(end) / NANOS_PER_DOLLAR for one in swings for end in (one.at_low, one.at_high))]
    low, high = min(ends), max(ends)
    room = (high - low or abs(base) or 1) * 0.2
    axes.set_xlim(low - room, high + room)
    if low - room <= 0 <= high + room:
        axes.axvline(0, color=QUIET, linewidth=0.9, linestyle=":", zorder=1)
    axes.set_yticks(range(len(swings)), [WORDS[swing.name] for swing in swings])
    # A single bar is no wall.
    spare = max(0, LEAST_ROWS - len(swings)) / 2
    axes.set_ylim(len(swings) - 0.4 + spare, -0.6 - spare)
    axes.grid(axis="x", color=LIGHT, linewidth=0.7, zorder=0)
    axes.xaxis.set_major_formatter(_dollars(axes.get_xlim()))
    axes.set_xlabel("three-year NPV, US dollars", color=QUIET)
    return figure


def _bar(axes: Axes, place: int, value: float, base: float, end: str, swing: Swing, case: Case) -> None:
    item = case[swing.name]
    left = value < base
    if value != base:
        axes.barh(place, value - base, left=base, height=0.6, color=LOSS if left else GAIN, zorder=2)
    # An end that is the value itself moves nothing: its side is the one that the other end leaves.
    other = float(swing.at_high if end == "low" else swing.at_low) / NANOS_PER_DOLLAR
    left = left or (value == base and other > base)
    axes.annotate(
        told(item.unit, item.low if end == "low" else item.high),
        (value, place),
        (-5 if left else 5, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=8.5,
        color=QUIET,
    )


def _axes(title: str, about: str, left: float) -> tuple[Figure, Axes]:
    """Empty axes below a title and as many lines as `about` needs."""
    lines = wrap(about, ABOUT_CHARS)
    width, height = SIZE_INCHES
    height += 0.2 * (len(lines) - 1)
    figure, axes = plt.subplots(figsize=(width, height))
    top = 0.68 + 0.2 * len(lines)
    figure.subplots_adjust(left=left, right=0.975, top=1 - top / height, bottom=0.62 / height)
    figure.text(0.015, 1 - 0.3 / height, title, fontsize=15, fontweight="bold", va="center")
    for place, line in enumerate(lines):
        figure.text(0.015, 1 - (0.62 + 0.2 * place) / height, line, fontsize=9.5, color=QUIET, va="center")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LIGHT)
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_axisbelow(True)
    return figure, axes


def _unknown(case: Case) -> str:
    names: Sequence[str] = [WORDS[name] for name, item in case.items() if item.value is None]
    return f" Taken at the middle of its range, since nobody knows it: {', '.join(names)}." if names else ""


def _dollars(ends: Sequence[float]) -> FuncFormatter:
    """In short, unless the ticks between these ends would then read alike."""
    low, high = min(ends), max(ends)
    alike = high - low < max(abs(low), abs(high), ALIKE_USD) * Fraction(1, 4)
    told = money if alike else brief
    return FuncFormatter(lambda value, _: told(round(value * 100) * (NANOS_PER_DOLLAR // 100)))


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
