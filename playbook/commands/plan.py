"""`homeward plan`: which workload moves when, and until when it must be decided."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.commands.finance import AWAY_STEP, EXAMPLE_STEP, asked_day, today
from playbook.configured import Places, configured
from playbook.finance.answers import DELAY_DEPENDS, Answer, answer, answers, why, words
from playbook.finance.answers import document as answer_document
from playbook.finance.gather import Config
from playbook.finance.inputs import Case, Name, known
from playbook.finance.model import delay_cost
from playbook.finance.money import money
from playbook.inventory.lines import first_step
from playbook.inventory.table import plain
from playbook.plan.deadline import Plan, still
from playbook.plan.events import OWN, events
from playbook.plan.example import example
from playbook.plan.gather import Gathered, gather
from playbook.plan.ics import calendar_of
from playbook.plan.schedule import ABOUT, PHASES, Phase, later
from playbook.plan.stages import read_stages
from playbook.plan.told import headline, remarks
from playbook.shown import table_or_records, tell, tell_next
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE
from services.common.words import Stage

PICTURES = (".png", ".svg")
EXAMPLE = "Homeward, an example"
"""What an example's calendar begins its titles with."""
PICTURE, CALENDAR = Path("pictures/plan.png"), "plan.ics"
"""Where they go unless somebody says otherwise, within [local] state_dir."""


def plan(
    renewal: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day of new prices; default: as the settings say."),
    ] = None,
    first: Annotated[
        Phase, typer.Option("--from", help="The phase that comes first; those before it are done.")
    ] = "inventory",
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png|svg", help="Where to draw; default: .homeward/pictures/plan.png."),
    ] = None,
    calendar: Annotated[
        Path | None, typer.Option(metavar="FILE.ics", help="The calendar file; default: .homeward/plan.ics.")
    ] = None,
    made_up: Annotated[
        bool, typer.Option("--example", help="Show a made-up organisation instead; nothing is asked.")
    ] = False,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of the decision; default: today (UTC).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Plan which workload moves when, and say until when it must be decided.

    Five phases of two to three weeks each: inventory, plan, shadow, cutover, report. The candidates of the
    inventory move in waves, the dearest first; a comparison whose forecast is longer than its phase takes
    that long. It waits for its first whole week, which begins on a Thursday (UTC). What is at home is left
    out and what has begun goes on, as the ledger tells. Counted backwards from the renewal, less the
    organisation's approvals, is the last day of a decision that leaves time to run, validate and cut over
    before the new prices; later costs what is not saved. All dates are those of a slow plan unless it says
    fast.

    --json has: as_of, renewal, standing (unknown, in time, tight, too late, passed), days_left, decide_by,
    decide_at_the_latest, notice_by, approval_weeks, first (the phase that comes first), home (fast, slow),
    bars (phase, workload, begin, end: the first day after it), workloads (name, month_nanos, shadow_days),
    delays (months, decide, home, cost), delay_month (what a month of delay costs after the renewal),
    saving_year, remarks, still (what can still be done), note (of the terms), next_step. Dates are ISO 8601,
    amounts nano-dollars, null is unknown. It draws and writes the calendar only where it is told to; so does
    --example, which has a title as well.
    """
    if picture and picture.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{picture}: a picture ends in .png or .svg")
    if calendar and calendar.suffix.lower() != ".ics":
        raise typer.BadParameter(f"{calendar}: a calendar file ends in .ics")
    day, start = asked_day(renewal, "--renewal"), asked_day(as_of, "--as-of") or today()
    if made_up:
        shown = example(start, renewal=day, first=first)
        _show(shown.found, picture, calendar, as_json, EXAMPLE_STEP, shown.title)
        return
    config = configured(Config, settings)
    stages = read_stages(configured(Places, settings).ledger.grpc)
    found = gather(config, start, renewal=day, first=first, stages=stages)
    if not as_json:
        # An example's plan must not lie where one looks for one's own, so it has no default.
        picture = picture or config.local.state_dir / PICTURE
        calendar = calendar or config.local.state_dir / CALENDAR
    _show(found, picture, calendar, as_json, next_step(found))


def _show(
    found: Gathered, picture: Path | None, calendar: Path | None, as_json: bool, step: str, title: str = ""
) -> None:
    if picture:
        _draw(found.plan, picture)
    if calendar:
        _write(found.plan, calendar, EXAMPLE if title else OWN)
    if as_json:
        named = {"title": title} if title else {}
        typer.echo(json.dumps({**named, **document(found), "next_step": step}, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if title:
        console.print(fill(title, console.width - 1) + "\n", markup=False)
    _print(console, found)
    for what, file in (("Picture", picture), ("Calendar", calendar)):
        if file:
            tell(f"{what}: {file}")
    tell_next(step, gap=False)


def document(found: Gathered) -> dict[str, Any]:
    """The plan as JSON."""
    item = found.plan
    saved = answers(found.case)["saving_year"]
    return {
        "as_of": item.terms.today.isoformat(),
        "renewal": _iso(item.terms.renewal),
        "standing": item.standing,
        "days_left": item.days_left,
        "decide_by": _iso(item.decide_by),
        "decide_at_the_latest": _iso(item.decide_at_the_latest),
        "notice_by": _iso(item.notice_by),
        "approval_weeks": item.terms.approval_weeks,
        "note": item.terms.note or None,
        "first": item.terms.first,
        "home": {"fast": item.home_fast.isoformat(), "slow": item.home.isoformat()},
        "bars": [
            {
                "phase": bar.phase,
                "workload": bar.workload or None,
                "begin": bar.begin.isoformat(),
                "end": bar.end.isoformat(),
            }
            for bar in item.bars
        ],
        "workloads": [
            {
                "name": mover.name,
                "month_nanos": mover.month_nanos,
                "shadow_days": list(mover.shadow_days) if mover.shadow_days else None,
            }
            for mover in item.movers
        ],
        "delays": [
            {
                "months": delay.months,
                "decide": delay.decide.isoformat(),
                "home": delay.home.isoformat(),
                "cost": answer_document("npv", delay_answer(found.case, delay.months)),
            }
            for delay in item.delays()
        ],
        "delay_month": answer_document("npv", late_month(found.case)),
        "saving_year": answer_document("saving_year", saved),
        "remarks": remarks(found),
        "still": still(item),
        "next_step": next_step(found),
    }


def delay_answer(case: Case, months: int) -> Answer:
    """What so many months of delay cost, counted from the plan's own date."""
    return answer(case, DELAY_DEPENDS, partial(delay_cost, months=Fraction(months)))


def late_month(case: Case) -> Answer:
    """What a month of delay costs once the new prices hold."""
    renewed = {**case, Name.RENEWS: known(Name.RENEWS, 0, case[Name.RENEWS].source)}
    return answer(renewed, DELAY_DEPENDS - {Name.WEEKS}, partial(delay_cost, months=Fraction(1)))


def next_step(found: Gathered) -> str:
    """What to do next, in a sentence."""
    item = found.plan
    if found.book.problem:
        return AWAY_STEP
    if not item.moves:
        return "`homeward report` writes down what moved, and what it cost and saves: for the provider too."
    if not item.movers:
        return (
            first_step(found.book.inventory) if found.book.inventory else "`homeward inventory import FILE…`."
        )
    if item.standing == "unknown":
        return "set [plan] renewal in the settings, or ask with --renewal YYYY-MM-DD."
    if item.standing in ("too late", "passed"):
        mover = item.movers[0]
        first, name = later(item.terms.first, mover.begins), mover.name
        if found.stages.by_workload.get(name) is Stage.SHADOWED and first == "shadow":
            # It is compared: to start anew would spend half of its error.
            return f"see how far {name} is: `homeward shadow show {name}`."
        command = "cutover" if first == "cutover" else "shadow start"
        return f"begin with {name}: `homeward {command} {name}`."
    by = item.decide_by if item.standing == "in time" else item.decide_at_the_latest
    return f"decide by {by}; `homeward finance` has the figures for those who do."


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _draw(item: Plan, file: Path) -> None:
    # matplotlib takes most of a second, which nobody should wait for without a picture.
    from playbook.plan.gantt import draw

    try:
        draw(item, file)
    except OSError as error:
        raise stopped(f"{file} can't be written: {error.strerror or error}", "name another file.") from None


def _write(item: Plan, file: Path, of: str) -> None:
    text = calendar_of(events(item, of), f"{of}: the way home", datetime.now(UTC))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # As bytes: text mode would change the ends of lines on some systems.
        file.write_bytes(text.encode())
    except OSError as error:
        raise stopped(f"{file} can't be written: {error.strerror or error}", "name another file.") from None


def _print(console: Console, found: Gathered) -> None:
    item = found.plan
    console.print(fill(headline(item), console.width - 1) + "\n", markup=False)
    console.print(table_or_records(_phases(item), console.width))
    if item.movers:
        console.print()
        console.print(table_or_records(_workloads(item), console.width))
    if item.moves:
        _print_later(console, found)
    for title, told in (("What can still be done", still(item)), ("To know", remarks(found))):
        if told:
            console.print(f"\n[bold]{title}[/bold]")
            for text in told:
                console.print(fill(f"- {text}", console.width - 1, subsequent_indent="  "), markup=False)
    console.print()


def _print_later(console: Console, found: Gathered) -> None:
    console.print("\n[bold]What later costs[/bold], in savings that are missed")
    console.print(table_or_records(_delays(found), console.width))
    late = late_month(found.case)
    reason = f" It depends on: {why(late)}." if late.unknown else ""
    if late.low is not None and late.low < 0:
        reason += " Below zero later is cheaper: home costs more than the cloud."
    console.print(
        fill(f"A month at the new prices: {words('npv', late)}.{reason}", console.width - 1), markup=False
    )


def _phases(item: Plan) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("phase", "from", "until"):
        table.add_column(title, no_wrap=True)
    table.add_column("what")
    if item.terms.approval_days:
        last = item.terms.work_begins - timedelta(days=1)
        table.add_row("approvals", str(item.terms.today), str(last), "the organisation's own")
    for phase in PHASES:
        bars = [bar for bar in item.bars if bar.phase == phase]
        if bars:
            table.add_row(
                phase, str(min(bar.begin for bar in bars)), str(max(bar.last for bar in bars)), ABOUT[phase]
            )
    return table


def _workloads(item: Plan) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("workload", overflow="fold")
    table.add_column("a month", justify="right", no_wrap=True)
    for title in ("compared from", "moves from", "at home"):
        table.add_column(title, no_wrap=True)
    for mover in item.movers:
        own = {bar.phase: bar for bar in item.bars if bar.workload == mover.name}
        table.add_row(
            escape(plain(mover.name)),
            "unknown" if mover.month_nanos is None else money(mover.month_nanos),
            str(own["shadow"].begin) if "shadow" in own else "done",
            str(own["cutover"].begin) if "cutover" in own else "done",
            str(own["cutover"].end) if "cutover" in own else "done",
        )
    return table


def _delays(found: Gathered) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("decided", "all done"):
        table.add_column(title, no_wrap=True)
    table.add_column("costs")
    table.add_row(str(found.plan.terms.today), str(found.plan.home), "–")
    for delay in found.plan.delays():
        table.add_row(
            str(delay.decide), str(delay.home), words("npv", delay_answer(found.case, delay.months))
        )
    return table
