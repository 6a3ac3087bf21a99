"""`homeward shadow`: comparing targets, and checking what the comparison says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from playbook import completing
from playbook.forecast import forecast as draw_forecast
from playbook.gold import Gold, gold_of, words
from playbook.replay import TripletError, duration_us, read_triplets
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.stopped import stopped
from services.shadow.core.exact_interval import clopper_pearson
from services.shadow.core.simulate import SCENARIOS, Plan, simulate
from services.shadow.core.triplets import Triplet
from services.shadow.core.verdict import Rules, Verdict, Window, windows

SHOWN_WINDOWS = 40
"""Windows of the table at most, the last ones; --json has all."""
SEED = 1
CONFIDENCE = 0.999
WATERMARK = "1h"
DAY_US = 86_400 * 10**6
MAX_DAYS = 365
"""Of experiments that are drawn."""


def replay(
    triplets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV or Parquet with request_time, arrival_time, cluster, stratum, epoch,"
            " agreement_sovereign, agreement_noise, gold_sovereign, gold_cloud.",
        ),
    ] = None,
    margin: Annotated[float, typer.Option(help="δ: the largest gap that counts as parity.")] = 0.02,
    alpha: Annotated[float, typer.Option(help="The error over all epochs.")] = 0.05,
    window: Annotated[str, typer.Option(help="Length of a window: 30s, 15m, 1h, 1d.")] = "1d",
    watermark: Annotated[str, typer.Option(help="How long late answers are waited for.")] = WATERMARK,
    min_windows: Annotated[int, typer.Option(help="Closed windows that a verdict needs.")] = 14,
    strata: Annotated[
        str,
        typer.Option(metavar="A,B", help="Strata that must each pass even if no request has them."),
    ] = "",
    scenario: Annotated[
        str | None,
        typer.Option(
            "--simulate",
            metavar="SCENARIO",
            autocompletion=completing.scenarios,
            help="Draw experiments instead of reading triplets.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Experiments to draw.")] = 20_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute the verdict anew from the triplets of an experiment, as docs/verdict.md defines it.

    Nothing else is read: not the book, not the services. `n` counts the votes so far in the epoch, `log_k` is
    the natural logarithm of the evidence against "worse than the margin", and the bounds are those of E[D].
    `homeward shadow export` writes such a file, and the options that its experiment had. Where a right answer
    is known, gold_sovereign and gold_cloud may say how far each answer agrees with it: that is told beside
    the verdict, and no part of it.

    --json has: verdict; windows (epoch, start, n, log_k, lower_bound, upper_bound, histogram_sha256,
    verdict); gold (epoch, triplets, votes, difference, lower_bound, upper_bound, mean_sovereign, mean_cloud),
    null without gold answers.
    With --simulate: scenario, runs, plan, and for the means "parity" and "margin" (the worst that must not
    pass): ready, rejected (rate, low, high: Clopper and Pearson at 99.9 %). Both have next_step. Drawn are 28
    days of 300 votes, or twice --min-windows if that is longer, in windows of whole days.
    """
    try:
        named = tuple(item.strip() for item in strata.split(",") if item.strip())
        rules = Rules(margin, alpha, duration_us(window), duration_us(watermark), min_windows, named)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if scenario is not None:
        if triplets is not None or strata or watermark != WATERMARK:
            raise typer.BadParameter(
                "--simulate draws votes of one stratum, none of them late: leave --triplets, --strata and"
                " --watermark out"
            )
        _simulate(scenario, rules, runs, as_json=as_json)
        return
    if triplets is None:
        raise typer.BadParameter("name the triplets by --triplets FILE, or a --simulate SCENARIO")
    found, gold = _windows(triplets, rules, shown=not as_json)
    if as_json:
        document = {
            "verdict": _last(found),
            "windows": [_document(item) for item in found],
            "gold": asdict(gold) if gold is not None else None,
        }
        tell_json(document, _meaning(found, rules)[1])
    else:
        _print(found, gold, rules)


def _windows(file: Path, rules: Rules, *, shown: bool) -> tuple[list[Window], Gold | None]:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} triplets"))
    try:
        with Progress(
            *columns, console=console, transient=True, disable=not (shown and console.is_terminal)
        ) as bar:
            task = bar.add_task("", total=None)
            gold: list[Triplet] = []
            read = read_triplets(file, lambda count: bar.update(task, completed=count), gold.append)
            return windows(read, rules), gold_of(gold, rules)
    except (TripletError, ValueError) as error:
        step = "give a file of `homeward shadow export`; docs/verdict.md defines its columns."
        raise stopped(str(error), step) from None


def _last(found: list[Window]) -> Verdict:
    return found[-1].verdict if found else Verdict.COLLECTING


def _document(item: Window) -> dict[str, object]:
    start = datetime.fromtimestamp(item.start_unix_us / 10**6, UTC).isoformat().replace("+00:00", "Z")
    return {
        "epoch": item.epoch,
        "start": start,
        "n": item.n,
        "log_k": item.log_k,
        "lower_bound": item.lower_bound,
        "upper_bound": item.upper_bound,
        "histogram_sha256": item.histogram_sha256,
        "verdict": item.verdict,
    }


def _print(found: list[Window], gold: Gold | None, rules: Rules) -> None:
    console = Console(highlight=False)
    if not found:
        tell("There is no triplet, and so no window.")
        tell_next(_meaning(found, rules)[1])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("epoch", "window (UTC)", "votes", "ln K", "needs", "E[D] at least", "verdict"):
        right = name not in ("window (UTC)", "verdict")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for item in found[-SHOWN_WINDOWS:]:
        table.add_row(
            str(item.epoch),
            f"{datetime.fromtimestamp(item.start_unix_us / 10**6, UTC):%Y-%m-%d %H:%M:%S}",
            f"{item.n:,}",
            f"{item.log_k:.3f}",
            f"{-np.log(rules.epoch_alpha(item.epoch)):.3f}",
            f"{item.lower_bound:+.3f}",
            item.verdict,
        )
    console.print(table_or_records(table, console.width))
    if len(found) > SHOWN_WINDOWS:
        console.print(f"… and {len(found) - SHOWN_WINDOWS} windows before; --json has all.")
    meaning, step = _meaning(found, rules)
    if gold is not None:
        tell(f"\n{words(gold, rules)}")
    tell(f"\n{found[-1].verdict}: {meaning}")
    tell_next(step)


def _meaning(found: list[Window], rules: Rules) -> tuple[str, str]:
    """What the verdict means, and what to do."""
    verdict, count = _last(found), len(found)
    if not found:
        return "there is no window", "`homeward shadow start WORKLOAD` samples a workload."
    if verdict is Verdict.READY:
        return (
            f"worse than −{rules.margin:g} is excluded at α = {rules.alpha:g} over all epochs.",
            "compare histogram_sha256 (--json) with the decision's evidence in the journal.",
        )
    if verdict is Verdict.REJECTED:
        return (
            f"a gap beyond −{rules.margin:g} is shown.",
            "another model, prompt or scorer is a new epoch, with half of the error.",
        )
    if count < rules.min_windows:
        return f"{count} of {rules.min_windows} windows.", "wait for more days."
    return "neither parity nor a gap is shown.", "more samples a day, or more days."


def forecast(
    requests_per_day: Annotated[int, typer.Option(min=1, help="Of the workload.")],
    rate: Annotated[float, typer.Option(min=0.000001, max=1, help="Share that is sampled.")] = 0.1,
    discordance: Annotated[
        float,
        typer.Option(
            min=0.001, max=1, help="Mean square of D: where D is -1, 0 or 1, the share that is not 0."
        ),
    ] = 0.2,
    margin: Annotated[float, typer.Option(help="δ: the largest gap that counts as parity.")] = 0.02,
    alpha: Annotated[float, typer.Option(help="The error over all epochs.")] = 0.05,
    min_windows: Annotated[int, typer.Option(help="Days that a verdict needs.")] = 14,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forecast the days until READY if the sovereign model is as good, by drawing 2,000 experiments.

    Before there are samples the discordance is a guess: 0.1, and 0.25 with a judge. `homeward shadow show
    --json` has it as measured. In one experiment of twenty it takes longer than the last figure.

    --json has: samples_per_day; days (median, p80, p95; null if more than a year); within_60_days (share);
    next_step.
    """
    samples = round(requests_per_day * rate)
    if not samples:
        raise typer.BadParameter("that is less than one sample a day: raise --rate")
    try:
        Rules(margin, alpha, duration_us("1d"), 0, min_windows)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    found = draw_forecast(samples, discordance, margin=margin, alpha=alpha, epoch=1, min_windows=min_windows)
    told, within = found.windows, found.share_within(60)
    step = "a higher --rate or a wider --margin shortens it; fewer than 14 days show no weekly rhythm."
    if as_json:
        tell_json({"samples_per_day": samples, "days": dict(told), "within_60_days": within}, step)
        return
    words = {name: "more than a year" if day is None else f"{day} days" for name, day in told.items()}
    tell(
        f"At {samples:,} samples a day: about {words['median']}; {words['p80']} in four of five cases,"
        f" {words['p95']} in nineteen of twenty."
    )
    tell_next(step)


@dataclass(frozen=True, slots=True)
class _Rate:
    rate: float
    low: float
    high: float


def _rate(count: int, runs: int) -> _Rate:
    return _Rate(count / runs, *clopper_pearson(count, runs, CONFIDENCE))


def _plan(rules: Rules) -> Plan:
    """What is drawn: days, so a window must be whole ones; twice as many as a verdict needs, at least."""
    window_days, rest = divmod(rules.window_us, DAY_US)
    if rest:
        raise typer.BadParameter("--simulate draws whole days: give a --window of 1d, 7d or another of days")
    fewest = 2 * rules.min_windows * window_days
    if fewest > MAX_DAYS:
        raise typer.BadParameter(
            f"--min-windows {rules.min_windows} needs {fewest:,} drawn days, twice what a verdict needs; at"
            f" most {MAX_DAYS} are drawn: choose fewer, or a shorter --window"
        )
    days = max(Plan().days, fewest)
    return Plan(rules.margin, rules.alpha, days, min_windows=rules.min_windows, window_days=window_days)


def _simulate(name: str, rules: Rules, runs: int, *, as_json: bool) -> None:
    if name not in SCENARIOS:
        raise typer.BadParameter(f"{name!r} is none of the scenarios: {', '.join(SCENARIOS)}")
    plan = _plan(rules)
    if not SCENARIOS[name].can_have(-rules.margin):
        fits = [item.name for item in SCENARIOS.values() if item.can_have(-rules.margin)]
        raise typer.BadParameter(
            f"{name!r} ({SCENARIOS[name].about}) can't be worse by --margin {rules.margin:g}: choose a"
            f" smaller one{', or --simulate ' + ' or '.join(repr(item) for item in fits) if fits else ''}"
        )
    found = {}
    for label, mean in (("parity", 0.0), ("margin", -rules.margin)):
        drawn = simulate(SCENARIOS[name], mean, plan, runs, np.random.default_rng(SEED))
        found[label] = {"ready": _rate(drawn.ready, runs), "rejected": _rate(drawn.rejected, runs)}
    step = "`make proof` runs all scenarios, with the twins that must fail."
    if as_json:
        document = {"scenario": name, "runs": runs, "plan": asdict(plan)}
        document |= {
            label: {key: asdict(rate) for key, rate in item.items()} for label, item in found.items()
        }
        tell_json(document, step)
        return
    console = Console(highlight=False)
    console.print(
        f"{runs:,} experiments of {plan.days} days with {plan.votes_per_day} votes, looked at every"
        f" {'day' if plan.window_days == 1 else f'{plan.window_days} days'}: {SCENARIOS[name].about}."
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("true E[D]", "READY", "99.9 % limits", "REJECTED", "99.9 % limits"):
        table.add_column(title, justify="right")
    for label, mean in (("parity", 0.0), ("margin", -rules.margin)):
        ready, rejected = found[label]["ready"], found[label]["rejected"]
        table.add_row(
            f"{mean:+.3f}",
            f"{ready.rate:.4f}",
            f"{ready.low:.4f}–{ready.high:.4f}",
            f"{rejected.rate:.4f}",
            f"{rejected.low:.4f}–{rejected.high:.4f}",
        )
    console.print(table_or_records(table, console.width))
    tell_next(step)
