"""homeward.classifier.v1.ClassifierService: protos ↔ core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from grpc import aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from homeward.common.v1 import workload_pb2
from opentelemetry import trace

from services.classifier.core.registry import Registry, Workload
from services.common.board import Board
from services.common.errors import not_available
from services.common.telemetry import attributes as names
from services.common.words import label

Context: TypeAlias = aio.ServicerContext[Any, Any]

_INSTEAD = "register workloads in homeward.toml"


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """Serves the registry."""

    def __init__(self, registry: Registry) -> None:
        self._board = Board(registry, registry.version)

    async def Classify(
        self, request: classifier_pb2.ClassifyRequest, context: Context
    ) -> classifier_pb2.ClassifyResponse:
        """Names one request."""
        registry = self._board.value
        answer = registry.classify(request.fingerprint.digest)
        span = trace.get_current_span()
        span.set_attribute(names.WORKLOAD, answer.workload)
        span.set_attribute(names.EVIDENCE, label(answer.evidence))
        span.set_attribute(names.CONFIDENCE, answer.confidence)
        return classifier_pb2.ClassifyResponse(
            workload=answer.workload,
            evidence=workload_pb2.Evidence.ValueType(answer.evidence),
            confidence=answer.confidence,
            task_type=workload_pb2.TaskType.ValueType(answer.task_type),
            table_version=registry.version,
        )

    async def WatchWorkloads(
        self, request: classifier_pb2.WatchWorkloadsRequest, context: Context
    ) -> AsyncIterator[classifier_pb2.WatchWorkloadsResponse]:
        """Sends the table now and after each change."""
        async for registry in self._board.watch(request.known_version):
            yield classifier_pb2.WatchWorkloadsResponse(
                version=registry.version, workloads=map(_workload, registry.workloads)
            )

    async def ListWorkloads(
        self, request: classifier_pb2.ListWorkloadsRequest, context: Context
    ) -> classifier_pb2.ListWorkloadsResponse:
        """Tells the registered workloads."""
        registry = self._board.value
        return classifier_pb2.ListWorkloadsResponse(
            version=registry.version, workloads=map(_workload, registry.workloads)
        )

    async def RegisterWorkload(
        self, request: classifier_pb2.RegisterWorkloadRequest, context: Context
    ) -> classifier_pb2.RegisterWorkloadResponse:
        """Not yet: workloads come from the settings."""
        raise not_available("RegisterWorkload", _INSTEAD)

    async def DiscoverWorkloads(
        self, request: classifier_pb2.DiscoverWorkloadsRequest, context: Context
    ) -> classifier_pb2.DiscoverWorkloadsResponse:
        """Not yet."""
        raise not_available("DiscoverWorkloads", _INSTEAD)


def _workload(workload: Workload) -> workload_pb2.Workload:
    return workload_pb2.Workload(
        name=workload.name,
        owner=workload.owner,
        task_type=workload_pb2.TaskType.ValueType(workload.task_type),
        data_class=workload.data_class,
        quality_sensitivity=workload_pb2.QualitySensitivity.ValueType(workload.quality_sensitivity),
        description=workload.description,
        version=1,
        fingerprints=[workload_pb2.Fingerprint(digest=digest) for digest in workload.fingerprints],
    )
