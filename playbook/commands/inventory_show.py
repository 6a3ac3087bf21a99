"""`homeward inventory show`: what the workloads cost, which hold most of it, and which to move first."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Literal

import grpc
import typer
from clickhouse_connect.driver.client import Client
from rich.console import Console

from playbook.classifier_client import list_workloads
from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.configured import configured
from playbook.inventory.lines import Inventory, Line, Registered, first_step, inventory, ordered
from playbook.inventory.ranking import MIN_MONTH_USD
from playbook.inventory.saving import PUBLISHED, Basis, by_settings
from playbook.inventory.spend import Tokens
from playbook.inventory.sums import ask_spend, read_measured, spend_of
from playbook.inventory.table import headline, reasons, remarks, table
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.stopped import stopped
from services.classifier.config import Classifier
from services.common.settings import DEFAULT_FILE, UNRESTRICTED, Name, Registry
from services.common.words import QualitySensitivity, TaskType, label
from services.ledger.config import PoolSettings
from services.ledger.core.pools import hourly_cost

REGISTRY_TIMEOUT_S = 2.0
"""Longest wait for the classifier, which knows what was registered since it started."""
PICTURES = (".png", ".svg")


class InventoryConfig(Registry):
    """What the command must know of the settings."""

    classifier: Classifier = Classifier()
    pools: dict[Name, PoolSettings] = {}


def show(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day (UTC); default: the first that is known."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC), included; default: the last that is known."),
    ] = None,
    by: Annotated[
        Literal["cost", "volume", "sensitivity"], typer.Option(help="What the lines are ordered by.")
    ] = "cost",
    limit: Annotated[int, typer.Option(min=1, help="Lines of the table at most; --json has all.")] = 20,
    min_usd: Annotated[
        int, typer.Option(min=0, help="Dollars a month below which a workload is not worth a proof.")
    ] = MIN_MONTH_USD,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png|svg", help="Draw the spend by workload, the dearest first."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Rank the workloads by what they cost a month, and say which are candidates to move home.

    It reads imported usage, imported bills where there is no usage, and legs that the router booked on days
    that no import covers. Without a registered name a workload is a group: requests with the same fixed
    parts, else a project, key or user, each with its model. `month` is 30.44 days of the window; `up to` the
    share of the spend that a workload and all dearer ones have; `quality` how much a worse answer would cost;
    `move` whether it is a candidate, and `saves` what that
    would save a month. In a window of less than 96 columns the requests are left out.

    --json has: windows (provider, first, last, days, extrapolated); cost_nanos and tokens of the window;
    unpriced_tokens; month_nanos; few (how many hold 70 %); basis (name, source) of what a home costs;
    saving_nanos of all candidates (yes, maybe: low, high); workloads (each with name, kind, sources,
    providers, models, place, month_nanos, cumulative_share, of_the_few, requests, tokens, task_type,
    quality_sensitivity, active_days, variation, candidate, reasons, saving; null is unknown); rest (what was
    too small to be told one by one); bills (list price and bill of the days that have both);
    left_out_leg_days and left_out_cost_days by provider; next_step.
    """
    if picture and picture.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{picture}: a picture ends in .png or .svg")
    if since and until and since > until:
        raise typer.BadParameter("--since is after --until")
    config = configured(InventoryConfig, settings)
    registry = registry_of(config)
    with closing(reader(settings)) as client:
        try:
            asked = ask_spend(client, since and since.date(), until and until.date())
            spend = spend_of(asked, registry)
            basis = basis_of(client, config, until and until.date())
        except UNREACHABLE as error:
            raise _away(error) from None
    found = inventory(spend, registry, basis, min_usd)
    if picture:
        _draw(found, picture)
    if as_json:
        tell_json(document(found), first_step(found))
        return
    _print(found, ordered(found.lines, by), limit, picture)


def document(found: Inventory) -> dict[str, Any]:
    """The inventory as JSON; amounts are nano-dollars, times ISO 8601."""
    spend = found.spend
    return {
        "windows": [
            {
                "provider": item.provider,
                "first": item.first.isoformat(),
                "last": item.last.isoformat(),
                "days": item.days,
                "extrapolated": item.extrapolated,
            }
            for item in spend.windows
        ],
        "cost_nanos": spend.cost_nanos,
        "tokens": spend.tokens,
        "unpriced_tokens": spend.unpriced_tokens,
        "month_nanos": spend.month_nanos,
        "few": len(found.few),
        "basis": {"name": found.basis.name, "source": found.basis.source},
        "saving_nanos": {
            word: {"low": found.saving(word).low, "high": found.saving(word).high}
            for word in dict.fromkeys(line.verdict.candidate for line in found.lines)
        },
        "workloads": [_line(line) for line in found.lines],
        "rest": {
            "groups": spend.rest.groups,
            "cost_nanos": spend.rest.cost_nanos,
            "month_nanos": spend.rest.month_nanos,
            "tokens": spend.rest.tokens,
            "unpriced_tokens": spend.rest.unpriced_tokens,
        },
        "bills": [
            {
                "provider": item.provider,
                "days": item.days,
                "list_nanos": item.list_nanos,
                "billed_nanos": item.billed_nanos,
                "unpriced_rows": item.unpriced_rows,
            }
            for item in spend.bills
        ],
        "left_out_leg_days": dict(spend.left_out_legs),
        "left_out_cost_days": dict(spend.left_out_costs),
    }


def _line(line: Line) -> dict[str, Any]:
    item = line.workload
    return {
        "place": line.place,
        "name": item.name,
        "kind": item.kind,
        "sources": list(item.sources),
        "providers": list(item.providers),
        "models": list(item.models),
        "cost_nanos": item.cost_nanos,
        "month_nanos": item.month_nanos,
        "extrapolated": item.extrapolated,
        "cumulative_share": None if line.cumulative is None else float(line.cumulative),
        "of_the_few": line.of_the_few,
        "requests": item.requests,
        "rows_of_unknown_requests": item.unknown_requests,
        "month_requests": item.month_requests,
        "tokens": _tokens(item.tokens),
        "month_tokens": _tokens(item.month_tokens),
        "unpriced_tokens": item.unpriced_tokens,
        "days": item.days,
        "active_days": item.active_days,
        "variation": item.variation,
        "task_type": line.task_type or None,
        "quality_sensitivity": line.sensitivity.name.lower() if line.sensitivity else None,
        "candidate": line.verdict.candidate.value,
        "reasons": [finding.reason for finding in line.verdict.findings],
        "saving": None
        if line.saving is None
        else {
            "low_nanos": line.saving.saving.low,
            "high_nanos": line.saving.saving.high,
            "home_low_nanos": line.saving.home.low,
            "home_high_nanos": line.saving.home.high,
            "basis": line.saving.basis,
        },
    }


def _tokens(tokens: Tokens) -> dict[str, int]:
    return {
        "input": tokens.input,
        "cached_input": tokens.cached_input,
        "cache_write": tokens.cache_write,
        "output": tokens.output,
    }


def registry_of(config: InventoryConfig) -> dict[str, Registered]:
    """What is registered: as the classifier knows, else as the settings say."""
    at_home = {
        name: "sovereign" in item.targets
        for name, item in {**config.data_classes, "unrestricted": UNRESTRICTED}.items()
    }
    found = {
        name: Registered(
            item.task_type or "",
            item.data_class,
            item.quality_sensitivity or "",
            at_home[item.data_class],
        )
        for name, item in config.workloads.items()
    }
    try:
        workloads = list_workloads(config.classifier.grpc, REGISTRY_TIMEOUT_S)
    except grpc.RpcError:
        return found
    for entry in workloads:
        found[entry.name] = Registered(
            label(TaskType(entry.task_type)),
            entry.data_class,
            label(QualitySensitivity(entry.quality_sensitivity)),
            at_home.get(entry.data_class, False),
        )
    return found


def basis_of(client: Client, config: InventoryConfig, until: date | None = None) -> Basis:
    """What a home costs, by the best that there is up to a day; None: today."""
    pools: Mapping[str, tuple[Fraction, int, Fraction]] = {
        name: (hourly_cost(item).total, item.gpus, Fraction(item.output_weight))
        for name, item in config.pools.items()
    }
    # A model on a CPU says nothing about what a GPU costs.
    on_cpu = {name for name, item in config.pools.items() if not item.gpus}
    return read_measured(client, on_cpu, until) or by_settings(pools) or PUBLISHED


def _draw(found: Inventory, picture: Path) -> None:
    # matplotlib takes most of a second, which nobody should wait for without a picture.
    from playbook.inventory.pareto import draw

    try:
        draw(found, picture)
    except OSError as error:
        raise stopped(
            f"{picture} can't be written: {error.strerror or error}", "name another file."
        ) from None


def _away(error: Exception) -> Exception:
    if "UNKNOWN_TABLE" in str(error) or "UNKNOWN_DATABASE" in str(error):
        return stopped(
            "ClickHouse has no tables for imports yet", "`make run`: a ledger that starts makes them."
        )
    return stopped(f"ClickHouse does not tell the figures: {first_line(error)}")


def _print(found: Inventory, lines: list[Line], limit: int, picture: Path | None) -> None:
    console = Console(highlight=False)
    if lines:
        console.print(headline(found), markup=False)
        console.print()
        console.print(table_or_records(table(lines[:limit], console.width), console.width))
        if len(lines) > limit:
            console.print(f"… and {len(lines) - limit} more; --limit {len(lines)} shows them.")
        for title, told in (("Not candidates, or not yet", reasons(found)), ("To know", remarks(found))):
            if told:
                console.print(f"\n[bold]{title}[/bold]")
                for text in told:
                    console.print(fill(f"- {text}", console.width - 1, subsequent_indent="  "), markup=False)
        console.print()
    else:
        console.print("Nothing is imported, and no leg of production in the cloud is booked.\n")
    if picture:
        tell(f"The picture is in {picture}.")
    tell_next(first_step(found), gap=False)
