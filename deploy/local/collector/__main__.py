"""Wires and runs the collector: `python -m deploy.local.collector homeward.toml --listen 127.0.0.1:4318`."""

from __future__ import annotations

import argparse
import asyncio
import os
from functools import partial
from pathlib import Path

from aiohttp import web

from deploy.local.collector.door import Door
from deploy.local.collector.store import Store
from services.common.server import AddressTakenError, run, until_stopped
from services.common.settings import ClickHouse, Section, Telemetry, load
from services.common.telemetry.setup import start_logging


class CollectorConfig(Section):
    """What the collector reads of the settings."""

    telemetry: Telemetry = Telemetry()
    clickhouse: ClickHouse = ClickHouse()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.collector", description=__doc__)
    parser.add_argument("settings", type=Path, help="homeward.toml: where ClickHouse is")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    return parser.parse_args()


async def main(options: argparse.Namespace) -> None:
    """Runs until SIGTERM.

    Raises:
        AddressTakenError: the port is in use.
    """
    config = load(CollectorConfig, "telemetry", "clickhouse", path=options.settings, environment=os.environ)
    start_logging("collector", config.telemetry)
    store = Store(config.clickhouse)
    runner = web.AppRunner(Door(store).application(), access_log=None, shutdown_timeout=2)
    await runner.setup()
    host, _, port = options.listen.rpartition(":")
    try:
        await web.TCPSite(runner, host, int(port)).start()
        await until_stopped()
    except OSError as error:
        raise AddressTakenError(f"can't listen at {options.listen}: {error.strerror}") from None
    finally:
        await runner.cleanup()
        await asyncio.to_thread(store.close)


if __name__ == "__main__":
    run(partial(main, arguments()))
