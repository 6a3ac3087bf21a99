"""Pictures of serving: latency at both targets, and which target answered when. Each gives SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from matplotlib import rc_context
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from playbook.report.pictures import style
from playbook.report.pictures.style import CLOUD, HOME, INK, PANELS, QUIET, STYLE, WASH, WIDTH, panels, short

FORMATS = ["%Y", "%b", "%d", "%H:%M", "%H:%M", "%H:%M:%S"]
"""Of years, months, days, hours, minutes, seconds: a second by its number alone would be no time."""
SPREADS = 12
"""Workloads of the picture of latencies at most."""


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
        axes.set_yticks(range(len(names)), [short(name, 28) for name in names])
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
        return style.svg(figure)


def traffic(rows: Sequence[Flow], step_s: float) -> bytes:
    """Answered requests by target over time, and when the workload moved. Times are UTC."""
    rows = rows[:PANELS]
    with rc_context(dict(STYLE)):
        figure, grid = panels(len(rows), 1.75, wide=1)
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
                    fontsize=6.5, color=INK, va="top",
                )  # fmt: skip
            axes.set_ylim(0, most * 1.5)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.set_title(short(item.workload, 50))
            locator = AutoDateLocator(minticks=3, maxticks=8)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC, formats=FORMATS))
            axes.set_ylabel("requests")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        return style.svg(figure)


def _ticks(low: float, high: float) -> list[float]:
    """Round values of a logarithmic axis that spans little."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    within = [value for value in every if low * 0.7 <= value <= high * 1.4]
    return within or every


def _time_ms(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"
