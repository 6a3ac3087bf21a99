"""The reference case as a worked example: what it says, and what its own figures support. Pure."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from playbook.finance.inputs import Case, Name, Source, known, nanos
from playbook.finance.model import Outcome, evaluate, payback
from playbook.finance.money import money

FILE = Path(__file__).with_name("reference.toml")
DISCOUNT = Fraction(1, 10)
"""The case names none."""
MONTHS_PER_YEAR = 12


@dataclass(frozen=True, slots=True)
class Published:
    """What the source says."""

    title: str
    source: str
    """Who tells the figures."""
    url: str
    article: str
    """Who else tells of it, at `url`."""
    note: str
    """What of that could be read."""
    cloud_usd_per_year: Decimal
    share_that_moves: Decimal
    migration_usd: Decimal
    saving_usd_per_year: Decimal
    payback_months: Decimal
    home_share: Decimal
    weeks_low: Decimal
    weeks_high: Decimal


@dataclass(frozen=True, slots=True)
class Finding:
    """One of its statements, computed again."""

    what: str
    holds: bool
    arithmetic: str


def published(file: Path = FILE) -> Published:
    """Reads the data file; figures are exact."""
    found = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    exact: dict[str, Any] = {
        key: Decimal(item) if isinstance(item, int) else item for key, item in found.items()
    }
    return Published(**exact)


def case_of(item: Published) -> Case:
    """Its figures as inputs of the model: certain ones, but for the time that it takes."""
    source = Source("published", item.source)
    silent = Source("published", f"{item.source} says nothing of it: taken as nothing")
    weeks = (Fraction(item.weeks_low), Fraction(item.weeks_high))
    found = (
        known(Name.CLOUD, nanos(item.cloud_usd_per_year) / MONTHS_PER_YEAR, source),
        known(Name.MOVES, Fraction(item.share_that_moves), source),
        known(Name.CHANGE, 0, silent),
        known(Name.RENEWS, 0, silent),
        known(Name.RUNNING, 0, silent),
        known(Name.HOME_SHARE, Fraction(item.home_share), source),
        known(Name.INFRASTRUCTURE, 0, Source("published", f"{item.source}: part of the migration cost")),
        known(Name.ENGINEERING, nanos(item.migration_usd), source),
        known(Name.PARALLEL, 0, Source("published", f"{item.source}: part of the migration cost")),
        known(Name.WEEKS, (weeks[0] + weeks[1]) / 2, source, *weeks),
        known(Name.DISCOUNT, DISCOUNT, Source("setting", "the case names none; 10 % as by default")),
    )
    return {entry.name: entry for entry in found}


def outcome_of(item: Published) -> Outcome:
    """What the model makes of it."""
    return evaluate({name: entry.middle or Fraction(0) for name, entry in case_of(item).items()})


def findings(item: Published) -> list[Finding]:
    """Its statements one by one: what holds, and what does not."""
    cost, said = round(nanos(item.migration_usd)), round(nanos(item.saving_usd_per_year))
    spend, share = nanos(item.cloud_usd_per_year), Fraction(item.share_that_moves)
    moving, ours = round(spend * share), outcome_of(item)
    theirs, digits = payback(cost, said), -int(item.payback_months.as_tuple().exponent)
    return [
        Finding(
            f"The payback is {item.payback_months} months",
            round(theirs, digits) == Fraction(item.payback_months),
            f"{money(cost)} / {money(said)} × 12 = {float(theirs):.1f} months",
        ),
        Finding(
            f"{money(said)} a year is saved",
            said <= moving,
            f"{money(round(spend))} × {float(100 * share):.0f} % = {money(moving)} is all that moves:"
            f" the saving is {money(abs(said - moving))} {'more' if said > moving else 'less'} than that",
        ),
        Finding(
            f"{money(said)} a year is saved where a query at home costs"
            f" {float(100 * Fraction(item.home_share)):.0f} % of one in the cloud",
            ours.saving_year == said,
            f"{money(moving)} × {float(100 * (1 - Fraction(item.home_share))):.0f} % ="
            f" {money(ours.saving_year)} a year, and a payback of"
            f" {money(cost)} / {money(ours.saving_year)} × 12 = {float(ours.payback):.1f} months",
        ),
    ]


def lesson(item: Published) -> list[str]:
    """What a reader should take from it, in sentences."""
    moving = round(nanos(item.cloud_usd_per_year) * Fraction(item.share_that_moves))
    said, ours = round(nanos(item.saving_usd_per_year)), outcome_of(item)
    told = [
        "A payback is a division: what is paid once by what is saved. It can be right while what is saved is"
        " not, so ask first where the saving comes from."
    ]
    if said > moving:
        told.append(
            f"Nobody saves more than what moves costs. {money(said)} is more than {money(moving)}, so home"
            " would have to cost less than nothing, prices or use would have to grow, or something else is"
            " counted that the case does not name."
        )
    if ours.saving_year != said:
        told.append(
            f"Its own figures support {money(ours.saving_year)} a year and {float(ours.payback):.1f} months:"
            " take these, or ask for what is missing."
        )
    if ours.turns:
        told.append(
            f"The payback counts from the day on which all is at home. From the first day of work, with"
            f" {item.weeks_low} to {item.weeks_high} weeks in which nothing is saved yet, the sums come back"
            f" to nothing in month {ours.turns}."
        )
    return told
