"""Wires and runs the stand-in cloud: `python -m deploy.local.cloud [--port N] [--settings homeward.toml]`.

Prints `{"port": N}` on a line when it listens, and stops at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import orjson
from aiohttp import web

from deploy.local.cloud.pace import Pace
from deploy.local.cloud.server import StandIn
from services.common.server import AddressTakenError, run, until_stopped
from services.common.settings import ClickHouse, Section, Telemetry, load
from services.common.telemetry.setup import start_logging, start_tracing

HOST = "127.0.0.1"
"""Where it listens unless told otherwise: it takes any key, so nobody else should reach it."""
DRAIN_S = 2.0
"""How long answers under way may take to end after SIGTERM."""


class CloudConfig(Section):
    """All that the stand-in reads of the settings: where its spans go."""

    telemetry: Telemetry = Telemetry()
    clickhouse: ClickHouse = ClickHouse()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, or the words given."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.cloud", description=__doc__)
    parser.add_argument("--host", default=HOST, help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one (default)")
    parser.add_argument(
        "--latency",
        choices=("none", "realistic"),
        default="none",
        help="realistic waits as long as a cloud's small model, by published figures (default: %(default)s)",
    )
    parser.add_argument(
        "--latency-scale",
        type=float,
        default=1.0,
        help="factor on the realistic latency (default: %(default)s)",
    )
    parser.add_argument("--settings", type=Path, help="homeward.toml: write spans to its ClickHouse")
    return parser.parse_args(words)


def pace_of(options: argparse.Namespace) -> Pace:
    """The timing that the command line asks for."""
    return Pace(options.latency_scale if options.latency == "realistic" else 0.0)


async def start(pace: Pace, host: str = HOST, port: int = 0) -> tuple[web.AppRunner, int]:
    """Listens.

    Returns:
        The runner, whose `cleanup` ends it, and the port.

    Raises:
        AddressTakenError: the port is in use.
    """
    runner = web.AppRunner(
        StandIn(pace).application(), handler_cancellation=True, access_log=None, shutdown_timeout=DRAIN_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise AddressTakenError(f"can't listen at {host}:{port}: {error.strerror}") from None
    return runner, int(runner.addresses[0][1])


async def main(options: argparse.Namespace) -> None:
    """Runs until SIGTERM."""
    # Read when the encoder loads numpy; see deploy/local/cloud/encoder.py.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    shut_down: Callable[[], object] | None = None
    telemetry = Telemetry()
    if options.settings:
        config = load(CloudConfig, "telemetry", "clickhouse", path=options.settings, environment=os.environ)
        telemetry = config.telemetry
        shut_down = start_tracing("stand-in-cloud", telemetry, config.clickhouse).shutdown
    start_logging("stand-in-cloud", telemetry)
    runner, port = await start(pace_of(options), options.host, options.port)
    print(orjson.dumps({"port": port}).decode(), flush=True)
    try:
        await until_stopped()
    finally:
        await runner.cleanup()
        if shut_down is not None:
            await asyncio.to_thread(shut_down)


if __name__ == "__main__":
    run(partial(main, arguments()))
