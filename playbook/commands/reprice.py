"""`homeward ledger reprice`: what legs cost at today's prices, booked as a difference."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated

import typer
from homeward.ledger.v1 import ledger_pb2
from rich.console import Console
from rich.markup import escape

from playbook.ledger_client import ledger
from playbook.shown import tell, tell_json, tell_next
from services.common.settings import DEFAULT_FILE

TIMEOUT_S = 3600.0
"""Longest wait for an answer: a scope may have millions of legs."""
NANOS = 1_000_000_000


def reprice(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day (UTC) of the legs; default: the first of all."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day that is no longer meant; default: until now."),
    ] = None,
    provider: Annotated[str, typer.Option(help="Only legs of this provider.")] = "",
    model: Annotated[str, typer.Option(help="Only legs of this model, as its server calls it.")] = "",
    all_: Annotated[
        bool, typer.Option("--all", help="Also legs whose cost is known; needs --since.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Book the difference.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where the ledger is.")
    ] = DEFAULT_FILE,
) -> None:
    """Price booked legs at today's price list, and with --yes book the difference.

    Without --all, only legs whose cost is unknown. The legs themselves are never edited: the difference is a
    correction entry. The ledger reads the prices of the settings when it starts. Legs at home have no price
    list; their pools' periods are closed by themselves.

    --json has: booked; entry_id (0 if nothing was booked); leg_count; found_count, of them those whose cost
    was unknown; unknown_count, those whose cost still is; difference_nanos; next_step.
    """
    if all_ and since is None:
        raise typer.BadParameter("--all needs --since: which legs shall cost what they would today?")
    request = ledger_pb2.RepriceRequest(
        request_id=uuid.uuid4().bytes,
        provider=provider,
        model=model,
        unknown_only=not all_,
        validate_only=True,
        actor=_actor(),
    )
    start = since.replace(tzinfo=UTC) if since else datetime.fromtimestamp(0, UTC)
    end = until.replace(tzinfo=UTC) if until else datetime.fromtimestamp(time.time(), UTC)
    if end <= start:
        raise typer.BadParameter("--until must be after --since")
    request.start_time.FromDatetime(start)
    request.end_time.FromDatetime(end)
    console = Console(stderr=True)
    with ledger(settings) as service:
        with console.status("Pricing the legs…"):
            found = service.Reprice(request, timeout=TIMEOUT_S)
        booked = yes and found.leg_count > 0
        if booked:
            if not as_json:
                _print_found(found, all_)
            request.validate_only = False
            with console.status("Booking the difference…"):
                found = service.Reprice(request, timeout=TIMEOUT_S)
    if as_json:
        names = ("entry_id", "leg_count", "found_count", "unknown_count", "difference_nanos")
        tell_json({"booked": booked, **{name: getattr(found, name) for name in names}}, _next(found, booked))
        return
    if booked:
        tell(f"Booked as entry {found.entry_id}.")
    else:
        _print_found(found, all_)
    tell_next(_next(found, booked))


def _print_found(found: ledger_pb2.RepriceResponse, all_: bool) -> None:
    console = Console()
    if not found.leg_count:
        console.print("No leg would cost anything else than it does in the book.")
    else:
        known = found.leg_count - found.found_count
        console.print(f"{found.found_count:,} legs of unknown cost have a price now.")
        if all_:
            console.print(f"{known:,} legs cost something else than in the book.")
        console.print(f"Together they cost {_dollars(found.difference_nanos)} more than booked.")
    if found.unknown_count:
        console.print(f"{found.unknown_count:,} legs stay unknown.")


def _next(found: ledger_pb2.RepriceResponse, booked: bool) -> str:
    if booked:
        return "`homeward ledger verify` proves that the book is still whole."
    if found.leg_count:
        return "the same command with --yes books the difference."
    if found.unknown_count:
        return "`homeward ledger unknown` says what they lack."
    return "`homeward ledger verify` proves that the book is whole."


def _dollars(nanos: int) -> str:
    whole, rest = divmod(abs(nanos), NANOS)
    return escape(f"{'-' if nanos < 0 else ''}${whole:,}.{rest:09d}")


def _actor() -> str:
    try:
        return getuser()
    # In a container the user may have no name.
    except (OSError, KeyError):
        return "homeward ledger reprice"
