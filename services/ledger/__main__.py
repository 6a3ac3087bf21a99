"""Wires and runs the ledger: `python -m services.ledger [homeward.toml]`."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import time
from pathlib import Path

from homeward.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from services.common.errors import DomainError, Reason
from services.common.info import About, InfoServicer, outbox_queue
from services.common.server import Server, run, until_stopped
from services.common.settings import DEFAULT_FILE, SettingsError
from services.common.telemetry.setup import start_logging, start_tracing
from services.ledger.adapters.clickhouse import MIGRATIONS
from services.ledger.adapters.journal.budgets import Budgets
from services.ledger.adapters.journal.claims import Claims
from services.ledger.adapters.journal.database import BrokenChainError, Database, JournalAddressError
from services.ledger.adapters.journal.decisions import Decisions
from services.ledger.adapters.journal.entries import Entries
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.reservations import Reservations
from services.ledger.adapters.spool import Spool
from services.ledger.config import LedgerConfig, load_ledger
from services.ledger.core.policy import settle
from services.ledger.corrector import Corrector
from services.ledger.journal_info import journal_info
from services.ledger.servicer import LedgerServicer

log = logging.getLogger("services.ledger")

FLUSH_S = 15.0
"""How long the spool may take to empty itself at the end."""
REFRESH_S = 0.2
"""How often the decisions of other ledgers are looked for."""


def settle_with_settings(decisions: Decisions, config: LedgerConfig) -> None:
    """Brings the policy in line with the settings, by decisions."""
    while changes := settle(decisions.policy, config.registered()):
        change = changes[0]
        try:
            decisions.decide(
                lambda _: change,  # noqa: B023  # called before the loop goes on
                request_id=os.urandom(16),
                expected_version=decisions.policy.version,
                actor="settings",
                evidence={},
                now_unix_us=time.time_ns() // 1000,
            )
        except DomainError as error:
            # Another ledger, which starts with the same settings, was first.
            if error.reason is not Reason.POLICY_CHANGED:
                raise
            decisions.refresh()
        else:
            log.info("%s: %s", change.workload, change.reason)


async def follow(decisions: Decisions, servicer: LedgerServicer) -> None:
    """Takes over what other ledgers decide, and passes it on to those who watch the policy."""
    away = False
    while True:
        await asyncio.sleep(REFRESH_S)
        try:
            await asyncio.to_thread(decisions.refresh)
        # Whatever it is may end: a journal that is mended, a stage of a newer ledger that is taken back.
        except Exception as error:
            if not away:
                _tell_away(error)
            away = True
            continue
        away = False
        servicer.post()


def _tell_away(error: Exception) -> None:
    if isinstance(error, DomainError):
        log.warning("decisions of other ledgers are not seen: %s", error.message)
    elif isinstance(error, BrokenChainError):
        log.error("the journal is broken, and the policy stays as it is: %s", error)
    else:
        log.error(
            "decisions of other ledgers are not seen; this is a defect, please report it", exc_info=error
        )


async def main() -> None:
    """Runs until SIGTERM."""
    config = load_ledger(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE)
    start_logging("ledger", config.telemetry)
    tracing = start_tracing("ledger", config.telemetry, config.clickhouse)
    settings = config.ledger
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    prices = PriceList(config.prices)
    try:
        database = Database(settings.journal_url or f"sqlite:///{settings.state_dir / 'journal.sqlite'}")
        decisions = Decisions(database)
        entries = Entries(database)
        budgets = Budgets(database, config.budgets)
        spool = Spool(
            settings.state_dir,
            prices,
            config.clickhouse,
            entries,
            budgets,
            Claims(database, settings.remember_s) if database.shared else None,
            {upstream: name for name, pool in config.pools.items() for upstream in pool.upstreams},
            max_rows=settings.spool_rows,
            remember_s=settings.remember_s,
        )
        settle_with_settings(decisions, config)
    except JournalAddressError as error:
        raise SettingsError(f"ledger.journal_url: {error}") from None
    except (DomainError, sqlite3.Error, BrokenChainError) as error:
        where = "ledger.journal_url" if settings.journal_url else f"ledger.state_dir: {settings.state_dir}"
        raise SettingsError(f"{where}: {error}") from None
    reservations = Reservations(budgets)
    corrector = Corrector(
        entries, prices, budgets, config.pools, config.clickhouse, lambda: time.time_ns() // 1000
    )
    servicer = LedgerServicer(spool, decisions, reservations, prices, corrector)
    following = asyncio.create_task(follow(decisions, servicer)) if settings.journal_url else None
    about = About(
        "ledger",
        folders={"ledger.state_dir": settings.state_dir},
        queues=lambda: [
            outbox_queue("legs for ClickHouse", settings.state_dir / "spool.sqlite", settings.spool_rows)
        ],
        policy=lambda: (decisions.policy.version, None),
        journal=lambda: journal_info(database, entries),
        newest_migration=max((file.stem for file in MIGRATIONS.glob("[0-9]*.sql")), default=""),
    )
    server = Server(
        ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name, info=InfoServicer(about)
    )
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(servicer, server.grpc)
    try:
        corrector.start()
        await server.start(settings.grpc)
        log.info("listening", extra={"grpc": settings.grpc, "policy_version": decisions.policy.version})
        await until_stopped()
    finally:
        servicer.board.close()
        await server.stop()
        if following is not None:
            following.cancel()
        await asyncio.to_thread(corrector.close)
        await asyncio.to_thread(reservations.close, FLUSH_S)
        await asyncio.to_thread(spool.close, FLUSH_S)
        database.close()
        await asyncio.to_thread(tracing.shutdown)


if __name__ == "__main__":
    run(main)
