"""Wires and runs shadow: `python -m services.shadow [homeward.toml]`."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from services.common.server import Server, run, until_stopped
from services.common.settings import DEFAULT_FILE
from services.common.telemetry.setup import start_logging, start_tracing
from services.shadow.config import load_shadow
from services.shadow.servicer import ShadowServicer

log = logging.getLogger("services.shadow")


async def main() -> None:
    """Runs until SIGTERM."""
    config = load_shadow(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE)
    start_logging("shadow", config.telemetry)
    tracing = start_tracing("shadow", config.telemetry, config.clickhouse)
    server = Server(shadow_pb2.DESCRIPTOR.services_by_name["ShadowService"].full_name)
    shadow_pb2_grpc.add_ShadowServiceServicer_to_server(ShadowServicer(), server.grpc)
    try:
        await server.start(config.shadow.grpc)
        log.info("listening", extra={"grpc": config.shadow.grpc})
        await until_stopped()
    finally:
        await server.stop()
        await asyncio.to_thread(tracing.shutdown)


if __name__ == "__main__":
    run(main)
