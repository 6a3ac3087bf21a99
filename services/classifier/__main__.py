"""Wires and runs the classifier: `python -m services.classifier [homeward.toml]`."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc

from services.classifier.config import ClassifierConfig, load_classifier
from services.classifier.core.registry import AmbiguousError, Registry, Workload
from services.classifier.servicer import ClassifierServicer
from services.common.server import Server, run, until_stopped
from services.common.settings import DEFAULT_FILE, SettingsError
from services.common.telemetry.setup import start_logging, start_tracing
from services.common.words import QualitySensitivity, TaskType

log = logging.getLogger("services.classifier")


def registry(config: ClassifierConfig, path: Path) -> Registry:
    """The registry that the settings describe.

    Raises:
        SettingsError: two workloads share a system prompt.
    """
    workloads = [
        Workload(
            name=name,
            owner=item.owner,
            task_type=TaskType[(item.task_type or "unspecified").upper()],
            data_class=item.data_class,
            quality_sensitivity=QualitySensitivity[(item.quality_sensitivity or "unspecified").upper()],
            description=item.description,
            system_prompts=tuple(item.system_prompts),
        )
        for name, item in config.workloads.items()
    ]
    try:
        return Registry(workloads, version=1)
    except AmbiguousError as error:
        raise SettingsError(f"{path}: workloads: {error}") from None


async def main() -> None:
    """Runs until SIGTERM."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FILE
    config = load_classifier(path)
    start_logging("classifier", config.telemetry)
    tracing = start_tracing("classifier", config.telemetry, config.clickhouse)
    server = Server(classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name)
    classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(
        ClassifierServicer(registry(config, path)), server.grpc
    )
    try:
        await server.start(config.classifier.grpc)
        log.info("listening", extra={"grpc": config.classifier.grpc})
        await until_stopped()
    finally:
        await server.stop()
        await asyncio.to_thread(tracing.shutdown)


if __name__ == "__main__":
    run(main)
