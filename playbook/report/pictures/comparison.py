"""Pictures of a comparison: how far requests got, and the bounds by window. Each gives SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.ticker import FuncFormatter, MaxNLocator

from playbook.report.pictures import style
from playbook.report.pictures.style import (
    CLOUD,
    HOME,
    INK,
    PANELS,
    QUIET,
    RULE,
    STYLE,
    WARN,
    WASH,
    across,
    panels,
    short,
)


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


def funnel(rows: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> bytes:
    """How far requests of each workload got in its comparison."""
    rows = rows[:PANELS]
    with rc_context(dict(STYLE)):
        figure, grid = panels(len(rows), 1.55)
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
            axes.set_title(short(workload, 34))
        return style.svg(figure)


def bounds(rows: Sequence[Bounds]) -> bytes:
    """The confidence bounds of each workload by window, beside its margin."""
    rows = rows[:PANELS]
    with rc_context(dict(STYLE)):
        figure, grid = panels(len(rows), 2.15)
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
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value)))
            # A bound that ends near the margin would be under the label.
            left = abs(last_high + item.margin) < 0.1 * (high - low)
            axes.annotate(
                f"margin −{item.margin:g}",
                (0 if left else 1, -item.margin),
                xycoords=("axes fraction", "data"),
                xytext=(2 if left else -2, -3),
                textcoords="offset points",
                ha="left" if left else "right",
                va="top",
                fontsize=7,
                color=WARN,
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            )
            if item.decided_at is not None:
                axes.axvline(item.decided_at, color=QUIET, linewidth=0.9, linestyle=":")
            colour = {"READY": HOME, "REJECTED": WARN}.get(item.verdict, QUIET)
            axes.set_title(short(item.workload, 26))
            axes.annotate(
                item.verdict, (1, 1), (0, 5), "axes fraction", textcoords="offset points", ha="right",
                fontsize=8, fontweight="bold", color=colour,
            )  # fmt: skip
            axes.set_xlabel("window")
        for axes in grid[:: across(len(rows))]:
            axes.set_ylabel("home − cloud")
        return style.svg(figure)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if round(value, 2) else "0"
