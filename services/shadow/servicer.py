"""homeward.shadow.v1.ShadowService: protos ↔ core.

No experiment can be registered yet, so nothing is compared: every workload is OBSERVED.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from grpc import aio
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from services.common.errors import DomainError, Reason, not_available

Context: TypeAlias = aio.ServicerContext[Any, Any]


class ShadowServicer(shadow_pb2_grpc.ShadowServiceServicer):
    """Serves what there is: no experiments."""

    async def SubmitSample(
        self, request: shadow_pb2.SubmitSampleRequest, context: Context
    ) -> shadow_pb2.SubmitSampleResponse:
        """Refuses: a sample belongs to an experiment."""
        raise _not_found(request.experiment_id)

    async def RegisterExperiment(
        self, request: shadow_pb2.RegisterExperimentRequest, context: Context
    ) -> shadow_pb2.RegisterExperimentResponse:
        """Not yet."""
        raise not_available("RegisterExperiment")

    async def GetExperiment(
        self, request: shadow_pb2.GetExperimentRequest, context: Context
    ) -> shadow_pb2.GetExperimentResponse:
        """Refuses: there is none."""
        raise _not_found(request.experiment_id)

    async def ListExperiments(
        self, request: shadow_pb2.ListExperimentsRequest, context: Context
    ) -> shadow_pb2.ListExperimentsResponse:
        """Tells that there are none."""
        return shadow_pb2.ListExperimentsResponse()


def _not_found(experiment_id: bytes) -> DomainError:
    return DomainError(
        Reason.EXPERIMENT_NOT_FOUND,
        f"no experiment {experiment_id.hex()!r} is registered",
        experiment_id=experiment_id.hex(),
    )
