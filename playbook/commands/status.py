"""`homeward status`: what runs, what named the traffic, where workloads stand, and what looks wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from clickhouse_connect.driver.client import Client
from grpc_health.v1 import health_pb2, health_pb2_grpc
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from playbook.clickhouse_client import UNREACHABLE, connect, first_line, read_store
from playbook.commands.shadow_show import next_step
from playbook.commands.status_migrations import Migrations, documents, read_migrations, section
from playbook.configured import Places, configured
from playbook.lines import without_secrets
from playbook.savings import Saved, read_saved
from playbook.shown import table_or_records, tell, tell_json, tell_next
from playbook.standing import waits_for_approval
from playbook.warnings import Traffic, Warning, warnings
from services.common.settings import DEFAULT_FILE, ClickHouse, Name, Workload
from services.common.words import Evidence, label

QUERIES = Path(__file__).parents[1] / "queries"
TIMEOUT_S = 1.0
"""Longest wait for a service to say that it is well."""
EVIDENCE = tuple(label(item) for item in Evidence)


class _Config(Places):
    """What the command must know of the settings."""

    clickhouse: ClickHouse = ClickHouse()
    workloads: dict[Name, Workload] = {}


@dataclass(frozen=True, slots=True)
class Service:
    """A process, and whether it is well."""

    name: str
    address: str
    up: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A workload's figures for the window. None is unknown, which is not zero."""

    workload: str
    """Empty for the requests that were not named."""
    requests: int
    evidence: Mapping[str, float] | None
    """Share of the requests by what named them; None without requests."""
    task_type: str | None
    """The commonest."""
    observations: int
    """Observed requests that have a likeness."""
    below: int
    """Of them, those under 0.05."""
    median_likeness: float | None
    example_count: int | None
    psi: float | None
    psi_day: date | None

    def traffic(self) -> Traffic:
        """What the rules need."""
        return Traffic(
            self.workload,
            self.requests,
            self.observations,
            self.below,
            self.example_count,
            self.psi,
            self.psi_day,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """All that is shown."""

    services: Sequence[Service]
    rows: Sequence[Row] | None
    """None if ClickHouse does not answer."""
    problem: str | None
    """What is wrong with ClickHouse."""
    migrations: Migrations
    saved: Mapping[str, Saved] | None
    """By workload; None if ClickHouse does not tell."""
    warnings: Sequence[Warning]
    days: int


def status(
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to look back, today (UTC) included.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where everything is.")
    ] = DEFAULT_FILE,
) -> None:
    """Show what runs, what named the last days' traffic, where each workload stands, and what looks wrong.

    Likeness is the median share of a workload's examples that its requests fit better than; PSI is how far
    its latest full day is from its first ones. Ends with code 1 if a service is down.

    Of a workload on its way home: the verdict, with ln K by window as blocks, of which a full one is what
    READY needs; today's samples (UTC); when READY is due at the present pace; and what was saved so far: what
    the requests that were answered at home would have cost in the cloud, at the mean of the same workload's
    requests there, less what they cost, without the pools' idle hours.

    --json has: days; services (name, address, up); problem (what is wrong with ClickHouse); workloads (of
    each the figures; null is unknown; the workload "" is what was not named), null if ClickHouse does not
    answer; migrations (of each what `homeward shadow show --json` has, days_left, and saved: nanos, why it is
    unknown or not all, home_requests, home_nanos, cloud_nanos_per_request, experiment_nanos), null if nobody
    tells; warnings (kind, level, workload, message, next_step); next_step.
    """
    config = configured(_Config, settings)
    store = read_store(config.clickhouse, config.local.state_dir)
    addresses = {name: getattr(config, name).grpc for name in ("router", "classifier", "ledger", "shadow")}
    with ThreadPoolExecutor(len(addresses) + 2) as pool:
        figures = pool.submit(_figures, store, days)
        standing = pool.submit(read_migrations, config.shadow.grpc, config.ledger.grpc)
        up = pool.map(_is_well, addresses.values())
        services = [Service(*item, well) for item, well in zip(addresses.items(), up, strict=True)]
        told, migrations = figures.result(), standing.result()
    problem = told if isinstance(told, str) else None
    known, saved = (None, None) if isinstance(told, str) else told
    services.append(Service("clickhouse", without_secrets(store.url), problem is None))
    registered = _registered(config.classifier.grpc) or set(config.workloads)
    found = warnings([row.traffic() for row in known], registered) if known is not None else []
    page = Page(services, known, problem, migrations, saved, found, days)
    if as_json:
        document = {
            "days": days,
            "services": [asdict(item) for item in services],
            "problem": problem,
            "workloads": None if known is None else [asdict(row) for row in known],
            "migrations": documents(migrations, saved),
            "warnings": [asdict(item) for item in found],
        }
        tell_json(document, _next(page))
    else:
        _print(page)
    if not all(item.up for item in services):
        raise typer.Exit(1)


def _is_well(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # the stubs lack it
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _registered(address: str) -> set[str]:
    """The registered names; none if the classifier does not answer."""
    with grpc.insecure_channel(address) as channel:
        try:
            found = classifier_pb2_grpc.ClassifierServiceStub(channel).ListWorkloads(
                classifier_pb2.ListWorkloadsRequest(), timeout=TIMEOUT_S
            )
        except grpc.RpcError:
            return set()
    return {item.name for item in found.workloads}


def _figures(store: ClickHouse, days: int) -> tuple[list[Row], dict[str, Saved] | None] | str:
    """The rows of the window and what was saved so far, or what is wrong with ClickHouse."""
    try:
        client = connect(store)
    except UNREACHABLE as error:
        return f"ClickHouse at {without_secrets(store.url)} does not answer: {first_line(error)}"
    try:
        traffic, likeness, shift = (
            {
                row["workload"]: row
                for row in client.query(
                    (QUERIES / f"{name}.sql").read_text(encoding="utf-8"), parameters={"days": days}
                ).named_results()
            }
            for name in ("traffic", "likeness", "shift")
        )
        saved = _savings(client)
    except UNREACHABLE as error:
        return f"ClickHouse at {without_secrets(store.url)} does not tell the figures: {first_line(error)}"
    finally:
        client.close()
    names = [*traffic, *sorted(set(likeness) - set(traffic))]
    rows = [_row(name, traffic.get(name), likeness.get(name), shift.get(name)) for name in names]
    return sorted(rows, key=lambda row: not row.workload), saved


def _savings(client: Client) -> dict[str, Saved] | None:
    """What was saved, by workload; None if ClickHouse does not tell, as before its tables are there."""
    try:
        return read_saved(client)
    except UNREACHABLE:
        return None


def _row(
    name: str,
    traffic: Mapping[str, Any] | None,
    likeness: Mapping[str, Any] | None,
    shift: Mapping[str, Any] | None,
) -> Row:
    requests = traffic["requests"] if traffic else 0
    columns = {word: "by_task_type" if word == "task_type" else word for word in EVIDENCE}
    return Row(
        workload=name,
        requests=requests,
        evidence={word: traffic[column] / requests for word, column in columns.items()} if traffic else None,
        task_type=(traffic["task_type"] or None) if traffic else None,
        observations=likeness["observations"] if likeness else 0,
        below=likeness["below"] if likeness else 0,
        median_likeness=likeness["median_likeness"] if likeness else None,
        example_count=likeness["example_count"] if likeness else None,
        psi=shift["psi"] if shift else None,
        psi_day=shift["day"] if shift else None,
    )


def _print(page: Page) -> None:
    console = Console(highlight=False)
    for item in page.services:
        console.print(
            f"{item.name:<11}{'up    ' if item.up else '[bold]down[/bold]  '}{escape(item.address)}"
        )
    console.print()
    if page.problem:
        tell(page.problem)
    elif page.rows:
        console.print(table_or_records(_table(page.rows, page.days), console.width))
    else:
        tell(f"No requests in the last {_days(page.days)}.")
    console.print()
    console.print(section(page.migrations, page.saved))
    for warning in page.warnings:
        tell(f"\n{warning.level}: {warning.message}")
        tell(f"  {warning.next_step}")
    tell_next(_next(page))


def _days(count: int) -> str:
    return "day" if count == 1 else f"{count} days"


def _table(rows: Sequence[Row], days: int) -> Table:
    table = Table(
        title=f"Requests of the last {_days(days)}",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for title in ("workload", "requests", "named by", "task type", "likeness", "PSI"):
        number = title in ("requests", "likeness", "PSI")
        folds = title in ("named by", "task type")
        table.add_column(
            title, justify="right" if number else "left", no_wrap=not folds, min_width=12 if folds else None
        )
    for row in rows:
        shares = {word: share for word, share in (row.evidence or {}).items() if share}
        table.add_row(
            escape(row.workload) or "(unnamed)",
            f"{row.requests:,}",
            ", ".join(f"{word} {share:.0%}" for word, share in shares.items()) or "unknown",
            row.task_type or "unknown",
            "unknown" if row.median_likeness is None else f"{row.median_likeness:.2f}",
            "unknown" if row.psi is None else f"{row.psi:.2f}",
        )
    return table


def _next(page: Page) -> str:
    down = [item.name for item in page.services if not item.up]
    if down:
        return f"start what is down ({', '.join(down)}): `make run`, or see its log in .homeward/logs."
    if not page.rows:
        return "send a request through the router; README.md shows how."
    standing = page.migrations.rows or ()
    for item in standing:
        if item.alerts:
            return (
                f"see to the alert of {item.policy.workload}: `homeward shadow show {item.policy.workload}`."
            )
    if any(item.level == "warning" for item in page.warnings):
        return "see to the warnings above, the first one first."
    for item in standing:
        if waits_for_approval(item):
            return f"{item.policy.workload}: {next_step(item)}"
    return "all is as it was. `homeward workload list` shows what is registered."
