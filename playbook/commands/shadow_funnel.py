"""`homeward shadow funnel`: how far requests get by day, and why others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook import completing
from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.commands.shadow_show import loss_words
from playbook.known import did_you_mean, workloads
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.stopped import stopped
from services.common.settings import DEFAULT_FILE

QUERY = Path(__file__).parents[1] / "queries" / "shadow_funnel.sql"
STEPS = ("eligible", "sampled", "sent", "answered", "scored")


def funnel(
    workload: Annotated[
        str, typer.Argument(help="One workload; left out: all.", autocompletion=completing.workloads)
    ] = "",
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to look back, today (UTC) included.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where ClickHouse is.")
    ] = DEFAULT_FILE,
) -> None:
    """Show how far requests of compared workloads got by day, with a reason for every loss.

    Eligible could be compared, sampled were drawn, sent were taken by shadow, answered have all answers or
    failed for good, scored have both agreements. Ineligible requests are not among the eligible. What is shed
    or lost has no vote; what is late or failed votes as a failure of the sovereign model, so that whoever
    fails more often can't look better for it.

    --json has: days; rows (day, workload, epoch, eligible, sampled, sent, answered, scored, losses by
    "step/reason"); next_step.
    """
    try:
        with closing(reader(settings)) as client:
            found = client.query(
                QUERY.read_text(encoding="utf-8"), parameters={"days": days, "workload": workload}
            )
            rows = list(found.named_results())
    except UNREACHABLE as error:
        raise stopped(f"ClickHouse does not tell the funnel: {first_line(error)}") from None
    if as_json:
        tell_json({"days": days, "rows": rows}, _next(rows, workload))
        return
    console = Console(highlight=False)
    if not rows:
        what = f" of {workload}" if workload else ""
        near = did_you_mean(workload, workloads(settings)) if workload else ""
        tell(f"Nothing{what} was compared in the last {'day' if days == 1 else f'{days} days'}{near or '.'}")
        tell_next(_next(rows, workload))
        return
    console.print(table_or_records(_table(rows), console.width))
    losses = [f"  {loss_words(step, reason, count)}" for (step, reason), count in _losses(rows)]
    if losses:
        tell("\n".join(["", *losses]))
    tell_next(_next(rows, workload))


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("day (UTC)", no_wrap=True)
    table.add_column("workload", overflow="fold")
    for title in ("epoch", *STEPS):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        counts = (f"{row[step]:,}" for step in STEPS)
        table.add_row(str(row["day"]), escape(row["workload"]), str(row["epoch"]), *counts)
    return table


def _losses(rows: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[str, str], int]]:
    """By step and reason over all rows, the largest first."""
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        for name, count in row["losses"].items():
            step, _, reason = name.partition("/")
            sums[step, reason] = sums.get((step, reason), 0) + count
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))


def _next(rows: Sequence[Mapping[str, Any]], workload: str) -> str:
    which = workload or "WORKLOAD"
    if not rows:
        return f"`homeward shadow start {which}`."
    total = {step: sum(row[step] for row in rows) for step in STEPS}
    if not total["eligible"]:
        return "send requests of a compared workload; those above could not be compared."
    if not total["sampled"]:
        return "wait, or raise --rate by a new epoch: nothing was drawn yet."
    if not total["scored"]:
        return "`homeward status` says what is down: nothing was scored."
    return f"`homeward shadow show {which}` shows what the samples say."
