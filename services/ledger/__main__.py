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
from sqlalchemy.exc import DatabaseError

from services.common.server import Server, run, until_stopped
from services.common.settings import DEFAULT_FILE, SettingsError
from services.common.telemetry.setup import start_logging, start_tracing
from services.ledger.adapters.journal import BrokenChainError, Journal
from services.ledger.adapters.prices import PriceList
from services.ledger.adapters.spool import Spool
from services.ledger.config import LedgerConfig, load_ledger
from services.ledger.core.policy import Change, Policy, settle
from services.ledger.servicer import LedgerServicer

log = logging.getLogger("services.ledger")

FLUSH_S = 15.0
"""How long the spool may take to empty itself at the end."""


def settle_with_settings(journal: Journal, config: LedgerConfig) -> None:
    """Brings the policy in line with the settings, by decisions."""
    for change in settle(journal.policy, config.registered()):

        def made(_: Policy, change: Change = change) -> Change:
            return change

        journal.decide(
            made,
            request_id=os.urandom(16),
            expected_version=journal.policy.version,
            actor="settings",
            evidence={},
            now_unix_us=time.time_ns() // 1000,
        )
        log.info("%s: %s", change.workload, change.reason)


async def main() -> None:
    """Runs until SIGTERM."""
    config = load_ledger(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE)
    start_logging("ledger", config.telemetry)
    tracing = start_tracing("ledger", config.telemetry, config.clickhouse)
    settings = config.ledger
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    try:
        journal = Journal(settings.state_dir / "journal.sqlite")
        spool = Spool(
            settings.state_dir,
            PriceList(config.prices),
            config.clickhouse,
            max_rows=settings.spool_rows,
            remember_s=settings.remember_s,
        )
    except (sqlite3.Error, DatabaseError, BrokenChainError) as error:
        raise SettingsError(f"ledger.state_dir: {settings.state_dir}: {error}") from None
    settle_with_settings(journal, config)
    server = Server(ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name)
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(LedgerServicer(spool, journal), server.grpc)
    try:
        await server.start(settings.grpc)
        log.info("listening", extra={"grpc": settings.grpc, "policy_version": journal.policy.version})
        await until_stopped()
    finally:
        await server.stop()
        await asyncio.to_thread(spool.close, FLUSH_S)
        journal.close()
        await asyncio.to_thread(tracing.shutdown)


if __name__ == "__main__":
    run(main)
