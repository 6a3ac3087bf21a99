"""`make proof`: the promise of the verdict, drawn many thousand times, beside the twins that must break it.

Writes docs/proof.md and docs/images/proof.png. Ends with code 1 if a rate is not what the design says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.shadow.core import twins
from services.shadow.core.exact_interval import clopper_pearson
from services.shadow.core.simulate import SCENARIOS, Plan, Rates, Scenario, simulate

PAGE = Path("docs/proof.md")
PICTURE = Path("docs/images/proof.png")
RUNS = 20_000
SEED = 20_261_125
CONFIDENCE = 0.998
"""Two-sided, so that each limit holds at 99.9 %."""
PLAN = Plan()
RESTARTS = Plan(min_windows=1, epochs=10)
LOOKED = Plan(min_windows=1, votes_per_day=2_400)
BUSY = Plan(votes_per_day=2_400)
WEEKS = Plan(votes_per_day=2_400, min_windows=2, window_days=7)
"""Of seven days, as many days as the fourteen windows of a day."""
NARROW = Plan(margin=0.02, days=21, votes_per_day=500)
"""A small margin, three weeks: where power has to be paid for."""
LEAST_POWER = 0.85

Draw = Callable[[int, np.random.Generator], Rates]


@dataclass(frozen=True, slots=True)
class Case:
    """A rate of READY, and what it must be."""

    group: str
    what: str
    wanted: str
    """`safe`: at most α; `breaks`: above it; `power`: at least LEAST_POWER."""
    draw: Draw


@dataclass(frozen=True, slots=True)
class Found:
    """A case, drawn."""

    case: Case
    rates: Rates
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Of READY."""
        return self.rates.ready / self.rates.runs

    @property
    def holds(self) -> bool:
        """It is what it must be, at 99.9 %."""
        if self.case.wanted == "safe":
            return self.high <= PLAN.alpha
        return self.low > (PLAN.alpha if self.case.wanted == "breaks" else LEAST_POWER)


def cases() -> list[Case]:
    """All that is claimed."""
    at_margin, made = -PLAN.margin, []
    for name, scenario in SCENARIOS.items():
        made += [
            Case(name, "at the margin", "safe", _with(simulate, scenario, at_margin, PLAN)),
            Case(name, "at parity", "power", _with(simulate, scenario, 0.0, PLAN)),
            Case(name, "z-test, looked at daily", "breaks", _with(twins.naive_z, scenario, at_margin, PLAN)),
        ]
    fifth, discordant = SCENARIOS["one in five"], SCENARIOS["discordant"]
    for what, wanted, mean in (("at the margin", "safe", -NARROW.margin), ("at parity", "power", 0.0)):
        made.append(Case("small margin", what, wanted, _with(simulate, fifth, mean, NARROW)))
    for group, what, wanted, draw in (
        ("bursts of five", "one vote each", "safe", twins.one_vote),
        ("bursts of five", "five votes each", "breaks", twins.each_alone),
    ):
        made.append(Case(group, what, wanted, _with(draw, discordant, at_margin, PLAN)))
    for group, what, wanted, draw in (
        ("ten restarts", "α/2^k for the k-th", "safe", twins.spending),
        ("ten restarts", "α for each", "breaks", twins.no_spending),
    ):
        made.append(Case(group, what, wanted, _with(draw, discordant, at_margin, RESTARTS)))
    for group, what, wanted, of_mean, mean, plan in (
        ("late failures", "after the watermark", "safe", twins.after_the_watermark, PLAN.margin, PLAN),
        ("late failures", "in order of arrival", "breaks", twins.in_order_of_arrival, PLAN.margin, PLAN),
        ("day and night", "looked at when a day is over", "safe", twins.at_closed_windows, at_margin, LOOKED),
        ("day and night", "looked at every hour", "breaks", twins.at_every_hour, at_margin, LOOKED),
    ):
        made.append(Case(group, what, wanted, _of(of_mean, mean, plan)))
    for what, wanted, plan in (("windows of a week", "safe", WEEKS), ("windows of a day", "breaks", BUSY)):
        weekly = _with(simulate, SCENARIOS["weekly"], at_margin, plan)
        made.append(Case("busy weeks", what, wanted, weekly))
    for what, wanted, of_tenants, mean in (
        ("one vote a burst, its mean", "safe", twins.one_vote_a_tenant, at_margin),
        ("at parity", "power", twins.one_vote_a_tenant, 0.0),
        ("a vote for each request", "breaks", twins.every_request, at_margin),
    ):
        made.append(Case("tenants' bursts", what, wanted, _of(of_tenants, mean, LOOKED)))
    return made


def prove(runs: int, tell: Callable[[str], None] = lambda _: None, seed: int = SEED) -> list[Found]:
    """Draws every case.

    Args:
        runs: experiments a case.
        tell: is told each result.
        seed: of the draws; each case has its own stream.
    """
    found = []
    for number, case in enumerate(cases()):
        rates = case.draw(runs, np.random.default_rng((seed, number)))
        low, high = clopper_pearson(rates.ready, rates.runs, CONFIDENCE)
        item = Found(case, rates, low, high)
        found.append(item)
        verdict = "holds" if item.holds else "DOES NOT HOLD"
        tell(f"{case.group:15} {case.what:29} READY {item.rate:.4f}  {verdict}")
    return found


def _with(
    draw: Callable[[Scenario, float, Plan, int, np.random.Generator], Rates],
    scenario: Scenario,
    mean: float,
    plan: Plan,
) -> Draw:
    return lambda runs, rng: draw(scenario, mean, plan, runs, rng)


def _of(draw: Callable[[float, Plan, int, np.random.Generator], Rates], mean: float, plan: Plan) -> Draw:
    return lambda runs, rng: draw(mean, plan, runs, rng)


def page(found: Sequence[Found], runs: int, seconds: float) -> str:
    """docs/proof.md."""
    words = {"safe": f"≤ {PLAN.alpha:g}", "breaks": f"> {PLAN.alpha:g}", "power": f"> {LEAST_POWER:g}"}
    rows = [
        f"| {item.case.group} | {item.case.what} | {words[item.case.wanted]} | {item.rate:.4f} |"
        f" {item.low:.4f} – {item.high:.4f} | {'yes' if item.holds else '**no**'} |"
        for item in found
    ]
    about = (
        f"`make proof`, {runs:,} experiments a row, {seconds:.0f} s. What is counted is how many ever came to"
        " READY. At the margin (the true E[D] is −δ, the worst that must not pass) that is a false cutover:"
        f" at most α = {PLAN.alpha:g} of them, however often anyone looks. Beside each remedy stands its"
        " twin, the same traffic without it, which must break the promise: else the row would show nothing."
    )
    plan = (
        f"An experiment has {PLAN.days} days of {PLAN.votes_per_day} votes, δ = {PLAN.margin:g}, the first"
        f" epoch's α/2, and {PLAN.min_windows} closed windows at least; restarts, day and night and tenants'"
        f" bursts are looked at from the first day; the latter two and busy weeks have"
        f" {LOOKED.votes_per_day:,} votes a day, the weeks with two windows of a week at least, begun with a"
        f" week; a tenant's burst is {twins.TENANT_BURST} requests, one in five of which differs, that are"
        f" together {twins.TENANT_EFFECT:g} better or worse; the small margin is {NARROW.margin:g} on"
        f" {NARROW.days} days of {NARROW.votes_per_day} votes. Limits are Clopper and"
        " Pearson's, each at 99.9 %. [verdict.md](verdict.md) defines what is computed."
    )
    kinds = [f"- **{scenario.name}**: {scenario.about}." for scenario in SCENARIOS.values()]
    head = ["| traffic | | READY wanted | measured | limits | holds |", "|---|---|--:|--:|--:|---|"]
    lines = ["# The proof", "", about, "", plan, "", *head, *rows, "", *kinds, ""]
    return "\n".join([*lines, "![Rates of READY](images/proof.png)", ""])


def draw_picture(found: Sequence[Found], file: Path) -> None:
    """The rates with their limits, remedies beside their twins."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [item for item in found if item.case.wanted != "power"]
    colours = {"safe": "#1f6f54", "breaks": "#b5432b"}
    figure, axes = plt.subplots(figsize=(9, 6.4))
    for place, item in enumerate(reversed(shown)):
        colour = colours[item.case.wanted]
        # On a scale of logarithms a rate of zero has no place of its own.
        rate, low = max(item.rate, 1e-5), max(item.low, 1e-5)
        axes.plot([low, item.high], [place, place], color=colour, linewidth=2)
        axes.plot([rate], [place], "o", color=colour, markersize=6)
    axes.axvline(PLAN.alpha, color="#444444", linestyle="--", linewidth=1)
    axes.text(PLAN.alpha * 1.06, len(shown) - 0.6, f"α = {PLAN.alpha:g}", color="#444444", va="bottom")
    axes.set_yticks(range(len(shown)), [f"{item.case.group}: {item.case.what}" for item in reversed(shown)])
    axes.set_xscale("log")
    axes.set_xlim(1e-4, 1.3)
    axes.set_xlabel("false cutovers, of all experiments at the margin (99.9 % limits)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.suptitle("With the remedy (green) and without (red)", x=0.01, ha="left", fontweight="bold")
    figure.tight_layout()
    figure.savefig(file, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> int:
    """Draws, writes, and says what does not hold.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    began = time.monotonic()
    found = prove(runs, print)
    PAGE.write_text(page(found, runs, time.monotonic() - began), encoding="utf-8")
    draw_picture(found, PICTURE)
    failed = [item for item in found if not item.holds]
    print(f"\n{len(found) - len(failed)} of {len(found)} hold. Next: read {PAGE}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
