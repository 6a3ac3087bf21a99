"""The pictures of the document, in one style: what they show can be read without the text around them.

Each takes plain numbers and gives SVG, whose letters are outlines: it looks the same in both renderings.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

HOME, CLOUD, WARN, AMBER = "#1f6f54", "#34618e", "#b5432b", "#c9952c"
INK, QUIET, RULE, WASH = "#1f2933", "#66717d", "#d5dbe1", "#eef1f4"
WIDTH = 6.7
"""Inches: the text's width on the page."""
PANELS = 6
"""Workloads that have a panel of their own at most; the tables have all."""
SPREADS = 12
"""Workloads of the picture of latencies at most."""
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


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the Pareto picture."""

    label: str
    usd: float
    colour: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """A workload's bounds by window."""

    workload: str
    lower: Sequence[float]
    upper: Sequence[float]
    margin: float
    verdict: str
    decided_at: int | None
    """Number of the window at which it became READY or REJECTED, from 1."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Latency of a workload at a target, milliseconds; None is not measured."""

    workload: str
    target: str
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of a workload by target in steps, and when it moved."""

    workload: str
    times: Sequence[datetime]
    cloud: Sequence[float]
    home: Sequence[float]
    moves: Sequence[tuple[datetime, str]]


def pareto(bars: Sequence[Bar]) -> bytes:
    """What workloads cost, the dearest first, and how soon it adds up."""
    with rc_context(dict(STYLE)):
        figure = Canvas(figsize=(WIDTH, 2.4), layout="constrained")
        axes = figure.subplots()
        places = range(len(bars))
        axes.bar(places, [bar.usd for bar in bars], color=[bar.colour for bar in bars], width=0.62)
        most = max((bar.usd for bar in bars), default=0) or 1
        for place, bar in enumerate(bars):
            _above(axes, place, bar.usd, _money(bar.usd))
        axes.set_xticks(places, [_short(bar.label, 22) for bar in bars], rotation=0 if len(bars) < 6 else 30)
        if len(bars) >= 6:
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        axes.tick_params(axis="x", labelcolor=INK)
        axes.set_xlim(-0.6, max(len(bars) - 0.4, 2.6))
        axes.set_ylim(0, most * 1.3)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _money(value)))
        axes.set_ylabel("cost of the period")
        whole, running = sum(bar.usd for bar in bars) or 1, 0.0
        sums = []
        for bar in bars:
            running += bar.usd
            sums.append(100 * running / whole)
        share = axes.twinx()
        share.plot(places, sums, color=INK, linewidth=1.2, marker="o", markersize=3)
        share.set_ylim(0, 118)
        share.set_yticks(range(0, 101, 25), [f"{part} %" for part in range(0, 101, 25)])
        share.set_ylabel("added up")
        share.spines[["top", "left", "right"]].set_visible(False)
        axes.spines["left"].set_visible(False)
        return _svg(figure)


def funnel(rows: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> bytes:
    """How far requests of each workload got in its comparison."""
    rows = rows[:PANELS]
    with rc_context(dict(STYLE)):
        figure, grid = _panels(len(rows), 1.55)
        for axes, (workload, steps) in zip(grid, rows, strict=True):
            most = max((count for _, count in steps), default=0) or 1
            for place, (_, count) in enumerate(steps):
                axes.barh(place, most, color=WASH, height=0.72)
                axes.barh(place, count, color=CLOUD, alpha=1 - 0.13 * place, height=0.72)
                axes.annotate(
                    f"{count:,}", (most, place), (6, 0), textcoords="offset points", va="center", fontsize=7.5
                )
            axes.set_yticks(range(len(steps)), [name for name, _ in steps])
            axes.tick_params(axis="y", labelcolor=INK)
            axes.set_xlim(0, most * 1.22)
            axes.set_xticks([])
            axes.invert_yaxis()
            axes.spines[:].set_visible(False)
            axes.set_title(_short(workload, 34))
        return _svg(figure)


def bounds(rows: Sequence[Bounds]) -> bytes:
    """The confidence bounds of each workload by window, beside its margin."""
    rows = rows[:PANELS]
    with rc_context(dict(STYLE)):
        figure, grid = _panels(len(rows), 2.15)
        for axes, item in zip(grid, rows, strict=True):
            numbers = list(range(1, len(item.lower) + 1))
            dot = "o" if len(numbers) <= 30 else ""
            axes.axhspan(-2, -item.margin, color=WARN, alpha=0.06, linewidth=0)
            axes.axhline(0, color=RULE, linewidth=1)
            axes.axhline(-item.margin, color=WARN, linewidth=1.1, linestyle=(0, (4, 3)))
            axes.fill_between(numbers, item.lower, item.upper, color=HOME, alpha=0.16, linewidth=0)
            axes.plot(numbers, item.lower, color=HOME, linewidth=1.8, marker=dot, markersize=2.8)
            axes.plot(numbers, item.upper, color=HOME, linewidth=0.9, alpha=0.7)
            last_low, last_high = item.lower[-1], item.upper[-1]
            low = max(-1.05, min(-3.2 * item.margin, 1.4 * last_low, 0.55 * min(item.lower)))
            high = min(1.05, max(2.2 * item.margin, 1.5 * last_high))
            axes.set_ylim(low, high)
            axes.set_xlim(0.6, max(len(numbers) + 0.4, 2.4))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.2f}".replace("-", "−")))
            axes.annotate(
                f"margin −{item.margin:g}",
                (1, -item.margin),
                xycoords=("axes fraction", "data"),
                xytext=(-2, -3),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=7,
                color=WARN,
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            )
            if item.decided_at is not None:
                axes.axvline(item.decided_at, color=QUIET, linewidth=0.9, linestyle=":")
            colour = {"READY": HOME, "REJECTED": WARN}.get(item.verdict, QUIET)
            axes.set_title(_short(item.workload, 26))
            axes.annotate(
                item.verdict, (1, 1), (0, 5), "axes fraction", textcoords="offset points", ha="right",
                fontsize=8, fontweight="bold", color=colour,
            )  # fmt: skip
            axes.set_xlabel("window")
        for axes in grid[:: _across(len(rows))]:
            axes.set_ylabel("home − cloud")
        return _svg(figure)


def latency(rows: Sequence[Spread]) -> bytes:
    """Median, 95th and 99th percentile of each workload at both targets."""
    names = list(dict.fromkeys(row.workload for row in rows if row.p50 is not None))[:SPREADS]
    known = [row for row in rows if row.p50 is not None and row.workload in names]
    with rc_context(dict(STYLE)):
        figure = Canvas(figsize=(WIDTH, 0.85 + 0.55 * max(len(names), 1)), layout="constrained")
        axes = figure.subplots()
        for row in known:
            place = names.index(row.workload) + (-0.17 if row.target == "cloud" else 0.17)
            colour = CLOUD if row.target == "cloud" else HOME
            points = [value for value in (row.p50, row.p95, row.p99) if value is not None]
            axes.plot([points[0], points[-1]], [place, place], color=colour, linewidth=2.2, alpha=0.35)
            for value, size, fill in zip(points, (6.5, 5, 4), (colour, "white", colour), strict=False):
                axes.plot(
                    value,
                    place,
                    "o",
                    markersize=size,
                    color=colour,
                    markerfacecolor=fill,
                    markeredgewidth=1.3,
                )
        axes.set_yticks(range(len(names)), [_short(name, 28) for name in names])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _time_ms(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        spread = [value for row in known for value in (row.p50, row.p99) if value]
        if spread and max(spread) / min(spread) < 30:
            axes.set_xticks(_ticks(min(spread), max(spread)))
        axes.grid(axis="x", color=WASH, linewidth=1)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        marks = [
            axes.plot([], [], "o", color=colour, markersize=6, label=label)[0]
            for colour, label in ((CLOUD, "cloud"), (HOME, "at home"))
        ]
        words = "●  median   ○  p95   •  p99"
        figure.legend(handles=marks, loc="outside upper left", ncols=2)
        axes.set_title(words, loc="right", fontsize=7.5, color=QUIET, fontweight="normal")
        return _svg(figure)


def traffic(rows: Sequence[Flow], step_s: float) -> bytes:
    """Answered requests by target over time, and when the workload moved. Times are UTC."""
    rows = rows[:PANELS]
    with rc_context(dict(STYLE)):
        figure, grid = _panels(len(rows), 1.75, across=1)
        for axes, item in zip(grid, rows, strict=True):
            width = timedelta(seconds=step_s)
            times: Any = item.times
            wide: Any = width
            axes.bar(times, item.cloud, width=wide, align="edge", color=CLOUD, label="cloud")
            axes.bar(
                times,
                item.home,
                width=wide,
                align="edge",
                color=HOME,
                bottom=item.cloud,
                label="at home",
            )
            most = max((a + b for a, b in zip(item.cloud, item.home, strict=True)), default=1) or 1
            last: datetime | None = None
            level = 0
            span = (max(item.times) - min(item.times) + width) if item.times else width
            for moment, label in item.moves:
                at: Any = moment
                axes.axvline(at, color=INK, linewidth=0.7, linestyle=(0, (2, 2)))
                level = (level + 1) % 3 if last is not None and moment - last < span / 8 else 0
                last = moment
                axes.annotate(
                    label, (moment, most * (1.48 - 0.15 * level)), (2, 0), textcoords="offset points",
                    fontsize=6, color=INK, va="top",
                )  # fmt: skip
            axes.set_ylim(0, most * 1.5)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.set_title(_short(item.workload, 50))
            locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
            axes.set_ylabel("requests")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        return _svg(figure)


def cash_flow(net: Sequence[float], payback: float | None) -> bytes:
    """Cash flow by month, added up; where the line crosses zero the cost is paid back.

    Args:
        net: dollars of each month, from the first; month 0 is what is spent once.
        payback: months until it is paid back; None: not within them.
    """
    with rc_context(dict(STYLE)):
        figure = Canvas(figsize=(WIDTH, 2.5), layout="constrained")
        axes = figure.subplots()
        months = range(len(net))
        axes.bar(months, net, color=[HOME if value >= 0 else WARN for value in net], width=0.7, alpha=0.55)
        sums, running = [], 0.0
        for value in net:
            running += value
            sums.append(running)
        axes.plot(months, sums, color=INK, linewidth=1.6)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        if payback is not None and payback <= len(net) - 1:
            axes.plot(payback, 0, "o", color=INK, markersize=5)
            axes.annotate(
                f"paid back after {payback:.1f} months", (payback, 0), (6, -13), textcoords="offset points",
                fontsize=8, fontweight="bold",
            )  # fmt: skip
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _money(value)))
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
        axes.set_xlabel("month")
        axes.set_ylabel("bars: month; line: added up")
        return _svg(figure)


def tornado(rows: Sequence[tuple[str, float, float]], base: float, unit: str) -> bytes:
    """How far a result moves when one input goes from its low to its high end, the largest first."""
    rows = sorted(rows, key=lambda row: -abs(row[2] - row[1]))[:10]
    with rc_context(dict(STYLE)):
        figure = Canvas(figsize=(WIDTH, 0.7 + 0.3 * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, (_, low, high) in enumerate(rows):
            for value, colour in ((low, CLOUD), (high, AMBER)):
                axes.barh(place, value - base, left=base, color=colour, height=0.62)
        axes.axvline(base, color=INK, linewidth=0.9)
        axes.set_yticks(range(len(rows)), [_short(name, 44) for name, _, _ in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _money(value)))
        axes.set_xlabel(f"{unit}; blue: input at its low end, amber: at its high end")
        axes.spines["left"].set_visible(False)
        return _svg(figure)


def _across(count: int) -> int:
    return 1 if count < 2 else 2


def _panels(count: int, height: float, across: int | None = None) -> tuple[Canvas, list[Axes]]:
    wide = across or _across(count)
    high = math.ceil(max(count, 1) / wide)
    figure = Canvas(figsize=(WIDTH, height * high + 0.2), layout="constrained")
    grid = figure.subplots(high, wide, squeeze=False)
    every = list(grid.flat)
    for axes in every[count:]:
        axes.set_visible(False)
    return figure, every[:count]


def _above(axes: Axes, place: float, value: float, label: str) -> None:
    axes.annotate(
        label, (place, value), (0, 3), textcoords="offset points", ha="center", fontsize=8, fontweight="bold"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round values of a logarithmic axis that spans little."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    within = [value for value in every if low * 0.7 <= value <= high * 1.4]
    return within or every


def _money(value: float) -> str:
    sign, size = ("−" if value < 0 else ""), abs(value)
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{sign}${size / unit:.3g}{letter}"
    if size >= 1 or not size:
        return f"{sign}${size:,.2f}" if 0 < size < 10 else f"{sign}${size:,.0f}"
    return f"{sign}${size:.3g}" if size >= 0.0001 else f"{sign}${size:.0e}"


def _time_ms(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


def _short(name: str, limit: int) -> str:
    name = "".join(sign if sign.isprintable() else "·" for sign in name)
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _svg(figure: Canvas) -> bytes:
    made = io.BytesIO()
    with warnings.catch_warnings():
        # That the font lacks a sign of somebody's name: it is shown as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(made, format="svg", metadata={"Date": None, "Creator": None})
    text = made.getvalue()
    return text[text.index(b"<svg") :]
