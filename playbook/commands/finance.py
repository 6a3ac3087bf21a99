"""`homeward finance`: what a migration costs and saves, from named inputs, each with its range."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.configured import configured
from playbook.finance import reference
from playbook.finance.answers import RESULT_WORDS, Answer, Result, answers, span, words
from playbook.finance.answers import document as answer_document
from playbook.finance.gather import SETTINGS, Config
from playbook.finance.inputs import WORDS, Case, Name, told, told_range
from playbook.finance.inputs import document as input_document
from playbook.finance.model import MONTHS
from playbook.finance.money import money
from playbook.finance.notes import notes, pays, too_small
from playbook.finance.risk import RUNS, SEED, Spread, Swing, draws, mattering, middle, tornado, without_range
from playbook.plan.example import example
from playbook.plan.gather import gather
from playbook.plan.settings import FIRST_YEAR, LAST_YEAR
from playbook.shown import table_or_records, tell, tell_next
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE

PICTURES = (".png", ".svg")
TOLD = frozenset({Name.CHANGE, Name.RENEWS, Name.ENGINEERING, Name.HOME_SHARE, Name.INFRASTRUCTURE})
"""Inputs that nothing measures: without a value somebody has not set them."""
AWAY_STEP = "start everything with `make run`, and ask again; `homeward doctor` says what is wrong."
EXAMPLE_STEP = (
    "`homeward inventory import FILE…` brings what your organisation spends; then leave out --example."
)
SHOWN_SWINGS = 6
"""Inputs of the list of what matters most; --json has all."""
MONTHS_PER_YEAR = 12


def finance(
    published: Annotated[
        bool, typer.Option("--reference", help="Show the reference case instead, computed again.")
    ] = False,
    made_up: Annotated[
        bool, typer.Option("--example", help="Show a made-up organisation instead; nothing is asked.")
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
    result: p10, p50, p90, positive), seed and runs; notes, which say why a result is odd; problem, what could
    not be asked; next_step. Amounts are nano-dollars; null is unknown. --reference has findings (what, holds,
    arithmetic) and lesson as well, --example has title.
    """
    if published and made_up:
        raise typer.BadParameter("--reference and --example are two cases: ask for one")
    if published:
        _reference(as_json, pictures)
        return
    day, start = asked_day(renewal, "--renewal"), asked_day(as_of, "--as-of") or today()
    if made_up:
        shown = example(start, renewal=day)
        _show(shown.found.case, pictures, as_json, EXAMPLE_STEP, {"title": shown.title}, f"{shown.title}\n")
        return
    config = configured(Config, settings)
    found = gather(config, start, renewal=day)
    away = found.book.problem
    # What is set may be enough without the book.
    step = AWAY_STEP if away and found.case[Name.CLOUD].value is None else next_step(found.case)
    _show(found.case, pictures, as_json, step, {"problem": away or None}, f"{away}.\n" if away else "")


def _show(
    case: Case, pictures: Path | None, as_json: bool, step: str, more: Mapping[str, Any], before: str
) -> None:
    drawn = draw(case, pictures) if pictures else []
    if as_json:
        typer.echo(json.dumps({**more, **document(case), "next_step": step}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if before:
        console.print(fill(before, console.width - 1) + "\n", markup=False)
    print_case(console, case)
    for file in drawn:
        tell(f"Picture: {file}")
    tell_next(step, gap=False)


def asked_day(moment: datetime | None, option: str) -> date | None:
    """A day that was asked for, if one was; what lies far off is a slip of the pen."""
    if moment is not None and not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise typer.BadParameter(f"{option}: a day from {FIRST_YEAR} to {LAST_YEAR}")
    return moment.date() if moment else None


def today() -> date:
    """In UTC."""
    return datetime.now(UTC).date()


def document(case: Case) -> dict[str, Any]:
    """The case as JSON."""
    outcome, spreads = None if without_range(case) else middle(case), draws(case)
    return {
        "inputs": [input_document(case[name]) for name in Name],
        "results": {name: answer_document(name, found) for name, found in answers(case).items()},
        "flows_nanos": list(outcome.flows) if outcome else None,
        "turns_month": outcome.turns if outcome else None,
        "tornado": [
            {"name": swing.name.value, "npv_at_low_nanos": swing.at_low, "npv_at_high_nanos": swing.at_high}
            for swing in tornado(case)
        ],
        "draws": {name: _spread_document(name, item) for name, item in spreads.items()},
        "seed": SEED,
        "runs": RUNS,
        "notes": notes(case, spreads),
    }


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
        raise stopped(
            f"{folder} can't be written: {error.strerror or error}", "name another folder."
        ) from None
    return files


def print_case(console: Console, case: Case) -> None:
    """For people: results, what they rest on, what matters most, and the years."""
    found, spreads = answers(case), draws(case)
    console.print(table_or_records(_results(found, spreads), console.width))
    missing = dict.fromkeys(name for item in found.values() for name in item.unknown)
    if missing:
        text = ", ".join(WORDS[name] for name in missing)
        console.print(fill(f"Unknown is what depends on: {text}.", console.width - 1), markup=False)
    if spreads:
        npv = spreads["npv"].positive
        text = (
            f"Draws: {RUNS:,} over all ranges, seed {SEED}, independent; known inputs by a triangle, unknown"
            f" ones uniformly. The NPV is above 0 in {float(100 * npv):.3g} % of them."
        )
        console.print(fill(text, console.width - 1), markup=False)
    for text in notes(case, spreads):
        console.print(fill(text, console.width - 1), markup=False)
    console.print()
    console.print(table_or_records(_inputs(case), console.width))
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
    if too_small(case):
        return (
            "`homeward inventory import FILE…` brings what the organisation spends; --example shows a case."
        )
    for name in (Name.ENGINEERING, Name.CHANGE, Name.HOME_SHARE, Name.MOVES):
        if case[name].value is None:
            key = SETTINGS[name]
            more = ", or GPUs in [pools.NAME]" if name is Name.HOME_SHARE else ""
            return f"set [finance] {key} = {{ value = …, low = …, high = … }}{more}, and ask again."
    if case[Name.INFRASTRUCTURE].value is None:
        return "set [finance] infrastructure_usd = { value = … }, 0 if it is rented, and ask again."
    if case[Name.RENEWS].value is None:
        return "set [plan] renewal, the first day of new prices, and ask again."
    if pays(case) is False:
        return "do not move for the money: `homeward inventory show` says what would have to move to pay."
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
        value = "not set" if item.value is None and name in TOLD else told(item.unit, item.value)
        kind = "not set" if item.value is None and name in TOLD else item.source.kind
        table.add_row(WORDS[name], value + per, told_range(item), kind)
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
    console.print(
        "\n[bold]Cash flow by year[/bold]" + (", with the middle of what is unknown" if unsure else "")
    )
    parts = [("first day", outcome.flows[0])]
    for year in range(MONTHS // MONTHS_PER_YEAR):
        first = 1 + year * MONTHS_PER_YEAR
        parts.append((f"year {year + 1}", sum(outcome.flows[first : first + MONTHS_PER_YEAR])))
    console.print("; ".join(f"{word} {money(flow)}" for word, flow in parts) + ".", markup=False)
    if outcome.turns is None:
        text = "Three years do not make up for what is paid."
    elif not outcome.turns:
        text = "Nothing has to be made up for: the sum of the months is never below zero."
    else:
        text = f"What is paid is made up for in month {outcome.turns}, counted from the first day of work."
    console.print(text, markup=False)
    swings = mattering(case)[:SHOWN_SWINGS]
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
    step, learned = "`homeward finance` does the same with your figures.", reference.lesson(item)
    drawn = draw(case, pictures) if pictures else []
    if as_json:
        findings = [{"what": one.what, "holds": one.holds, "arithmetic": one.arithmetic} for one in told_of]
        source = {name: getattr(item, name) for name in ("title", "source", "article", "url", "note")}
        more = {"findings": findings, "lesson": learned}
        typer.echo(json.dumps({**source, **more, **document(case), "next_step": step}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(item.title)}[/bold]")
    for text in (f"Told by {item.source}.", f"{item.note} It is: {item.article}."):
        console.print(fill(text, console.width - 1), markup=False)
    console.print(item.url + "\n", markup=False, soft_wrap=True)
    for one in told_of:
        mark = "holds" if one.holds else "does not hold"
        console.print(fill(f"- {one.what}: {mark}.", console.width - 1, subsequent_indent="  "), markup=False)
        console.print(
            fill(f"  {one.arithmetic}.", console.width - 1, subsequent_indent="  ") + "\n", markup=False
        )
    console.print("[bold]What it teaches[/bold]")
    for text in learned:
        console.print(fill(f"- {text}", console.width - 1, subsequent_indent="  "), markup=False)
    console.print("\n[bold]What its own figures support[/bold]")
    print_case(console, case)
    for file in drawn:
        tell(f"Picture: {file}")
    tell_next(step, gap=False)
