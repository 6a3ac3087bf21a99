"""The pictures of the model card, drawn from `evaluation.json` alone. matplotlib is a tool of developers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt  # after the choice of the backend
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TASK_TYPE_COLOUR, TARGET_COLOUR, QUIET = "#1f5a94", "#c4622d", "#777777"
BEST_BASELINE = {"accuracy": 0.82, "tier_accuracy": 0.89}
"""MiniLM fine-tuned, with n-grams, on other unseen sources of the same kinds; measured before this model."""
DOTS_PER_INCH = 150

Figures = Mapping[str, Any]


def draw(figures: Figures, folder: Path) -> list[Path]:
    """Draws all pictures.

    Args:
        figures: what `evaluation.json` has.
        folder: where `classifier-NAME.png` go.
    """
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    return [
        _saved(_risk_coverage(figures), folder / "classifier-risk-coverage.png"),
        _saved(_confusion(figures), folder / "classifier-confusion.png"),
        _saved(_calibration(figures), folder / "classifier-calibration.png"),
        _saved(_few_shot(figures), folder / "classifier-few-shot.png"),
    ]


def _risk_coverage(figures: Figures) -> Figure:
    found = figures["task_types"]
    curves = found["curves"]
    figure, axes = plt.subplots(figsize=(6.8, 4), layout="constrained")
    coverage = 100 * np.array(curves["coverage"])
    for name, colour, title in (
        ("tier_accuracy", TARGET_COLOUR, "target (cloud or sovereign)"),
        ("accuracy", TASK_TYPE_COLOUR, "task type (one of ten)"),
    ):
        axes.plot(coverage, 100 * np.array(curves[name]), color=colour, label=title)
        marked = [(100, 100 * found[name])] + [
            (100 * row["coverage"], 100 * row[name]) for row in found["risk_coverage"]
        ]
        axes.scatter([x for x, _ in marked], [y for _, y in marked], s=14, color=colour, zorder=3)
        axes.annotate(f"{marked[0][1]:.1f}", marked[0], (6, -3), textcoords="offset points", color=colour)
        baseline = 100 * BEST_BASELINE[name]
        axes.axhline(baseline, color=colour, linestyle="--", linewidth=0.9)
        axes.annotate(
            f"best baseline, all answered, on other sources: {baseline:.0f}",
            (11, baseline),
            (0, -9),
            textcoords="offset points",
            fontsize=7.5,
            color=colour,
        )
    axes.set_xlabel("coverage: share of requests answered, the most confident first (%)")
    axes.set_ylabel("right among the answered (%)")
    axes.set_xlim(10, 100.5)
    lowest = min(curves["accuracy"] + curves["tier_accuracy"] + list(BEST_BASELINE.values()))
    axes.set_ylim(100 * lowest - 3, 100.5)
    axes.set_title(f"Task type and target of {found['n']:,} requests that training never saw")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _confusion(figures: Figures) -> Figure:
    found = figures["task_types"]["confusion"]
    names = [name.replace("_", " ") for name in found["labels"]]
    counts = np.array([[*row, none] for row, none in zip(found["matrix"], found["no_guess"], strict=True)])
    if not counts[:, -1].any():
        counts = counts[:, :-1]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    figure, axes = plt.subplots(figsize=(6.8, 5.4), layout="constrained")
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = shares[row, column] > 0.5
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            color="white" if dark else "black",
        )
    columns = [*names, "no guess"][: counts.shape[1]]
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("called")
    axes.set_ylabel("is")
    axes.set_title("Requests by task type; the colour is the share of the row")
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the row (%)")
    return figure


def _calibration(figures: Figures) -> Figure:
    found = figures["task_types"]
    figure, both = plt.subplots(1, 2, figsize=(7.6, 3.7), layout="constrained", sharey=True)
    _reliability(
        both[0], found["curves"]["reliability"], TASK_TYPE_COLOUR, f"task type (ECE {found['ece']:.3f})"
    )
    _reliability(
        both[1], found["curves"]["tier_reliability"], TARGET_COLOUR, f"target (ECE {found['tier_ece']:.3f})"
    )
    both[0].set_ylabel("right (%)")
    both[0].legend(frameon=False, loc="lower right")
    return figure


def _reliability(axes: Axes, bins: list[Mapping[str, Any]], colour: str, title: str) -> None:
    confidence = np.array([100 * part["confidence"] for part in bins])
    share = np.array([100 * part["accuracy"] for part in bins])
    rows = np.array([part["rows"] for part in bins])
    axes.plot([0, 100], [0, 100], color=QUIET, linestyle="--", linewidth=0.9, label="as sure as right")
    axes.plot(confidence, share, color=colour, linewidth=1, alpha=0.5)
    axes.scatter(
        confidence,
        share,
        s=6 + 240 * rows / rows.sum(),
        color=colour,
        label="bin; its area: requests",
        zorder=3,
    )
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 104)
    axes.set_aspect("equal")
    axes.set_xlabel("confidence (%)")
    axes.set_title(title)


def _few_shot(figures: Figures) -> Figure:
    found = list(figures["few_shot"].values())
    series = (
        ("accuracy", "o", TASK_TYPE_COLOUR, "right (an abstention is wrong)"),
        ("answered_accuracy", "D", "#7fa8cf", "right among the answered"),
        ("out_of_scope_abstained", "s", TARGET_COLOUR, "out-of-scope abstained"),
    )
    figure, axes = plt.subplots(figsize=(7.6, 3.9), layout="constrained")
    for place, (name, marker, colour, title) in enumerate(series):
        at = np.arange(len(found)) + (place - 1) * 0.25
        mean, low, high = (
            100 * np.array([row[name][part] for row in found]) for part in ("mean", "low", "high")
        )
        axes.errorbar(
            mean, at, xerr=[mean - low, high - mean], fmt=marker, color=colour, markersize=5, label=title
        )
        for where, value, end in zip(at, mean, high, strict=True):
            axes.annotate(
                f"{value:.1f}", (end, where), (5, 0), textcoords="offset points", va="center", fontsize=8
            )
    for place in range(1, len(found)):
        axes.axhline(place - 0.5, color="#dddddd", linewidth=0.8)
    axes.set_yticks(range(len(found)), [row["title"] for row in found])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(right=103)
    axes.set_xlabel("share of test queries (%); the lines reach from the worst to the best of five draws")
    axes.set_title("Workloads that are known by ten examples each")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _saved(figure: Figure, path: Path) -> Path:
    # Without the software's version in the file the same figures give the same bytes.
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
    plt.close(figure)
    return path
