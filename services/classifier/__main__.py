"""Wires and runs the classifier: `python -m services.classifier [homeward.toml]`."""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from pathlib import Path

from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import info_pb2

from services.classifier.adapters.batcher import Batcher
from services.classifier.adapters.observations import Observations
from services.classifier.adapters.reader import Reader
from services.classifier.adapters.spend import Spend
from services.classifier.adapters.store import Store
from services.classifier.adapters.traffic_store import TrafficStore
from services.classifier.config import load_classifier, registered
from services.classifier.core.background import Background
from services.classifier.namer import Namer, read_asked
from services.classifier.registrar import Registrar
from services.classifier.scout import Scout
from services.classifier.servicer import ClassifierServicer
from services.common.errors import DomainError
from services.common.fingerprint import AmbiguousError
from services.common.info import About, InfoServicer
from services.common.server import Server, run, until_stopped
from services.common.settings import DEFAULT_FILE, SettingsError
from services.common.telemetry.setup import start_logging, start_tracing

log = logging.getLogger("services.classifier")

FLUSH_S = 5.0
"""How long observations may take to reach ClickHouse at the end."""


async def main() -> None:
    """Runs until SIGTERM."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE
    config = load_classifier(path)
    start_logging("classifier", config.telemetry)
    tracing = start_tracing("classifier", config.telemetry, config.clickhouse)
    settings = config.classifier
    store = Store(settings.state_dir)
    try:
        reader = Reader(settings.models_dir)
        background = Background.from_file(settings.models_dir / "background.npz")
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"{path}: classifier.models_dir: {settings.models_dir}: {error}") from None
    try:
        registrar = Registrar(
            store,
            registered(config),
            reader.read,
            background,
            data_classes=config.data_classes,
            system_prompts=[text for item in config.workloads.values() for text in item.system_prompts],
        )
    except AmbiguousError as error:
        # The settings by themselves are right, so it is one of them against a registration.
        raise SettingsError(f"{path}: {error}; change the one in the settings") from None
    except DomainError as error:
        raise SettingsError(error.message) from None
    traffic = TrafficStore(
        settings.state_dir, max_requests=settings.unnamed_requests, keep_prompts=settings.keep_unnamed_prompts
    )
    observations = Observations(config.clickhouse)
    batcher = Batcher(
        partial(read_asked, reader.read),
        workers=settings.workers,
        batch_requests=settings.batch_requests,
        queue_requests=settings.queue_requests,
    )
    namer = Namer(registrar.board, batcher, reader.general.abstain_below, traffic, observations)
    about = About(
        "classifier",
        folders={"classifier.state_dir": settings.state_dir},
        queues=lambda: [
            info_pb2.Queue(name="observations for ClickHouse", lost_count=observations.shed),
            info_pb2.Queue(name="unnamed requests to remember", lost_count=traffic.shed),
        ],
    )
    server = Server(
        classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name, info=InfoServicer(about)
    )
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(
        ClassifierServicer(registrar, namer, Scout(traffic, Spend(config.clickhouse))), server.grpc
    )
    try:
        await server.start(settings.grpc)
        log.info("listening", extra={"grpc": settings.grpc, "table_version": registrar.board.version})
        await until_stopped()
    finally:
        registrar.board.close()
        await server.stop()
        await namer.close()
        await batcher.close()
        await asyncio.to_thread(observations.close, FLUSH_S)
        await asyncio.to_thread(traffic.close)
        store.close()
        await asyncio.to_thread(tracing.shutdown)


if __name__ == "__main__":
    run(main)
