"""The inventory line by line: each workload's place and share, whether it may move, and what that saves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from playbook.inventory.ranking import (
    MIN_MONTH_USD,
    Candidate,
    Facts,
    Sensitivity,
    Verdict,
    few,
    judge,
    sensitivity_of,
    shares,
)
from playbook.inventory.saving import Basis, Range, Saving, saving, total
from playbook.inventory.spend import Spend, Workload

Order = Literal["cost", "volume", "sensitivity"]


@dataclass(frozen=True, slots=True)
class Registered:
    """What is registered of a workload; empty if not said."""

    task_type: str
    data_class: str
    quality_sensitivity: str
    may_run_at_home: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A workload of the inventory."""

    place: int
    """By monthly cost, from 1; those of unknown price come last."""
    workload: Workload
    task_type: str
    sensitivity: Sensitivity | None
    cumulative: Fraction | None
    """Share of the spend of a month that it and all dearer ones have; None if its price is unknown."""
    of_the_few: bool
    """Whether it is one of those that hold 70 % of the spend."""
    verdict: Verdict
    saving: Saving | None
    """None if its price is unknown."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """All lines, by monthly cost."""

    spend: Spend
    lines: tuple[Line, ...]
    basis: Basis

    @property
    def few(self) -> tuple[Line, ...]:
        """Those that hold 70 % of the spend."""
        return tuple(line for line in self.lines if line.of_the_few)

    def candidates(self, candidate: Candidate) -> tuple[Line, ...]:
        """The lines with that answer."""
        return tuple(line for line in self.lines if line.verdict.candidate is candidate)

    def saving(self, candidate: Candidate) -> Range:
        """What the lines with that answer save together a month, as far as their price is known."""
        return total([line.saving for line in self.candidates(candidate) if line.saving])


def inventory(
    spend: Spend, registry: Mapping[str, Registered], basis: Basis, min_month_usd: int = MIN_MONTH_USD
) -> Inventory:
    """The lines of what was spent.

    Args:
        spend: workloads, the dearest first.
        registry: what is registered, by name.
        basis: what a home costs.
        min_month_usd: the least month that is worth a proof.
    """
    known = [item for item in spend.workloads if item.month_nanos is not None]
    # What was cut off is in the whole, but none of the few: each of it is smaller than all of these.
    amounts = [*(item.month_nanos or 0 for item in known), spend.rest.month_nanos]
    cumulative, dearest = shares(amounts), few(amounts)
    lines = []
    for place, item in enumerate(spend.workloads, 1):
        entry = registry.get(item.name) if item.kind == "registered" else None
        task_type = (entry.task_type if entry else "") or item.task_type
        sensitivity = sensitivity_of(entry.quality_sensitivity if entry else "", task_type)
        saved = saving(item.month_nanos, item.month_tokens, basis)
        facts = Facts(
            task_type=task_type,
            task_type_share=None if entry and entry.task_type else item.task_type_share,
            month_nanos=item.month_nanos,
            wholly_priced=not item.unpriced_rows,
            days=item.days,
            active_days=item.active_days,
            variation=item.variation,
            sensitivity=sensitivity,
            models=item.models,
            data_class=entry.data_class if entry else "",
            may_run_at_home=entry.may_run_at_home if entry else None,
            # What has no price in part costs more in the cloud than is known.
            saves_at_most=saved.saving.high if saved and not item.unpriced_rows else None,
        )
        lines.append(
            Line(
                place=place,
                workload=item,
                task_type=task_type,
                sensitivity=sensitivity,
                cumulative=cumulative[place - 1] if place <= len(known) else None,
                of_the_few=place <= min(dearest, len(known)) and (item.month_nanos or 0) > 0,
                verdict=judge(facts, min_month_usd),
                saving=saved,
            )
        )
    return Inventory(spend, tuple(lines), basis)


def ordered(lines: Sequence[Line], by: Order) -> list[Line]:
    """The lines by monthly cost, by monthly requests, or the least sensitive first."""
    if by == "volume":
        return sorted(
            lines,
            key=lambda line: (
                line.workload.month_requests is None,
                -(line.workload.month_requests or 0),
                -line.workload.month_tokens.total,
            ),
        )
    if by == "sensitivity":
        return sorted(lines, key=lambda line: (line.sensitivity is None, line.sensitivity or 0, line.place))
    return list(lines)


def first_step(inventory: Inventory) -> str:
    """What to do next, in a sentence."""
    lines = inventory.lines
    if not lines:
        return "`homeward inventory import FILE…` with an export of a provider or a gateway's log."
    ready = inventory.candidates(Candidate.YES)
    chosen = next(iter(ready or inventory.candidates(Candidate.MAYBE)), None)
    if chosen is None:
        return "none of these can move; `homeward inventory show --min-usd 1` judges the small ones too."
    if chosen.workload.kind == "registered" and ready:
        return (
            f"{chosen.workload.name} is registered and the first to be proven; `homeward status` tells"
            " whether its traffic still is what it was."
        )
    if chosen.workload.kind == "registered":
        return f"{chosen.workload.name} comes first: {chosen.verdict.findings[0].reason}."
    sensitivity = chosen.sensitivity.name.lower() if chosen.sensitivity else "SENSITIVITY"
    return (
        f"register the first of them: `homeward workload add {slug(chosen.workload.name)} --owner OWNER"
        f" --data-class CLASS --task-type {chosen.task_type or 'TYPE'} --quality-sensitivity {sensitivity}"
        " --examples FILE.jsonl`."
    )


def slug(name: str) -> str:
    """A name that can be registered: lower-case words joined by hyphens, at most 63 signs."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return words[:63].strip("-") or "workload"
