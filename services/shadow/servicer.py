"""homeward.shadow.v1.ShadowService: protos ↔ engine and conductor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from grpc import aio
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from services.common.errors import DomainError, Reason, invalid_request
from services.common.info import bearer
from services.common.sampling import ID_BYTES
from services.shadow.conductor import Conductor
from services.shadow.engine import Engine
from services.shadow.holders import holder
from services.shadow.model_probe import ModelProbe
from services.shadow.translate import experiment_to_proto

Context: TypeAlias = aio.ServicerContext[Any, Any]


class ShadowServicer(shadow_pb2_grpc.ShadowServiceServicer):
    """Serves samples, experiments and moves."""

    def __init__(
        self,
        engine: Engine,
        conductor: Conductor,
        approvers: Mapping[bytes, str],
        model_probe: ModelProbe,
    ) -> None:
        """`approvers` are the names of the keys that may move workloads, by the SHA-256 of their secrets."""
        self._model_probe = model_probe
        self._engine = engine
        self._conductor = conductor
        self._approvers = approvers

    async def SubmitSample(
        self, request: shadow_pb2.SubmitSampleRequest, context: Context
    ) -> shadow_pb2.SubmitSampleResponse:
        """Takes a sample."""
        for field in ("sample_id", "experiment_id"):
            _check_id(field, getattr(request, field))
        self._conductor.saw(request)
        await self._engine.submit(request, reversed=request.reversed)
        return shadow_pb2.SubmitSampleResponse()

    async def RegisterExperiment(
        self, request: shadow_pb2.RegisterExperimentRequest, context: Context
    ) -> shadow_pb2.RegisterExperimentResponse:
        """Registers an experiment or its next epoch."""
        _check_id("request_id", request.request_id)
        experiment = await self._conductor.register(request.experiment, request.request_id)
        return shadow_pb2.RegisterExperimentResponse(experiment=experiment_to_proto(experiment))

    async def GetExperiment(
        self, request: shadow_pb2.GetExperimentRequest, context: Context
    ) -> shadow_pb2.GetExperimentResponse:
        """Tells an experiment's current epoch and what it has found."""
        experiment, evidence = self._conductor.experiment(request.experiment_id)
        return shadow_pb2.GetExperimentResponse(experiment=experiment_to_proto(experiment), evidence=evidence)

    async def ListExperiments(
        self, request: shadow_pb2.ListExperimentsRequest, context: Context
    ) -> shadow_pb2.ListExperimentsResponse:
        """Tells all epochs, the newest first."""
        return shadow_pb2.ListExperimentsResponse(
            experiments=map(experiment_to_proto, self._conductor.experiments(request.workload))
        )

    async def ReportTraffic(
        self, request: shadow_pb2.ReportTrafficRequest, context: Context
    ) -> shadow_pb2.ReportTrafficResponse:
        """Takes what a router saw."""
        _check_id("router_id", request.router_id)
        if not request.sequence:
            raise invalid_request("sequence", "1 or more", "0")
        await self._conductor.report(request)
        return shadow_pb2.ReportTrafficResponse()

    async def ListMigrations(
        self, request: shadow_pb2.ListMigrationsRequest, context: Context
    ) -> shadow_pb2.ListMigrationsResponse:
        """Tells where workloads stand."""
        migrations = await self._conductor.migrations(request.workload)
        return shadow_pb2.ListMigrationsResponse(
            migrations=migrations, policy_version=self._conductor.policy_version
        )

    async def CutOver(
        self, request: shadow_pb2.CutOverRequest, context: Context
    ) -> shadow_pb2.CutOverResponse:
        """Moves a workload on, or approves its next move."""
        _check_id("request_id", request.request_id)
        key = self._approver(context, request.workload)
        return await self._conductor.cut_over(
            request.workload, key, request_id=request.request_id, approve=request.approve
        )

    async def RollBack(
        self, request: shadow_pb2.RollBackRequest, context: Context
    ) -> shadow_pb2.RollBackResponse:
        """Moves a workload back to the cloud."""
        _check_id("request_id", request.request_id)
        if not request.reason:
            raise invalid_request("reason", "a sentence", "nothing")
        key = self._approver(context, request.workload)
        return await self._conductor.roll_back(
            request.workload, key, request_id=request.request_id, reason=request.reason
        )

    async def ProbeModel(
        self, request: shadow_pb2.ProbeModelRequest, context: Context
    ) -> shadow_pb2.ProbeModelResponse:
        """Asks a model at home what it can do."""
        return await self._model_probe.probe(request, bearer(context))

    async def ListExamples(
        self, request: shadow_pb2.ListExamplesRequest, context: Context
    ) -> shadow_pb2.ListExamplesResponse:
        """Tells disagreements with their texts."""
        return await self._engine.examples.page(request, bearer(context))

    def _approver(self, context: Context, workload: str) -> str:
        """The name of the key that asks.

        Raises:
            DomainError: KEY_MISSING or APPROVAL_FORBIDDEN.
        """
        name = holder(self._approvers, bearer(context))
        if name is not None:
            return name
        # Whether it is a key of something else is not told.
        raise DomainError(
            Reason.APPROVAL_FORBIDDEN,
            'that key may not move workloads; give one scopes = ["approvals"] in [keys] of homeward.toml',
            key="",
            workload=workload,
        )


def _check_id(field: str, value: bytes) -> None:
    if len(value) != ID_BYTES:
        raise invalid_request(field, f"{ID_BYTES} bytes", f"{len(value)} bytes")
