"""The part of `homeward status` about migrations: where each workload stands, and what it has saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from playbook import savings, standing
from playbook.commands.budgets import dollars
from playbook.commands.shadow_show import funnel_words
from playbook.ledger_client import read_policy
from playbook.savings import Saved
from services.common.server import MAX_MESSAGE_BYTES
from services.common.words import Stage

TIMEOUT_S = 3.0
"""Longest wait for shadow."""
LABEL_WIDTH = 11
US_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Migrations:
    """Where workloads stand."""

    rows: Sequence[shadow_pb2.Migration] | None
    """None if neither shadow nor the ledger tells."""
    problem: str = ""
    """What is missing, if shadow did not answer."""


def read_migrations(shadow_address: str, ledger_address: str) -> Migrations:
    """Asks shadow; if it is away, the ledger, which knows the stages and nothing else."""
    options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    with grpc.insecure_channel(shadow_address, options) as channel:
        try:
            found = shadow_pb2_grpc.ShadowServiceStub(channel).ListMigrations(
                shadow_pb2.ListMigrationsRequest(), timeout=TIMEOUT_S
            )
            return Migrations(list(found.migrations))
        except grpc.RpcError as error:
            why = f"shadow at {shadow_address} does not tell ({error.code().name})"
    policy = read_policy(ledger_address)
    if policy is None:
        return Migrations(None, f"{why}: stages and evidence are unknown")
    rows = [
        shadow_pb2.Migration(policy=row) for row in sorted(policy.workloads, key=lambda row: row.workload)
    ]
    return Migrations(rows, f"{why}: the stages are the ledger's, the evidence is unknown")


def documents(found: Migrations, saved: Mapping[str, Saved] | None) -> list[dict[str, Any]] | None:
    """As JSON: of each what `homeward shadow show --json` has, and `saved`; null is unknown."""
    if found.rows is None:
        return None
    return [
        {
            **standing.document(item),
            "days_left": days_left(item),
            "saved": savings.document(_saved(item, saved)),
        }
        for item in found.rows
    ]


def days_left(item: shadow_pb2.Migration) -> float | None:
    """Days until READY at the present pace; None is unknown."""
    windows = standing.windows_left(item.experiment, item.evidence) if item.HasField("experiment") else None
    return None if windows is None else windows * standing.window_s(item.experiment) / US_PER_DAY


def section(found: Migrations, saved: Mapping[str, Saved] | None) -> RenderableType:
    """For a terminal: a block for each workload that is compared or was, a line for all others."""
    parts: list[RenderableType] = ["[bold]Migrations[/bold]"]
    if found.problem:
        parts.append(escape(found.problem))
    observed = []
    for item in found.rows or ():
        if standing.place(item).stage is Stage.OBSERVED and not item.alerts:
            observed.append(item.policy.workload)
        else:
            parts += ["", _block(item, _saved(item, saved), told=not found.problem)]
    if observed:
        parts += ["", f"OBSERVED, nothing compares them: {escape(', '.join(observed))}"]
    if found.rows is not None and not found.rows:
        parts.append("No workload is registered, or no decision has named one.")
    return Group(*parts)


def _block(item: shadow_pb2.Migration, saved: Saved | None, *, told: bool) -> RenderableType:
    after = standing.next_place(item)
    head = f"[bold]{escape(item.policy.workload)}[/bold]  {standing.place(item)}" + (
        f", then {after}" if after else ""
    )
    lines = Table.grid(padding=(0, 1, 0, 0))
    lines.add_column(no_wrap=True, min_width=LABEL_WIDTH)
    lines.add_column(overflow="fold")
    if item.HasField("experiment"):
        lines.add_row("  verdict", escape(_verdict(item)))
        lines.add_row("  today", escape(funnel_words(item.funnel_today)))
        losses = ", ".join(
            f"{loss.count:,} {loss.step}{': ' + loss.reason if loss.reason else ''}"
            for loss in sorted(item.funnel_today.losses, key=lambda loss: -loss.count)
        )
        if losses:
            lines.add_row("  lost", escape(losses))
        lines.add_row("  forecast", escape(_forecast(item)))
        if standing.alarm_words(item):
            lines.add_row("  alarm", escape(standing.alarm_words(item)))
    elif not told:
        lines.add_row("  verdict", "unknown")
    lines.add_row("  saved", escape(_money(saved)))
    for block in item.blocks:
        lines.add_row("  kept by", escape(block))
    for alert in item.alerts:
        lines.add_row("  [bold]alert[/bold]", escape(alert))
    return Group(head, lines)


def _verdict(item: shadow_pb2.Migration) -> str:
    said, bar = standing.verdict(item.evidence), standing.needed(item.experiment)
    values = [window.log_k for window in item.evidence.windows]
    if not values:
        return f"{said}, no window has closed yet"
    line = standing.sparkline(values, bar)
    return f"{said} {line} ln K {values[-1]:.2f} of {bar:.2f}, {standing.votes(item.evidence):,} votes"


def _forecast(item: shadow_pb2.Migration) -> str:
    said = standing.verdict(item.evidence)
    if said != "COLLECTING":
        told = [window.verdict == item.evidence.verdict for window in item.evidence.windows]
        return f"none, it is {said}" + (f" since window {told.index(True) + 1}" if any(told) else "")
    left = standing.windows_left(item.experiment, item.evidence)
    if left is None:
        few = len(item.evidence.windows) < 2
        return "unknown, " + ("fewer than two windows have closed" if few else "ln K does not grow")
    span = standing.length(left * standing.window_s(item.experiment))
    return f"READY in about {span} ({left} window{'' if left == 1 else 's'}), at the present pace"


def _saved(item: shadow_pb2.Migration, saved: Mapping[str, Saved] | None) -> Saved | None:
    """What the book has of it: nothing is a row of zeros; None if there is no book."""
    if saved is None:
        return None
    return saved.get(item.policy.workload, Saved(item.policy.workload, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def _money(saved: Saved | None) -> str:
    if saved is None:
        return "unknown, ClickHouse does not tell"
    more = f", {saved.experiment_unknown:,} legs unknown" if saved.experiment_unknown else ""
    spent = f"; comparing cost {usd(saved.experiment_nanos)}{more}" if saved.experiment_nanos or more else ""
    if not saved.home_requests:
        return f"nothing yet, no request was answered at home{spent}"
    if saved.nanos is None:
        return f"unknown, {saved.why}{spent}"
    why = f" ({saved.why})" if saved.why else ""
    # Left out, home looks free: decision 0011.
    idle = ", without its pools' idle hours (`homeward ledger pools`)"
    return f"{usd(saved.nanos)} so far{why}{idle}{spent}"


def usd(nanos: int) -> str:
    """`$12.34`, `-$0.50`."""
    return ("-" if nanos < 0 else "") + "$" + dollars(abs(nanos))
