"""The tables of docs/scorers.md: what stands there between two comments is written by the command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from playbook.scorers.choice import FLOORS, SHARES, Candidate
from playbook.scorers.figures import Case, Figure, figure, halves
from playbook.scorers.literature import REPORTED
from playbook.scorers.measuring import CLOUDS, HUMAN_SUMMARIES, Measured

_MARKED = re.compile(r"(<!-- measured: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class PageError(Exception):
    """The page has no place for a table, or a place for none; the message says which."""


class Aim(NamedTuple):
    """What the design aims for, on the half that nothing was chosen on."""

    data: str
    what: str
    measure: str
    least: float


AIMS = (
    Aim("LLMFAO", CLOUDS[0], "pairs", 0.72),
    Aim("PandaLM", "text-davinci-003", "pairs", 0.75),
    Aim("SummEval", HUMAN_SUMMARIES, "Spearman, consistency", 0.45),
    Aim("SummEval", HUMAN_SUMMARIES, "Spearman, relevance", 0.35),
)
AIMED = "text_overlap@1"


def refreshed(page: str, tables: Mapping[str, str]) -> str:
    """The page with its tables anew; all other text stays.

    Raises:
        PageError: the places for tables are not those that there are tables for.
    """
    names = [match[2] for match in _MARKED.finditer(page)]
    if sorted(names) != sorted(tables):
        raise PageError(f"the page must have a place for each of {sorted(tables)}, and has {sorted(names)}")
    return _MARKED.sub(lambda match: f"{match[1]}{tables[match[2]]}\n{match[3]}", page)


def agreement(rows: Sequence[Measured]) -> str:
    """Each scorer on each set."""
    return _table(
        (
            "data",
            "held against",
            "measure",
            "scorer",
            "all",
            "95 %",
            "other half",
            "longer wins",
            "better",
            "n",
        ),
        [
            (
                row.data,
                row.what,
                row.measure,
                f"`{row.scorer}`",
                _number((found := figure(row.cases)).mean),
                _interval(found),
                _other_half(row.cases),
                _number(figure(row.longer).mean),
                "yes" if beats_longer(row) else "**no**",
                f"{found.cases:,}" + (f" in {found.groups}" if found.groups not in (1, found.cases) else ""),
            )
            for row in rows
        ],
    )


def judges(found: Mapping[tuple[str, str], Sequence[Case]]) -> str:
    """Judge models on the same pairs, by data and name."""
    return _table(
        ("data", "judge", "pairs", "95 %", "n"),
        [
            (data, name, _number((told := figure(cases)).mean), _interval(told), f"{told.cases:,}")
            for (data, name), cases in found.items()
        ],
    )


def aims(rows: Sequence[Measured]) -> str:
    """What the design aims for, beside what was found."""
    told = []
    for aim in AIMS:
        name = f"{aim.data}, {aim.measure}, against {aim.what}"
        wanted = (aim.data, aim.what, aim.measure, AIMED)
        cases = [row.cases for row in rows if (row.data, row.what, row.measure, row.scorer) == wanted]
        if not cases:
            told.append((name, f"≥ {aim.least:g}", "–", "–", "–", "not here, not measured"))
            continue
        whole, half = figure(cases[0]), figure(halves(cases[0])[1])
        reached = [found.mean >= aim.least for found in (whole, half)]
        verdict = "yes" if all(reached) else "on all, not on the other half" if reached[0] else "**no**"
        shown = (_number(whole.mean), _interval(whole), _number(half.mean))
        told.append((name, f"≥ {aim.least:g}", *shown, verdict))
    better = sum(map(beats_longer, rows))
    verdict = "yes" if better == len(rows) else f"{better} of {len(rows)} rows"
    told.append(("more than the longer answer, in every row below", "–", "–", "–", "–", verdict))
    return _table(("aim", "design", "all", "95 %", "other half", "reached"), told)


def choice(found: Mapping[Candidate, tuple[float, float]]) -> str:
    """The candidates of the blend, on both halves; the best on the half to choose on is bold."""
    best: dict[str, float] = {}
    for candidate, (first, _) in found.items():
        best[candidate.shared] = max(first, best.get(candidate.shared, first))

    def cell(name: str, floor: float, share: float) -> str:
        first, second = (f"{half:.3f}" for half in found[Candidate(name, floor, share)])
        chosen = found[Candidate(name, floor, share)][0] == best[name]
        return f"**{first}** / {second}" if chosen else f"{first} / {second}"

    return _table(
        ("shared", "cosine from", *(f"nearness {share:g}" for share in SHARES)),
        [
            (name, f"{floor:g}", *(cell(name, floor, share) for share in SHARES))
            for name in _names(found)
            for floor in FLOORS
        ],
    )


def literature() -> str:
    """What others report."""
    return _table(("data", "what", "reported", "source", "protocol"), REPORTED)


def beats_longer(row: Measured) -> bool:
    """Whether a scorer agrees with people more than "the longer answer wins" does."""
    return figure(row.cases).mean > figure(row.longer).mean


def _other_half(cases: Sequence[Case]) -> str:
    other = halves(cases)[1]
    return _number(figure(other).mean) if other else "–"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _names(found: Mapping[Candidate, object]) -> list[str]:
    return list(dict.fromkeys(candidate.shared for candidate in found))


def _interval(found: Figure) -> str:
    return "–" if found.groups == 1 else f"{_number(found.low)} – {_number(found.high)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
