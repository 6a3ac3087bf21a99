"""The tables of the model card: each stands between two comments and comes from `evaluation.json`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Figures = Mapping[str, Any]

_MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class CardError(Exception):
    """The card has no place for a table, or a place for none; the message says which."""


def refreshed(page: str, figures: Figures) -> str:
    """The card with its tables rendered anew; all other text stays.

    Args:
        page: the card, as Markdown.
        figures: what `evaluation.json` has.

    Raises:
        CardError: the places for tables are not those that there are tables for.
    """
    names = [match[2] for match in _MARKED.finditer(page)]
    if sorted(names) != sorted(TABLES):
        raise CardError(f"the card must have a place for each of {sorted(TABLES)}, and has {sorted(names)}")
    return _MARKED.sub(lambda match: f"{match[1]}{TABLES[match[2]](figures)}\n{match[3]}", page)


def _totals(figures: Figures) -> str:
    found = figures["task_types"]
    return _table(
        ("", "task type", "target"),
        [
            (
                "right, all answered",
                _with_interval(found, "accuracy"),
                _with_interval(found, "tier_accuracy"),
            ),
            *(
                (
                    f"right, the most confident {100 * row['coverage']:.0f} %",
                    _share(row["accuracy"]),
                    _share(row["tier_accuracy"]),
                )
                for row in found["risk_coverage"]
            ),
            ("calibration error (ECE, 15 bins)", _share(found["ece"]), _share(found["tier_ece"])),
            ("macro F1", _share(found["macro_f1"]), ""),
        ],
    )


def _kinds(figures: Figures) -> str:
    found = figures["task_types"]
    return _groups({**found["by_kind"], **found["by_exposure"]}, "kind of source")


def _sources(figures: Figures) -> str:
    return _groups(figures["task_types"]["by_source"], "source")


def _groups(groups: Mapping[str, Any], title: str) -> str:
    return _table(
        (title, "requests", "task type", "target", "abstained"),
        [
            (
                name,
                f"{row['n']:,}",
                _with_interval(row, "accuracy"),
                _with_interval(row, "tier_accuracy"),
                _percent(row["abstained"]),
            )
            for name, row in groups.items()
        ],
    )


def _classes(figures: Figures) -> str:
    return _table(
        ("task type", "requests", "precision", "recall", "F1"),
        [
            (f"`{name}`", f"{row['n']:,}", _share(row["precision"]), _share(row["recall"]), _share(row["f1"]))
            for name, row in figures["task_types"]["by_class"].items()
        ],
    )


def _few_shot(figures: Figures) -> str:
    return _table(
        (
            "workloads",
            "right",
            "right among the answered",
            "answered",
            "out-of-scope abstained",
            "other intents abstained",
            "ECE",
        ),
        [
            (
                row["title"],
                _spread(row["accuracy"]),
                _spread(row["answered_accuracy"]),
                _spread(row["coverage"]),
                _spread(row["out_of_scope_abstained"]),
                _spread(row["other_intents_abstained"]) if "other_intents_abstained" in row else "",
                _share(row["ece"]["mean"]),
            )
            for row in figures["few_shot"].values()
        ],
    )


def _fingerprints(figures: Figures) -> str:
    found = figures["fingerprints"]
    strangers = found["strangers_named"]
    return _table(
        ("changed in the system prompt", "requests", "named rightly"),
        [
            *(
                (kind, f"{row['requests']:,}", f"{row['right']:,} ({_percent(row['share'])})")
                for kind, row in found["changed"].items()
            ),
            (
                "all of these, in prompts that nobody registered",
                f"{strangers['requests']:,}",
                f"{strangers['named']:,} named, wrongly ({_percent(strangers['share'])})",
            ),
        ],
    )


def _languages(figures: Figures) -> str:
    found = figures["languages"]
    worst = sorted(found["by_language"].items(), key=lambda item: (item[1], item[0]))[:3]
    return _table(
        ("", "requests", "abstained"),
        [
            (f"{found['languages']} other languages", f"{found['requests']:,}", _percent(found["abstained"])),
            ("the three worst", "", ", ".join(f"{language} {_percent(share)}" for language, share in worst)),
            ("English", f"{found['english_requests']:,}", _percent(found["english_abstained"])),
        ],
    )


def _latency(figures: Figures) -> str:
    latency = figures["task_types"]["latency_ms"]
    return _table(
        ("", "p50", "p99"),
        [("one request, one thread, ms", f"{latency['p50']:.1f}", f"{latency['p99']:.1f}")],
    )


TABLES: Mapping[str, Callable[[Figures], str]] = {
    "totals": _totals,
    "kinds": _kinds,
    "sources": _sources,
    "classes": _classes,
    "few-shot": _few_shot,
    "fingerprints": _fingerprints,
    "languages": _languages,
    "latency": _latency,
}
"""What renders the table of each name."""


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_wilson_95"]
    return f"{_share(row[name])} ({_share(low)} to {_share(high)})"


def _spread(figure: Mapping[str, float]) -> str:
    return f"{_share(figure['mean'])} ({_share(figure['low'])} to {_share(figure['high'])})"


def _share(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
