"""What one must know to read the results rightly, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from playbook.finance.answers import Result, answers
from playbook.finance.inputs import WORDS, Case, Name
from playbook.finance.model import MONTHS, NEVER
from playbook.finance.money import money
from playbook.finance.risk import Spread, middle, tornado, without_range


def notes(case: Case, spreads: Mapping[Result, Spread]) -> list[str]:
    """Why a result is odd, what it counts from, and what to do about it.

    Args:
        case: all inputs.
        spreads: its draws.
    """
    payback = answers(case)["payback_months"]
    told = []
    if too_small(case):
        told.append(_too_small(case))
    elif payback.low is not None and payback.low >= NEVER:
        told.append(
            "Never, because a year saves nothing: what moves costs as much at home as in the cloud, or more."
            " More spend on the same GPUs, or cheaper ones, would change that."
        )
    elif payback.high is not None and payback.high >= NEVER:
        told.append(
            "Never is where a year saves nothing: at that end of the ranges home costs as much as the cloud,"
            " or more."
        )
    if not without_range(case):
        turns = middle(case).turns
        if turns and payback.low is not None and payback.low < NEVER:
            told.append(
                "The payback counts from the day on which all is at home. From the first day of work the sums"
                f" come back to nothing in month {turns}."
            )
    return [*told, *rosy(case, spreads)]


def too_small(case: Case) -> bool:
    """Whether moving costs more than all that three years in the cloud would, whatever the unknown is."""
    spend, once = case[Name.CLOUD].high, answers(case)["one_time"].low
    return spend is not None and once is not None and spend * MONTHS < once


def pays(case: Case) -> bool | None:
    """Whether three years are worth more than they cost; None if that depends on something unknown."""
    npv = answers(case)["npv"]
    if npv.low is None or npv.high is None:
        return None
    return True if npv.low > 0 else False if npv.high <= 0 else None


def _too_small(case: Case) -> str:
    spend, once = case[Name.CLOUD].high or 0, answers(case)["one_time"].low or 0
    return (
        f"All that goes to the cloud in three years is {money(round(spend * MONTHS))} at most, and moving"
        f" costs {money(round(once))} at least: with so little spend no move pays. Import what the"
        " organisation spends; `homeward finance --example` shows how that reads."
    )


def rosy(case: Case, spreads: Mapping[Result, Spread]) -> list[str]:
    """That the figures are better than most draws, and because of which inputs."""
    npv = answers(case)["npv"].value
    if npv is None or not spreads or npv <= spreads["npv"].quantiles["p90"]:
        return []
    names = [
        WORDS[swing.name]
        for swing in tornado(case)
        if case[swing.name].value
        == (case[swing.name].high if swing.at_high > swing.at_low else case[swing.name].low)
    ]
    if not names:
        return []
    return [
        f"The figures are better than nine of ten draws, for these stand at the good end of their ranges:"
        f" {', '.join(names)}. Count on the draws."
    ]
