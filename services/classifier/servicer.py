"""homeward.classifier.v1.ClassifierService: protos ↔ core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from grpc import aio
from homeward.classifier.v1 import classifier_pb2, classifier_pb2_grpc
from opentelemetry import trace

from services.classifier import translate
from services.classifier.namer import Namer
from services.classifier.registrar import Registrar
from services.classifier.scout import Scout
from services.common.errors import invalid_request
from services.common.telemetry import attributes as names
from services.common.words import label

Context: TypeAlias = aio.ServicerContext[Any, Any]

MAX_PROPOSALS = 100
"""Of one call, as the contract says."""
DEFAULT_PROPOSALS = 20


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """Names requests, and serves and changes the table of workloads."""

    def __init__(self, registrar: Registrar, namer: Namer, scout: Scout) -> None:
        self._registrar = registrar
        self._board = registrar.board
        self._namer = namer
        self._scout = scout

    async def Classify(
        self, request: classifier_pb2.ClassifyRequest, context: Context
    ) -> classifier_pb2.ClassifyResponse:
        """Names one request."""
        answer, version = await self._namer.classify(
            translate.seen(request), request.request_id, request.key_name, context.time_remaining()
        )
        trace.get_current_span().set_attributes(
            {
                names.WORKLOAD: answer.workload,
                names.EVIDENCE: label(answer.evidence),
                names.CONFIDENCE: answer.confidence,
            }
        )
        return translate.response(answer, version)

    async def Observe(
        self, request: classifier_pb2.ObserveRequest, context: Context
    ) -> classifier_pb2.ObserveResponse:
        """Takes in a request whose workload is known."""
        await self._namer.observe(
            translate.seen(request.request),
            request.request.request_id,
            request.workload,
            translate.evidence(request.evidence),
        )
        return classifier_pb2.ObserveResponse()

    async def WatchWorkloads(
        self, request: classifier_pb2.WatchWorkloadsRequest, context: Context
    ) -> AsyncIterator[classifier_pb2.WatchWorkloadsResponse]:
        """Sends the table now and after each change."""
        async for known in self._board.watch(request.known_version):
            yield classifier_pb2.WatchWorkloadsResponse(
                version=known.registry.version, workloads=map(translate.workload, known.registry.workloads)
            )

    async def ListWorkloads(
        self, request: classifier_pb2.ListWorkloadsRequest, context: Context
    ) -> classifier_pb2.ListWorkloadsResponse:
        """Tells the registered workloads."""
        registry = self._board.value.registry
        return classifier_pb2.ListWorkloadsResponse(
            version=registry.version, workloads=map(translate.workload, registry.workloads)
        )

    async def RegisterWorkload(
        self, request: classifier_pb2.RegisterWorkloadRequest, context: Context
    ) -> classifier_pb2.RegisterWorkloadResponse:
        """Adds a workload or a new version of one."""
        done = await self._registrar.register(
            request.request_id,
            translate.submission(request.workload, request.examples),
            time.time_ns() // 1000,
            validate_only=request.validate_only,
        )
        return classifier_pb2.RegisterWorkloadResponse(
            workload=translate.workload(done.workload),
            table_version=done.table_version,
            held_out_count=done.held_out_count,
            right_before=done.right_before,
            right_after=done.right_after,
        )

    async def DiscoverWorkloads(
        self, request: classifier_pb2.DiscoverWorkloadsRequest, context: Context
    ) -> classifier_pb2.DiscoverWorkloadsResponse:
        """Proposes workloads for unnamed traffic."""
        if request.max_proposals > MAX_PROPOSALS:
            raise invalid_request("max_proposals", f"at most {MAX_PROPOSALS}", request.max_proposals)
        found = await asyncio.to_thread(
            self._scout.discover, self._board.value, request.max_proposals or DEFAULT_PROPOSALS
        )
        return classifier_pb2.DiscoverWorkloadsResponse(proposals=map(translate.proposal, found))
