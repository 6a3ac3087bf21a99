"""Wires and runs shadow: `python -m services.shadow [homeward.toml]`."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from pathlib import Path

from homeward.common.v1 import info_pb2
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from services.common.encoder import Encoder
from services.common.info import About, InfoServicer
from services.common.server import Server, run, until_stopped
from services.common.settings import DEFAULT_FILE, SettingsError
from services.common.telemetry.setup import start_logging, start_tracing
from services.shadow.adapters.clickhouse import Book
from services.shadow.adapters.ledger import LedgerAdapter
from services.shadow.adapters.router import RouterAdapter
from services.shadow.adapters.spend import Spend
from services.shadow.adapters.store import Store
from services.shadow.conductor import Conductor
from services.shadow.config import load_shadow
from services.shadow.engine import Engine
from services.shadow.examples import ExampleShelf
from services.shadow.model_probe import ModelProbe
from services.shadow.probes import Prober
from services.shadow.servicer import ShadowServicer
from services.shadow.shipping import Shipping

log = logging.getLogger("services.shadow")

FLUSH_S = 5.0
"""How long triplets may take to reach ClickHouse at the end; those that do not are sent at the next start."""


def now_unix_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


async def main() -> None:
    """Runs until SIGTERM."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE
    config = load_shadow(path)
    start_logging("shadow", config.telemetry)
    tracing = start_tracing("shadow", config.telemetry, config.clickhouse)
    settings = config.shadow
    try:
        encoder = Encoder(settings.models_dir)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: shadow.models_dir: {settings.models_dir}: {error}") from None
    store = Store(settings.state_dir / "shadow.sqlite", settings.samples)
    spend = Spend(config.clickhouse)
    router = RouterAdapter(settings.router, settings.api_key)
    prober = Prober(settings.router, settings.api_key, now_unix_us)
    ledger = LedgerAdapter(settings.ledger)
    engine = Engine(
        store,
        router,
        encoder,
        spend,
        now_unix_us,
        in_flight=settings.in_flight,
        control_share=settings.control_share,
        leg_timeout_s=settings.leg_timeout_s,
        examples=ExampleShelf(store, config.keeping(), config.readers(), now_unix_us),
    )
    conductor = Conductor(store, ledger, engine, prober, config.workloads, now_unix_us)
    shipping = Shipping(store, Book(config.clickhouse), engine.evidence)
    about = About(
        "shadow",
        folders={"shadow.state_dir": settings.state_dir},
        queues=lambda: [
            info_pb2.Queue(
                name="samples for their legs",
                waiting_count=store.waiting(),
                capacity_count=settings.samples,
                lost_count=store.refused,
            )
        ],
        policy=lambda: (conductor.policy_version, ledger.age_s),
    )
    server = Server(
        shadow_pb2.DESCRIPTOR.services_by_name["ShadowService"].full_name, info=InfoServicer(about)
    )
    model_probe = ModelProbe(prober, config.experimenters())
    shadow_pb2_grpc.add_ShadowServiceServicer_to_server(
        ShadowServicer(engine, conductor, config.approvers(), model_probe), server.grpc
    )
    try:
        shipping.start()
        engine.start()
        conductor.start()
        await server.start(settings.grpc)
        log.info("listening", extra={"grpc": settings.grpc})
        await until_stopped()
    finally:
        await server.stop()
        await conductor.stop()
        await engine.stop()
        await prober.close()
        await router.close()
        await ledger.close()
        await asyncio.to_thread(shipping.close, FLUSH_S)
        await asyncio.to_thread(spend.close)
        store.close()
        await asyncio.to_thread(tracing.shutdown)


if __name__ == "__main__":
    run(main)
