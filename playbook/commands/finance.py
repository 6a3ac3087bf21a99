"""`homeward finance`: what a migration costs and saves, from named inputs, each with its range."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.classifier_client import stopped
from playbook.finance import reference
from playbook.finance.answers import RESULT_WORDS, Answer, Result, answers, span, words
from playbook.finance.answers import document as answer_document
from playbook.finance.gather import SETTINGS, Config
from playbook.finance.inputs import WORDS, Case, Name, told, told_range
from playbook.finance.inputs import document as input_document
from playbook.finance.model import MONTHS, Outcome, evaluate
from playbook.finance.money import money
from playbook.finance.risk import RUNS, SEED, Spread, Swing, draws, tornado, without_range
from playbook.plan.gather import gather
from services.common.settings import DEFAULT_FILE, SettingsError, load

PICTURES = (".png", ".svg")
SHOWN_SWINGS = 6
"""Inputs of the list of what matters most; --json has all."""
MONTHS_PER_YEAR = 12


def finance(
    published: Annotated[
        bool, typer.Option("--reference", help="Show a published case instead, computed again.")
    ] = False,
    renewal: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day of new prices; default: as the settings say."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Draw cash-flow.png and tornado.png there."),
    ] = None,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the decision; default: today (UTC).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Compute what the planned migration costs, saves, and when it has paid for itself.

    Each input is measured in the book, a setting (finance, plan, pools), or a published figure, and has a
    range. A result that depends on something unknown is unknown; its range is that of the unknown alone. The
    draws are over the ranges of all inputs: a triangle whose tip is the value, or, if it is unknown, anywhere
    alike.

    --json has: inputs (name, words, unit, value, low, high, source: kind, text); results (one_time, parallel,
    saving_year, payback_months, npv: value, low, high, unknown); flows_nanos by month, of the values and the
    middle of what is unknown, and turns_month; tornado (name, npv_at_low_nanos, npv_at_high_nanos); draws (by
    result: p10, p50, p90, positive), seed and runs; next_step. Amounts are nano-dollars; null is unknown.
    --reference has findings (what, holds, arithmetic) as well.
    """
    if published:
        _reference(as_json, pictures)
        return
    try:
        config = load(Config, *Config.model_fields, path=settings, environment=os.environ)
    except SettingsError as error:
        raise stopped(str(error)) from None
    found = gather(config, day_of(as_of), renewal=renewal.date() if renewal else None)
    drawn = draw(found.case, pictures) if pictures else []
    if as_json:
        typer.echo(
            json.dumps({**document(found.case), "next_step": next_step(found.case)}, ensure_ascii=False)
        )
        return
    console = Console(highlight=False)
    if found.book.problem:
        console.print(fill(f"{found.book.problem}.", console.width - 1) + "\n", markup=False)
    print_case(console, found.case)
    for file in drawn:
        console.print(f"Picture: {file}", markup=False, soft_wrap=True)
    console.print(f"Next: {next_step(found.case)}", markup=False, soft_wrap=True)


def day_of(moment: datetime | None) -> date:
    """A day that was asked for, or today in UTC."""
    return moment.date() if moment else datetime.now(UTC).date()


def document(case: Case) -> dict[str, Any]:
    """The case as JSON."""
    outcome = None if without_range(case) else middle(case)
    return {
        "inputs": [input_document(case[name]) for name in Name],
        "results": {name: answer_document(name, found) for name, found in answers(case).items()},
        "flows_nanos": list(outcome.flows) if outcome else None,
        "turns_month": outcome.turns if outcome else None,
        "tornado": [
            {"name": swing.name.value, "npv_at_low_nanos": swing.at_low, "npv_at_high_nanos": swing.at_high}
            for swing in tornado(case)
        ],
        "draws": {name: _spread_document(name, item) for name, item in draws(case).items()},
        "seed": SEED,
        "runs": RUNS,
    }


def middle(case: Case) -> Outcome:
    """What follows from the values, and from the middle of what is unknown."""
    return evaluate({name: item.middle or Fraction(0) for name, item in case.items()})


def draw(case: Case, folder: Path) -> list[Path]:
    """Draws both pictures, as far as anything is known."""
    if without_range(case):
        return []
    # matplotlib takes most of a second, which nobody should wait for without a picture.
    from playbook.finance.pictures import draw_cash_flow, draw_tornado

    files = [folder / "cash-flow.png", folder / "tornado.png"]
    try:
        draw_cash_flow(case, files[0])
        draw_tornado(case, files[1])
    except OSError as error:
        raise stopped(f"{folder} can't be written: {error.strerror or error}") from None
    return files


def print_case(console: Console, case: Case) -> None:
    """For people: results, what they rest on, what matters most, and the years."""
    found, spreads = answers(case), draws(case)
    console.print(_results(found, spreads))
    missing = dict.fromkeys(name for item in found.values() for name in item.unknown)
    if missing:
        text = ", ".join(WORDS[name] for name in missing)
        console.print(fill(f"Unknown is what depends on: {text}.", console.width - 1), markup=False)
    if spreads:
        npv = spreads["npv"].positive
        text = (
            f"Draws: {RUNS:,} over all ranges, seed {SEED}, independent; known inputs by a triangle, unknown"
            f" ones uniformly. The NPV is above 0 in {float(100 * npv):.0f} % of them."
        )
        console.print(fill(text, console.width - 1), markup=False)
    console.print()
    console.print(_inputs(case))
    console.print("\n[bold]Where they come from[/bold]")
    for source, names in _sources(case).items():
        text = f"{', '.join(names)}: {source}"
        console.print(fill(f"- {text}", console.width - 1, subsequent_indent="  "), markup=False)
    if not without_range(case):
        _print_middle(console, case)
    console.print()


def next_step(case: Case) -> str:
    """What to do about the first thing that is unknown, or with what is known."""
    if case[Name.CLOUD].value is None:
        return "`homeward inventory import FILE…`, or [finance] cloud_usd_per_month: the spend comes first."
    for name in (Name.ENGINEERING, Name.CHANGE, Name.HOME_SHARE, Name.MOVES):
        if case[name].value is None:
            key = SETTINGS[name]
            more = ", or GPUs in [pools.NAME]" if name is Name.HOME_SHARE else ""
            return f"set [finance] {key} = {{ value = …, low = …, high = … }}{more}, and ask again."
    if case[Name.RENEWS].value is None:
        return "set [plan] renewal, the first day of new prices, and ask again."
    return "`homeward plan` says when to decide; `homeward report --case finance` writes it down."


def _results(found: Mapping[Result, Answer], spreads: Mapping[Result, Spread]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("result")
    table.add_column("80 % of the draws", no_wrap=True)
    for name, item in found.items():
        spread = spreads.get(name)
        drawn = span(name, spread.quantiles["p10"], spread.quantiles["p90"]) if spread else ""
        table.add_row(RESULT_WORDS[name], words(name, item), drawn)
    return table


def _inputs(case: Case) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("input", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("range")
    table.add_column("source", no_wrap=True)
    for name in Name:
        item = case[name]
        per = " a month" if item.unit == "$ a month" and item.value is not None else ""
        table.add_row(WORDS[name], told(item.unit, item.value) + per, told_range(item), item.source.kind)
    return table


def _sources(case: Case) -> dict[str, list[str]]:
    """Inputs by what they rest on, each source once."""
    found: dict[str, list[str]] = {}
    for name in Name:
        found.setdefault(case[name].source.text, []).append(WORDS[name])
    return found


def _print_middle(console: Console, case: Case) -> None:
    outcome = middle(case)
    unsure = any(item.value is None for item in case.values())
    console.print("\n[bold]Year by year[/bold]" + (", with the middle of what is unknown" if unsure else ""))
    parts = [("first day", outcome.flows[0])]
    for year in range(MONTHS // MONTHS_PER_YEAR):
        first = 1 + year * MONTHS_PER_YEAR
        parts.append((f"year {year + 1}", sum(outcome.flows[first : first + MONTHS_PER_YEAR])))
    console.print("; ".join(f"{word} {money(flow)}" for word, flow in parts) + ".", markup=False)
    turns = "not within three years" if outcome.turns is None else f"in month {outcome.turns}"
    console.print(f"What is paid is made up for {turns}.", markup=False)
    swings = [swing for swing in tornado(case) if swing.size][:SHOWN_SWINGS]
    if swings:
        console.print("\n[bold]What matters most[/bold], by the three-year NPV at both ends of its range")
        console.print(_swings(swings))


def _swings(swings: Iterable[Swing]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for swing in swings:
        table.add_row(WORDS[swing.name], money(round(swing.at_low)), money(round(swing.at_high)))
    return table


def _spread_document(name: Result, item: Spread) -> dict[str, Any]:
    one = {
        word: answer_document(name, Answer(value, value, value, ())) for word, value in item.quantiles.items()
    }
    return {**{word: found["value"] for word, found in one.items()}, "positive": float(item.positive)}


def _reference(as_json: bool, pictures: Path | None) -> None:
    item = reference.published()
    case, told_of = reference.case_of(item), reference.findings(item)
    step = "`homeward finance` does the same with your figures."
    drawn = draw(case, pictures) if pictures else []
    if as_json:
        findings = [{"what": one.what, "holds": one.holds, "arithmetic": one.arithmetic} for one in told_of]
        source = {"title": item.title, "source": item.source, "url": item.url, "note": item.note}
        typer.echo(
            json.dumps(
                {**source, "findings": findings, **document(case), "next_step": step}, ensure_ascii=False
            )
        )
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(item.title)}[/bold]")
    console.print(fill(f"{item.source}. {item.note}", console.width - 1), markup=False)
    console.print(item.url + "\n", markup=False, soft_wrap=True)
    for one in told_of:
        mark = "holds" if one.holds else "does not hold"
        console.print(fill(f"- {one.what}: {mark}.", console.width - 1, subsequent_indent="  "), markup=False)
        console.print(
            fill(f"  {one.arithmetic}.", console.width - 1, subsequent_indent="  ") + "\n", markup=False
        )
    console.print("[bold]What its own figures support[/bold]")
    print_case(console, case)
    for file in drawn:
        console.print(f"Picture: {file}", markup=False, soft_wrap=True)
    console.print(f"Next: {step}", markup=False, soft_wrap=True)
