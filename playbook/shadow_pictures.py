"""The picture of a comparison: the bounds of E[D] by window beside the margin, ln K beside what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from homeward.shadow.v1 import shadow_pb2

from playbook.standing import needed, place, seconds, verdict, votes

MAIN, CLOUD, DEGRADED, GREY = "#1f6f54", "#2f5d8a", "#b5432b", "#555555"
DPI = 100
SIZE_INCHES = (10.0, 6.8)
DOTS = 30
"""Windows up to which each has a dot."""
MARGINS_BELOW, MARGINS_ABOVE = 6.0, 2.5
"""Room around zero, in margins: bounds begin far off, and what matters happens beside the margin."""
PLAIN_BARS = 6.0
"""How often what is needed ln K may be before its scale is that of logarithms."""


def draw_picture(item: shadow_pb2.Migration, file: Path) -> None:
    """Draws a workload's comparison as PNG, 1000 dots wide. Times are UTC.

    Args:
        item: with an experiment, and at least one closed window.
        file: is replaced; its folder is made.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=SIZE_INCHES, sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    _bounds(upper, item)
    _evidence(lower, item)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    ends = _ends(item.experiment, item.evidence.windows)
    first = ends[0] - timedelta(seconds=seconds(item.experiment.window))
    lower.set_xlim(first, ends[-1] + (ends[-1] - first) / 40)
    locator = AutoDateLocator(minticks=3, maxticks=9)
    lower.xaxis.set_major_locator(locator)
    lower.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    lower.set_xlabel("end of the window (UTC)")
    head = f"{item.policy.workload}: {verdict(item.evidence)}"
    figure.suptitle(head, x=0.01, ha="left", fontweight="bold", fontsize=14)
    about = (
        f"{place(item)}, epoch {item.experiment.epoch} by {item.experiment.scorer}:"
        f" {votes(item.evidence):,} votes in {_windows(len(ends))}"
    )
    upper.set_title(about, loc="left", fontsize=10, color=GREY)
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=DPI, metadata={"Software": None})
    plt.close(figure)


def _bounds(axes: Any, item: shadow_pb2.Migration) -> None:
    windows, margin = item.evidence.windows, item.experiment.margin
    ends = _ends(item.experiment, windows)
    low, high = [one.lower_bound for one in windows], [one.upper_bound for one in windows]
    if len(windows) == 1:
        axes.vlines(ends, low, high, color=MAIN, alpha=0.25, linewidth=12)
    axes.fill_between(ends, low, high, color=MAIN, alpha=0.18, linewidth=0, label="bounds of E[D]")
    axes.plot(ends, low, color=MAIN, linewidth=2, marker=_marker(windows), markersize=4)
    axes.plot(ends, high, color=MAIN, linewidth=1, marker=_marker(windows), markersize=3)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axhline(-margin, color=DEGRADED, linewidth=1.4, linestyle="--", label=f"margin −{margin:g}")
    for lane in item.controls:
        found = lane.evidence.windows
        if not found:
            continue
        if lane.lane == "cloud":
            bound, colour, words = [one.lower_bound for one in found], CLOUD, "cloud against itself, at least"
        else:
            bound, colour, words = [one.upper_bound for one in found], DEGRADED, "degraded, at most"
        label = f"{words} {bound[-1]:+.2f}".replace("-", "−")
        axes.plot(
            _ends(item.experiment, found),
            bound,
            color=colour,
            linewidth=1,
            label=label,
            marker="." if len(found) == 1 else "",
        )
    # The first bounds, and the degraded lane's, may lie outside: the picture shows where it is decided.
    axes.set_ylim(
        max(-1.02, min(-MARGINS_BELOW * margin, 1.3 * low[-1], 0.6 * min(low))),
        min(1.02, max(MARGINS_ABOVE * margin, 1.3 * high[-1], min(1.1 * max(high), MARGINS_BELOW * margin))),
    )
    axes.set_ylabel("sovereign − cloud, E[D]")
    _mark_verdict(axes, item, named=True)


def _evidence(axes: Any, item: shadow_pb2.Migration) -> None:
    bar, windows = needed(item.experiment), item.evidence.windows
    main = [one.log_k for one in windows]
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.axhline(bar, color=GREY, linewidth=1.4, linestyle="--")
    axes.plot(
        _ends(item.experiment, windows),
        main,
        color=MAIN,
        linewidth=2,
        marker=_marker(windows),
        markersize=4,
        zorder=3,
    )
    for lane in item.controls:
        found = lane.evidence.windows
        axes.plot(
            _ends(item.experiment, found),
            [one.log_k for one in found],
            color=CLOUD if lane.lane == "cloud" else DEGRADED,
            linewidth=1,
            marker="." if len(found) == 1 else "",
        )
    lowest, highest = min(-0.8 * bar, *main), max(bar, *main)
    if highest > PLAIN_BARS * bar or lowest < -PLAIN_BARS * bar:
        axes.set_yscale("symlog", linthresh=bar, linscale=1.5)
        axes.set_yticks(_ticks(lowest, highest, bar))
        axes.minorticks_off()
        axes.set_ylim(1.6 * lowest, max(1.6 * highest, 3 * bar))
    else:
        axes.set_ylim(1.15 * lowest, max(1.1 * highest, 1.4 * bar))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.3g}".replace("-", "−"))
    alpha = item.experiment.alpha / 2**item.experiment.epoch
    axes.set_title(
        f"dashed: what READY needs, ln 1/α = {bar:.2f} (this epoch's α is {alpha:g})",
        loc="left",
        fontsize=10,
        color=GREY,
    )
    axes.set_ylabel("evidence, ln K")
    _mark_verdict(axes, item)


def _ticks(lowest: float, highest: float, bar: float) -> list[float]:
    """0, what is needed, and the powers of ten that are well past it and not past what there is."""
    powers = [10.0**power for power in range(1, 10)]
    above = [value for value in powers if 2 * bar < value < 1.6 * highest]
    below = [-value for value in powers if 2 * bar < value < -1.6 * lowest]
    return [*reversed(below), 0.0, bar, *above]


def _mark_verdict(axes: Any, item: shadow_pb2.Migration, *, named: bool = False) -> None:
    """A line where the verdict fell."""
    ends = _ends(item.experiment, item.evidence.windows)
    for number, one in enumerate(item.evidence.windows):
        if one.verdict not in (shadow_pb2.VERDICT_READY, shadow_pb2.VERDICT_REJECTED):
            continue
        ready = one.verdict == shadow_pb2.VERDICT_READY
        colour = MAIN if ready else DEGRADED
        axes.axvline(ends[number], color=colour, linewidth=1, linestyle=":")
        if named:
            left = number > len(ends) / 2
            axes.annotate(
                f"{'READY' if ready else 'REJECTED'} at window {number + 1}",
                (ends[number], 0.03),
                xycoords=("data", "axes fraction"),
                xytext=(-5 if left else 5, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                fontsize=9,
                color=colour,
                backgroundcolor="#ffffffcc",
            )
        return


def _windows(count: int) -> str:
    return f"{count} window{'' if count == 1 else 's'}"


def _marker(windows: Sequence[Any]) -> str:
    return "o" if len(windows) <= DOTS else ""


def _ends(experiment: shadow_pb2.Experiment, windows: Sequence[Any]) -> list[datetime]:
    """When the windows ended, UTC."""
    size = timedelta(seconds=seconds(experiment.window))
    return [
        datetime.fromtimestamp(one.start_time.seconds + one.start_time.nanos / 1e9, UTC) + size
        for one in windows
    ]
