"""The picture of the inventory: what each workload costs a month, the dearest first, and how soon it adds up.

Drawn for a page that somebody else reads: amounts in dollars, no word that needs the manual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the choice of the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from playbook.inventory.amounts import NANOS_PER_DOLLAR, between, count, dollars, percent, short_dollars
from playbook.inventory.lines import Inventory, Line
from playbook.inventory.ranking import MOST_SPEND, Candidate, shares
from playbook.inventory.table import plain

COLOURS = {Candidate.YES: "#1b7f5c", Candidate.MAYBE: "#d9a441", Candidate.NO: "#9aa5b1"}
NAMES = {
    Candidate.YES: "candidate to move home",
    Candidate.MAYBE: "may be one: something is not known yet",
    Candidate.NO: "stays in the cloud for now",
}
INK, QUIET, LINE = "#1f2933", "#69747f", "#24476b"
SHOWN = 12
"""Bars of known price at most; what is smaller is one bar."""
LEAST_SHARE = Fraction(1, 200)
"""Of the spend, for a bar of its own."""
SHOWN_UNPRICED = 3
FOOT_CHARS = 165
"""Of a line at the foot: as wide as the picture."""
LABEL_CHARS = 26
DOTS_PER_INCH = 160
WIDTH, HEIGHT = 11.0, 6.4
"""Inches: the shape of a slide."""
_REST_COLOUR = "#c9d1d9"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the picture."""

    label: str
    nanos: int
    """A month; 0 if the price is unknown."""
    colour: str
    tokens: int | None = None
    """Of a bar without a price: its tokens of a month."""
    rough: bool = False
    """Made of less than four weeks."""


def bars(found: Inventory, shown: int = SHOWN) -> list[Bar]:
    """What is drawn: the dearest, the others in one, and last those of unknown price."""
    priced = [line for line in found.lines if (line.workload.month_nanos or 0) > 0]
    least = LEAST_SHARE * found.spend.month_nanos
    large = [line for line in priced[:shown] if (line.workload.month_nanos or 0) >= least]
    small = priced[len(large) :]
    made = [_bar(line) for line in large]
    others = sum(line.workload.month_nanos or 0 for line in small) + found.spend.rest.month_nanos
    number = len(small) + found.spend.rest.groups
    if others > 0:
        made.append(Bar(f"{number:,} smaller {'one' if number == 1 else 'ones'}", others, _REST_COLOUR))
    unpriced = [line for line in found.lines if line.workload.month_nanos is None]
    made += [
        Bar(_label(line), 0, COLOURS[line.verdict.candidate], line.workload.month_tokens.total)
        for line in unpriced[:SHOWN_UNPRICED]
    ]
    hidden = unpriced[SHOWN_UNPRICED:]
    if hidden:
        tokens = sum(line.workload.month_tokens.total for line in hidden)
        made.append(Bar(f"{len(hidden):,} more without a price", 0, _REST_COLOUR, tokens))
    return made


def draw(found: Inventory, file: Path) -> None:
    """Draws the picture.

    Args:
        found: the inventory.
        file: ends in .png or .svg.

    Raises:
        OSError: the file can't be written.
    """
    style: dict[Any, Any] = {
        "font.size": 9.5,
        "font.family": "DejaVu Sans",
        "svg.hashsalt": "homeward",
        "text.color": INK,
        "text.parse_math": False,
    }
    with plt.rc_context(style):
        figure = _figure(found)
        # Without date and version the same figures give the same bytes.
        metadata = {"Date": None} if file.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(file, dpi=DOTS_PER_INCH, metadata=metadata)
        finally:
            plt.close(figure)


def _bar(line: Line) -> Bar:
    item = line.workload
    return Bar(_label(line), item.month_nanos or 0, COLOURS[line.verdict.candidate], rough=item.extrapolated)


def _label(line: Line) -> str:
    """The name on two lines: what asks, and the model."""
    who, dot, model = line.workload.name.partition(" · ")
    return plain(who, LABEL_CHARS) + (f"\n{plain(model, LABEL_CHARS)}" if dot else "")


def _figure(found: Inventory) -> Figure:
    drawn = bars(found)
    figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT))
    figure.subplots_adjust(left=0.085, right=0.925, top=0.80, bottom=0.285)
    priced = [bar.nanos for bar in drawn if bar.tokens is None]
    _costs(axes, drawn)
    if priced:
        _adding_up(axes, priced, len(found.few), len(drawn))
    title, told = _words(found)
    figure.text(0.02, 0.955, title, fontsize=15, fontweight="bold", va="center")
    figure.text(0.02, 0.905, told, fontsize=10.5, color=QUIET, va="center")
    seen = {bar.colour for bar in drawn}
    handles = [Patch(color=COLOURS[word], label=NAMES[word]) for word in NAMES if COLOURS[word] in seen]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.012, 0.885), ncols=3, frameon=False)
    figure.text(0.02, 0.022, _foot(found), fontsize=7.5, color=QUIET, va="bottom", linespacing=1.4)
    return figure


def _costs(axes: Axes, drawn: Sequence[Bar]) -> None:
    places = range(len(drawn))
    most = max((bar.nanos for bar in drawn), default=0) / NANOS_PER_DOLLAR or 1.0
    axes.bar(
        places,
        [bar.nanos / NANOS_PER_DOLLAR for bar in drawn],
        color=[bar.colour for bar in drawn],
        width=0.68,
    )
    for place, bar in enumerate(drawn):
        if bar.tokens is None:
            axes.annotate(
                ("~" if bar.rough else "") + short_dollars(bar.nanos),
                (place, bar.nanos / NANOS_PER_DOLLAR),
                (0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                fontweight="bold",
            )
            continue
        axes.bar(
            place, most * 0.16, width=0.68, facecolor="none", edgecolor=QUIET, hatch="///", linewidth=0.8
        )
        axes.annotate(
            f"price\nunknown\n{count(bar.tokens)} tokens",
            (place, most * 0.16),
            (0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=QUIET,
        )
    axes.set_xticks(places, [bar.label for bar in drawn], rotation=38, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0, labelsize=8.5, labelcolor=INK)
    axes.tick_params(axis="y", length=0, labelcolor=QUIET)
    axes.set_xlim(-0.6, len(drawn) - 0.4)
    # Room above the dearest for the line, which ends at the top.
    axes.set_ylim(0, most * 1.25)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: short_dollars(round(value * NANOS_PER_DOLLAR)))
    )
    axes.set_ylabel("dollars a month", color=QUIET)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_REST_COLOUR)


def _adding_up(axes: Axes, priced: Sequence[int], few: int, drawn: int) -> None:
    share = axes.twinx()
    cumulative = [100 * float(part) for part in shares(priced)]
    share.plot(range(len(priced)), cumulative, color=LINE, linewidth=1.8, marker="o", markersize=4.5)
    share.set_ylim(0, 108)
    share.set_yticks(range(0, 101, 20), [f"{part} %" for part in range(0, 101, 20)])
    share.tick_params(length=0, labelcolor=LINE)
    share.set_ylabel("share of the spend, added up", color=LINE)
    share.spines[["top", "right", "left", "bottom"]].set_visible(False)
    mark = 100 * float(MOST_SPEND)
    share.axhline(mark, color=LINE, linewidth=0.9, linestyle=(0, (5, 4)), alpha=0.8)
    share.annotate(
        f"{mark:.0f} % of the spend",
        (drawn - 0.45, mark),
        (0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=LINE,
    )
    if few:
        axes.axvspan(-0.6, few - 0.5, color=LINE, alpha=0.06, linewidth=0, zorder=0)
        share.annotate(
            f"{few} hold{'s' if few == 1 else ''} {percent(cumulative[few - 1] / 100)}",
            (few - 1, cumulative[few - 1]),
            (-8, 7),
            textcoords="offset points",
            ha="right",
            fontsize=9.5,
            fontweight="bold",
            color=LINE,
        )


def _words(found: Inventory) -> tuple[str, str]:
    few, number = len(found.few), len(found.lines) + found.spend.rest.groups
    if not few:
        return "What the workloads cost is not known", "Nothing of what is imported or booked has a price."
    title = (
        f"{few} of {number:,} workloads hold {percent(float(found.few[-1].cumulative or 0))} of"
        f" {dollars(found.spend.month_nanos)} a month"
    )
    ready, saved = found.candidates(Candidate.YES), found.saving(Candidate.YES)
    unsure, could = found.candidates(Candidate.MAYBE), found.saving(Candidate.MAYBE)
    if not ready and unsure:
        return title, (
            f"None is a candidate to move home yet; {len(unsure)} may be, for"
            f" {between(could.low, could.high)}"
            " a month: something of them is not known."
        )
    if not ready:
        return title, "None is a candidate to move home."
    return title, (
        f"{len(ready)} {'is a candidate' if len(ready) == 1 else 'are candidates'} to move home and would"
        f" save {between(saved.low, saved.high)} a month."
    )


def _foot(found: Inventory) -> str:
    windows = "; ".join(
        f"{item.provider or 'no provider'} {item.first} to {item.last}" for item in found.spend.windows[:4]
    )
    more = len(found.spend.windows) - 4
    told = f"A month is 30.44 days of the window: {windows}{f' and {more} more' if more > 0 else ''}."
    share = found.spend.unpriced_tokens / found.spend.tokens if found.spend.tokens else 0.0
    if share:
        told += f" {percent(share)} of all tokens have no price and are in no sum."
    return "\n".join(fill(text, FOOT_CHARS) for text in (told, f"What a home costs: {found.basis.source}."))
