"""Wires and runs one router process: `python -m services.router [homeward.toml]`."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
from functools import partial
from pathlib import Path

from homeward.router.v1 import router_pb2, router_pb2_grpc

from services.common.info import About, InfoServicer, outbox_queue
from services.common.server import Server, run, until_stopped
from services.common.settings import DEFAULT_FILE, SettingsError
from services.common.telemetry.setup import start_logging, start_tracing
from services.router.adapters.budgets import BudgetAdapter
from services.router.adapters.classifier import ClassifierAdapter
from services.router.adapters.cloud import CloudAdapter
from services.router.adapters.leg_queue import LegQueue
from services.router.adapters.policy import PolicyAdapter
from services.router.adapters.shadow import ShadowAdapter
from services.router.adapters.sovereign import SovereignAdapter
from services.router.adapters.upstreams import Upstreams
from services.router.config import RouterConfig, load_router
from services.router.core.keys import KeyRing
from services.router.core.limits import Gate, Limiter
from services.router.dispatch import Dispatcher
from services.router.guard import Guard
from services.router.http.door import Door
from services.router.http.server import HttpServer
from services.router.namer import Namer
from services.router.sampler import Sampler
from services.router.servicer import RouterServicer
from services.router.submission import submission

log = logging.getLogger("services.router")

WARM_UP_S = 3.0
"""Longest wait at the start for a policy and a table; without them every request goes to the cloud."""
FLUSH_S = 15.0
"""How long the queue of legs may take to empty itself at the end."""


async def main() -> None:
    """Runs until SIGTERM."""
    config = load_router(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE)
    start_logging("router", config.telemetry)
    tracing = start_tracing("router", config.telemetry, config.clickhouse)
    # First, because it may find a mistake in the settings, and nothing else is open yet.
    at_home = SovereignAdapter(config.timeouts, config.triton)
    settings, limits = config.router, config.limits
    folder = settings.state_dir / str(settings.index)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        legs = LegQueue(
            folder,
            settings.ledger,
            max_in_memory=limits.legs_in_memory,
            max_on_disk=limits.legs_on_disk,
        )
    except sqlite3.OperationalError as error:
        raise SettingsError(f"router.state_dir: {folder}: {error}") from None
    policy = PolicyAdapter(settings.ledger, folder / "policy.binpb")
    classifier = ClassifierAdapter(
        settings.classifier,
        settings.naming_budget_ms / 1000,
        folder / "workloads.binpb",
        settings.observe_in_flight,
    )
    namer = Namer(
        classifier,
        config.classes(),
        conversations=settings.conversations,
        observe_share=settings.observe_share,
    )
    in_the_cloud = CloudAdapter(config.timeouts, config.credentials(os.environ))
    upstreams = Upstreams(http=in_the_cloud, triton=at_home)
    keys = KeyRing(config.api_keys())
    limiter = Limiter(1 / settings.processes)
    gate = Gate(limits.concurrent_requests)
    budgets = BudgetAdapter(settings.ledger, config.budget_rules())
    shadow = ShadowAdapter(
        settings.shadow,
        settings.samples_in_memory,
        partial(submission, sample_bytes=settings.sample_bytes),
    )
    sampler = Sampler(shadow, settings.sample_bytes)
    dispatcher = Dispatcher(
        config.catalog(),
        limiter,
        policy,
        namer,
        Guard(config.personal_data()),
        upstreams,
        legs,
        budgets,
        sampler,
    )
    door = Door(dispatcher, keys, limiter, gate, limits, answer_as_asked=settings.model_in_answer == "asked")
    http = HttpServer(door, limits)
    shared = settings.processes > 1
    grpc = Server(
        router_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name,
        shared=shared,
        info=info(config, folder, legs, policy, keys),
    )
    router_pb2_grpc.add_RouterServiceServicer_to_server(
        RouterServicer(dispatcher, keys, limiter, gate), grpc.grpc
    )
    try:
        warm = asyncio.gather(policy.has_policy.wait(), classifier.has_table.wait())
        await asyncio.wait_for(warm, WARM_UP_S)
    except TimeoutError:
        log.warning("no policy or table yet; unnamed requests go to the cloud until they come")
    try:
        await http.start(settings.http, shared=shared)
        await grpc.start(settings.grpc)
        log.info("listening", extra={"http": settings.http, "grpc": settings.grpc})
        await until_stopped()
    finally:
        await asyncio.gather(http.stop(settings.drain_s), grpc.stop(settings.drain_s))
        await shadow.close()
        await budgets.close()
        await classifier.close()
        await policy.close()
        await upstreams.close()
        await asyncio.to_thread(legs.close, FLUSH_S)
        await asyncio.to_thread(tracing.shutdown)


def info(
    config: RouterConfig, folder: Path, legs: LegQueue, policy: PolicyAdapter, keys: KeyRing
) -> InfoServicer:
    """What tells what the process is, to who has a key."""
    about = About(
        "router",
        index=config.router.index,
        folders={"router.state_dir": folder},
        queues=lambda: [
            outbox_queue("legs for the ledger", folder / "legs.sqlite", config.limits.legs_on_disk, legs.shed)
        ],
        policy=lambda: (policy.policy.version, policy.age_s),
    )
    # An application's key has no scope, and need not know the machine's folders.
    return InfoServicer(about, lambda secret: bool(keys.authenticate(secret).scopes))


if __name__ == "__main__":
    run(main)
