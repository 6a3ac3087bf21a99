"""The plan as a picture: a bar for each workload and phase, and the days that must not be missed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the choice of the backend
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, date2num, num2date
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from playbook.inventory.table import plain
from playbook.plan.deadline import Plan, Standing
from playbook.plan.schedule import PHASES, Dated, Phase

COLOURS: dict[Phase, str] = {
    "inventory": "#ccd4db",
    "plan": "#96a3ae",
    "shadow": "#e6b450",
    "cutover": "#1b7f5c",
    "report": "#1d3a5a",
}
"""Their greys differ too, but for `shadow`, which is hatched."""
HATCH: Mapping[Phase, str] = {"shadow": "///"}
DARK: frozenset[Phase] = frozenset({"cutover", "report"})
"""Phases whose names are written in white."""
INK, QUIET, ALARM = "#1f2933", "#69747f", "#b5432b"
SHOWN = 24
"""Workloads at most: with more, nobody could read them."""
LABEL_CHARS = 30
CHAR_INCHES = 0.068
"""Of the letters in bars: a name that does not fit is left out, for the legend has it."""
WIDTH, HEAD, ROW = 11.0, 2.5, 0.34
"""Inches: the width, what is above and below, and a row."""
LEFT, RIGHT = 0.225, 0.97
"""Where the axes begin and end, as parts of the width."""
DOTS_PER_INCH = 130
TITLES: dict[Standing, str] = {
    "unknown": "When workloads move home",
    "in time": "There is time before the new prices",
    "tight": "There is time before the new prices only if nothing takes long",
    "too late": "It is too late to move everything before the new prices",
    "passed": "The new prices hold already",
}
DONE = "Nothing is left to move"


def draw(plan: Plan, file: Path) -> None:
    """Draws the picture.

    Args:
        plan: drawn as if decided today, with slow phases.
        file: ends in .png or .svg; its folder is made.

    Raises:
        OSError: the file can't be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    style: dict[Any, Any] = {
        "font.size": 9.5,
        "font.family": "DejaVu Sans",
        "svg.hashsalt": "homeward",
        "hatch.linewidth": 0.5,
        "text.color": INK,
        "text.parse_math": False,
    }
    with plt.rc_context(style):
        figure = _figure(plan)
        # Without date and version the same plan gives the same bytes.
        metadata = {"Date": None} if file.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(file, dpi=DOTS_PER_INCH, metadata=metadata)
        finally:
            plt.close(figure)


def rows(plan: Plan) -> list[tuple[str, list[Dated]]]:
    """The rows from top to bottom: what is done for all, a row for each workload, and the report."""
    common = {bar.phase: bar for bar in plan.bars if not bar.workload}
    found = [("all workloads", [common[phase] for phase in PHASES[:2] if phase in common])]
    if not plan.movers:
        found.append(("workloads, none known yet", [common[p] for p in PHASES[2:4] if p in common]))
    for mover in plan.movers[:SHOWN]:
        label = plain(mover.name.replace(" · ", " "), LABEL_CHARS)
        found.append((label, [bar for bar in plan.bars if bar.workload == mover.name]))
    rest = {mover.name for mover in plan.movers[SHOWN:]}
    if rest:
        found.append((f"{len(rest)} more", [bar for bar in plan.bars if bar.workload in rest]))
    found.append(("document and provider", [common["report"]]))
    return [row for row in found if row[1]]


def _figure(plan: Plan) -> Figure:
    drawn = rows(plan)
    height = HEAD + ROW * len(drawn)
    figure, axes = plt.subplots(figsize=(WIDTH, height))
    figure.subplots_adjust(left=LEFT, right=RIGHT, top=1 - 1.45 / height, bottom=0.65 / height)
    for place, (_, bars) in enumerate(drawn):
        for bar in bars:
            begin, end = _number(bar.begin), _number(bar.end)
            axes.barh(
                place,
                end - begin,
                left=begin,
                height=0.62,
                color=COLOURS[bar.phase],
                hatch=HATCH.get(bar.phase),
                edgecolor="white",
                linewidth=0.8,
            )
    if plan.terms.approval_days:
        begin, end = _number(plan.terms.today), _number(plan.terms.work_begins)
        axes.axvspan(begin, end, color=QUIET, alpha=0.12, linewidth=0)
        axes.annotate("approvals", ((begin + end) / 2, len(drawn) - 0.7), ha="center", color=QUIET)
    axes.set_yticks(range(len(drawn)), [label for label, _ in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.6)
    _days(axes, plan)
    _names(axes, drawn)
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c9d1d9")
    title = TITLES[plan.standing] if plan.moves else DONE
    figure.text(0.015, 1 - 0.27 / height, title, fontsize=15, fontweight="bold", va="center")
    figure.text(0.015, 1 - 0.56 / height, _about(plan), fontsize=10, color=QUIET, va="center")
    seen = {bar.phase for _, bars in drawn for bar in bars}
    figure.legend(
        handles=[
            Patch(facecolor=COLOURS[phase], edgecolor="white", hatch=HATCH.get(phase), label=phase)
            for phase in PHASES
            if phase in seen
        ],
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - 0.68 / height),
        ncols=len(PHASES),
        frameon=False,
    )
    return figure


def _days(axes: Axes, plan: Plan) -> None:
    """The lines of the days that matter, each with its name above or below the rows."""
    terms = plan.terms
    marks = [("today", terms.today, QUIET), ("new prices", terms.renewal, ALARM)]
    if plan.moves and plan.standing in ("in time", "tight"):
        marks.append(("decide by" if plan.standing == "in time" else "", plan.decide_by, ALARM))
        marks.append(("latest", plan.decide_at_the_latest, ALARM))
    if plan.notice_by and plan.notice_by >= terms.today:
        marks.append(("notice", plan.notice_by, ALARM))
    shown = sorted((day, name, colour) for name, day, colour in marks if day and name)
    first = min([terms.today, *(day for day, _, _ in shown)])
    last = max([plan.home, *(day for day, _, _ in shown)])
    room = max(3, (last - first).days // 40)
    axes.set_xlim(_number(first - timedelta(days=room)), _number(last + timedelta(days=2 * room)))
    for place, (day, name, colour) in enumerate(shown):
        strong = name in ("new prices", "decide by")
        style = "-" if strong else "--"
        axes.axvline(_number(day), color=colour, linewidth=1.8 if strong else 1, linestyle=style)
        axes.annotate(
            f"{name} {day:%-d %b}",
            (_number(day), 1),
            xycoords=("data", "axes fraction"),
            # On two lines, in turn: days may lie close together.
            xytext=(3, 4 + 12 * (place % 2)),
            textcoords="offset points",
            ha="right" if day == last and (last - first).days > 3 * room else "left",
            fontsize=8.5,
            color=colour,
            fontweight="bold" if strong else "normal",
        )
    locator = AutoDateLocator(minticks=4, maxticks=11)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(_Days().told))


class _Days:
    """Days below the axis; the year stands below the first of each."""

    def __init__(self) -> None:
        self._year = 0

    def told(self, value: float, place: int | None) -> str:
        day = num2date(value).date()
        new = place == 0 or day.year != self._year
        self._year = day.year
        return f"{day:%-d %b}" + (f"\n{day.year}" if new else "")


def _names(axes: Axes, drawn: list[tuple[str, list[Dated]]]) -> None:
    """The phase's name in each bar that is wide enough."""
    left, right = axes.get_xlim()
    inches = WIDTH * (RIGHT - LEFT) / (right - left)
    for place, (_, bars) in enumerate(drawn):
        spans = [(_number(bar.begin), _number(bar.end), bar.phase) for bar in bars]
        for begin, end, phase in dict.fromkeys(spans):
            if (end - begin) * inches < len(phase) * CHAR_INCHES + 0.08:
                continue
            if any(begin < other < end for span in spans for other in span[:2]):
                continue
            axes.text(
                (begin + end) / 2,
                place,
                phase,
                ha="center",
                va="center",
                fontsize=8,
                color="white" if phase in DARK else INK,
                bbox={"boxstyle": "square,pad=0.15", "facecolor": COLOURS[phase], "edgecolor": "none"},
            )


def _about(plan: Plan) -> str:
    terms = plan.terms
    told = [f"Decided on {terms.today}, all is done by {plan.home_fast} to {plan.home}"]
    told.append(f"drawn with phases of {terms.phase_weeks[1]} weeks")
    if terms.approval_weeks is None:
        told.append("approvals are not in it, for [plan] approval_weeks is not set")
    if terms.note:
        told.append(f"[plan] says: {terms.note}")
    return "; ".join(told) + "."


def _number(day: date) -> float:
    return float(date2num(day))
