"""`homeward ledger`: the book of what everything cost, and the proof that it is whole."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from clickhouse_connect.driver.client import Client
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from playbook.audit import Audit, audit, creditor_name
from playbook.clickhouse_client import UNREACHABLE, first_line, reader
from playbook.configured import wrong_settings
from playbook.shown import tell, tell_json, tell_next
from playbook.stopped import stopped
from services.common.errors import DomainError
from services.common.settings import DEFAULT_FILE, SettingsError
from services.ledger.adapters.journal.database import Database, JournalAddressError, seen_head
from services.ledger.adapters.journal.entries import Entries
from services.ledger.config import load_ledger
from services.ledger.core.book import pool

NANOS = 1_000_000_000


def verify(
    noted: Annotated[
        str,
        typer.Option(
            metavar="HASH", help="The hash of a last entry that you have noted: it must still be there."
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="The settings, which say where the book is.")
    ] = DEFAULT_FILE,
) -> None:
    """Prove that the book is whole, or name the first place where it is not and end with code 1.

    Whole means: each entry of the journal has the hash that follows from it and the one before it; its
    debits equal its credits and follow from its lines; the rows in ClickHouse of each batch have the count,
    the unknown and the cost by token class that its entry says; no row belongs to an entry that is not
    there; no leg is there twice; the periods of GPU pools add up; the sums that analysts read are those of
    the rows. Tokens and latencies of a row are not in the journal: who changes only them is not found. The
    ledger may run meanwhile.

    --json has: whole; difference (null, or what, entry_id, batch, workload, target, purpose, creditor,
    figure, book, clickhouse); entries; legs; unknown_legs; on_the_way_entries and on_the_way_legs, which the
    journal has and ClickHouse may not have yet; before_legs, booked before there was a journal; owed_nanos
    (nano-dollars by creditor); idle_nanos (by pool); head_sha256; next_step.
    """
    if noted and not re.fullmatch("[0-9a-f]{64}", noted):
        raise typer.BadParameter("--noted is 64 hexadecimal digits, as `homeward ledger verify` prints them")
    try:
        url = read_only(_url(settings))
        client = reader(settings)
        try:
            with closing(Database(url)) as database:
                found = _audited(database, client, noted, shown=not as_json)
        finally:
            client.close()
    except SettingsError as error:
        raise wrong_settings(error, settings) from None
    except JournalAddressError as error:
        raise stopped(str(error), "correct [ledger] journal_url in the settings.") from None
    except DomainError as error:
        raise stopped(error.message) from None
    except UNREACHABLE as error:
        raise stopped(f"ClickHouse does not tell its rows: {first_line(error)}") from None
    if as_json:
        tell_json(_document(found), _next(found))
    else:
        _print(found)
    if not found.whole:
        raise typer.Exit(1)


def _url(settings: Path) -> str:
    """Of the journal, as the ledger finds it."""
    configured = load_ledger(settings).ledger
    return configured.journal_url or f"sqlite:///{configured.state_dir / 'journal.sqlite'}"


def read_only(url: str) -> str:
    """The address of the same journal, opened such that nothing can be written.

    Raises:
        JournalAddressError: it is none.
    """
    try:
        address = make_url(url)
    except ArgumentError:
        # Whose text may quote the password.
        raise JournalAddressError("the journal's address can't be understood") from None
    if address.get_backend_name() == "sqlite" and address.database:
        file = quote(str(Path(address.database).absolute()))
        address = address.set(database=f"file:{file}", query={"mode": "ro", "uri": "true"})
    elif address.get_backend_name() == "postgresql":
        given = address.query.get("options", "")
        options = (*((given,) if isinstance(given, str) else given), "-c default_transaction_read_only=on")
        address = address.update_query_dict({"options": " ".join(options).strip()})
    return address.render_as_string(hide_password=False)


def _audited(database: Database, client: Client, noted: str, *, shown: bool) -> Audit:
    with database.reading() as db:
        last_id, _ = seen_head(db, "entry")
    console = Console(stderr=True)
    seen = shown and console.is_terminal
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("entries"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not seen) as bar:
        task = bar.add_task("", total=last_id)
        return audit(
            Entries(database), client, lambda done: bar.update(task, completed=done), noted_sha256=noted
        )


def _document(found: Audit) -> dict[str, Any]:
    document = {item.name: getattr(found, item.name) for item in fields(found)}
    difference = found.difference
    told = None if difference is None else {**asdict(difference), "message": str(difference)}
    return {"whole": found.whole, **document, "difference": told}


def _print(found: Audit) -> None:
    console = Console()
    console.print(_counts(found))
    if found.owed_nanos:
        console.print()
        console.print(_owed(found))
    if found.head_sha256:
        tell(f"\nhash of the last entry\n  {found.head_sha256}")
    if found.difference is None:
        console.print("\n[bold]The book is whole.[/bold]")
    else:
        console.print("\n[bold]The book is not whole.[/bold] The first place, and figures up to there:")
        tell(f"  {found.difference}")
    tell_next(_next(found))


def _next(found: Audit) -> str:
    if found.difference is not None:
        return (
            "find out who wrote there, besides the ledger. Never edit the journal; rows that ClickHouse"
            " lost come back from its backup, and a wrong price is corrected by `homeward ledger reprice`."
        )
    if not found.entries:
        return "send a request through the router; README.md shows how."
    if found.unknown_legs:
        return "`homeward ledger unknown` lists the legs whose cost nobody knows."
    return "note the hash elsewhere; `--noted HASH` proves later that nothing before has changed."


def _counts(found: Audit) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("entries", f"{found.entries:,}")
    table.add_row("legs", f"{found.legs:,}")
    table.add_row("of unknown cost", f"{found.unknown_legs:,}")
    if found.on_the_way_entries:
        table.add_row("on the way to ClickHouse", f"{found.on_the_way_legs:,}")
    if found.before_legs:
        table.add_row("older than the journal, unproven", f"{found.before_legs:,}")
    return table


def _owed(found: Audit) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("owed to")
    table.add_column("dollars", justify="right")
    idle = {pool(name): amount_nanos for name, amount_nanos in found.idle_nanos.items()}
    for account, amount_nanos in sorted(found.owed_nanos.items()):
        table.add_row(escape(creditor_name(account)), dollars(amount_nanos))
        if account in idle:
            table.add_row("  of it for idle time", dollars(idle[account]))
    return table


def dollars(amount_nanos: int) -> str:
    """Nano-dollars as dollars, to the nano-dollar."""
    whole, rest = divmod(abs(amount_nanos), NANOS)
    return f"{'-' if amount_nanos < 0 else ''}{whole:,}.{rest:09d}"
