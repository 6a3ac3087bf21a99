"""The report of `homeward classifier evaluate` as a page of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMN_CHARS = 7


def page(report: Mapping[str, Any]) -> str:
    """The figures for people.

    Args:
        report: as `task_types.report` gives it.
    """
    latency = report["latency_ms"]
    totals = [
        ("requests", f"{report['n']:,}"),
        ("task type right", _with_interval(report, "accuracy")),
        ("target right", _with_interval(report, "tier_accuracy")),
        ("macro F1", f"{report['macro_f1']:.3f}"),
        ("calibration error", f"{report['ece']:.3f} task type, {report['tier_ece']:.3f} target"),
        ("abstained", f"{report['abstained']:.1%}"),
        ("latency", f"{latency['p50']:.1f} ms p50, {latency['p99']:.1f} ms p99 (one request, one thread)"),
    ]
    return "\n\n".join(
        [
            _aligned(totals),
            "The most confident requests alone:\n"
            + _aligned(
                [
                    ("coverage", "task type", "target"),
                    *(
                        (f"{row['coverage']:.0%}", f"{row['accuracy']:.3f}", f"{row['tier_accuracy']:.3f}")
                        for row in report["risk_coverage"]
                    ),
                ]
            ),
            "By source:\n" + _aligned([("", "requests", "task type", "target"), *_by_source(report)]),
            "By task type:\n" + _aligned([("", "requests", "precision", "recall", "F1"), *_by_class(report)]),
            "Confusion (a row is what it is, a column what it was called):\n"
            + _confusion(report["confusion"]),
        ]
    )


def _with_interval(report: Mapping[str, Any], name: str) -> str:
    low, high = report[f"{name}_wilson_95"]
    return f"{report[name]:.3f} ({low:.3f} to {high:.3f})"


def _by_source(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (source, str(row["n"]), f"{row['accuracy']:.3f}", f"{row['tier_accuracy']:.3f}")
        for source, row in report["by_source"].items()
    ]


def _by_class(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, str(row["n"]), f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['f1']:.3f}")
        for name, row in report["by_class"].items()
    ]


def _confusion(confusion: Mapping[str, Any]) -> str:
    labels: list[str] = confusion["labels"]
    header = ("", *(name[:_COLUMN_CHARS] for name in labels), "none")
    rows = [
        (name, *(str(count) if count else "." for count in (*counts, none)))
        for name, counts, none in zip(labels, confusion["matrix"], confusion["no_guess"], strict=True)
    ]
    return _aligned([header, *rows])


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """A table: the first column to the left, figures to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    one_value = len(widths) == 2
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(width) if column == 0 or one_value else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
