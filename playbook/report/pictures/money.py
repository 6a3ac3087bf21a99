"""Pictures of money: what workloads cost, cash flow, and what matters. Each takes dollars, and gives SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator

from playbook.report.pictures import style
from playbook.report.pictures.style import AMBER, CLOUD, HOME, INK, QUIET, STYLE, WARN, WIDTH, money, short


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the Pareto picture."""

    label: str
    usd: float
    colour: str


def pareto(bars: Sequence[Bar]) -> bytes:
    """What workloads cost, the dearest first, and how soon it adds up."""
    with rc_context(dict(STYLE)):
        figure = Canvas(figsize=(WIDTH, 2.4), layout="constrained")
        axes = figure.subplots()
        places = range(len(bars))
        axes.bar(places, [bar.usd for bar in bars], color=[bar.colour for bar in bars], width=0.62)
        most = max((bar.usd for bar in bars), default=0) or 1
        for place, bar in enumerate(bars):
            _above(axes, place, bar.usd, money(bar.usd))
        axes.set_xticks(places, [short(bar.label, 22) for bar in bars], rotation=0 if len(bars) < 6 else 30)
        if len(bars) >= 6:
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        axes.tick_params(axis="x", labelcolor=INK)
        axes.set_xlim(-0.6, max(len(bars) - 0.4, 2.6))
        axes.set_ylim(0, most * 1.3)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: money(value)))
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
        return style.svg(figure)


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
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: money(value)))
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
        axes.set_xlabel("month")
        axes.set_ylabel("bars: month; line: added up")
        return style.svg(figure)


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
        axes.set_yticks(range(len(rows)), [short(name, 44) for name, _, _ in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: money(value)))
        axes.set_xlabel(f"{unit}; blue: input at its low end, amber: at its high end")
        axes.spines["left"].set_visible(False)
        return style.svg(figure)


def _above(axes: Axes, place: float, value: float, label: str) -> None:
    axes.annotate(
        label, (place, value), (0, 3), textcoords="offset points", ha="center", fontsize=8, fontweight="bold"
    )
