"""A real ShadowService that records what a router sends, and stalls or refuses by the test's word."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from deploy.local.ports import free_ports
from services.common.server import Server

Behaviour = Callable[[], Awaitable[None]]


async def take() -> None:
    """What a shadow that is well does."""


async def stall() -> None:
    """What one does whose disk hangs."""
    await asyncio.Event().wait()


class ShadowRecorder(shadow_pb2_grpc.ShadowServiceServicer):
    """Records samples and reports."""

    def __init__(self, address: str = "") -> None:
        """Listens at `address`, or at a free port of its own, once started."""
        self.address = address or f"127.0.0.1:{free_ports(1)[0]}"
        self.samples: list[shadow_pb2.SubmitSampleRequest] = []
        self.reports: dict[tuple[bytes, int], shadow_pb2.ReportTrafficRequest] = {}
        """By router and sequence; one that comes again must be the same."""
        self.on_sample: Behaviour = take
        self.on_report: Behaviour = take
        self.asked = 0
        """Calls of SubmitSample, taken or not."""
        self._server: Server | None = None

    async def start(self) -> None:
        """Listens."""
        self._server = Server("homeward.shadow.v1.ShadowService")
        shadow_pb2_grpc.add_ShadowServiceServicer_to_server(self, self._server.grpc)
        await self._server.start(self.address)

    async def stop(self) -> None:
        """Cuts all connections."""
        if self._server is not None:
            await self._server.grpc.stop(0)
            self._server = None

    async def SubmitSample(
        self, request: shadow_pb2.SubmitSampleRequest, context: Any
    ) -> shadow_pb2.SubmitSampleResponse:
        """Records a sample."""
        self.asked += 1
        await self.on_sample()
        self.samples.append(request)
        return shadow_pb2.SubmitSampleResponse()

    async def ReportTraffic(
        self, request: shadow_pb2.ReportTrafficRequest, context: Any
    ) -> shadow_pb2.ReportTrafficResponse:
        """Records a report, even one that is then not answered well."""
        before = self.reports.setdefault((request.router_id, request.sequence), request)
        assert before == request, "a report that comes again is the same"
        await self.on_report()
        return shadow_pb2.ReportTrafficResponse()

    def counts(self) -> dict[str, int]:
        """How many requests got to each step, `step` or `step/reason`."""
        found: Counter[str] = Counter()
        for report in self.reports.values():
            for item in report.samplings:
                found[f"{item.step}/{item.reason}" if item.reason else item.step] += item.count
        return dict(found)

    def legs(self) -> dict[tuple[str, int], tuple[int, int, int]]:
        """Legs, failed ones and invalid ones by workload and target."""
        found: dict[tuple[str, int], tuple[int, int, int]] = {}
        for report in self.reports.values():
            for item in report.legs:
                legs, failed, invalid = found.get((item.workload, item.target), (0, 0, 0))
                found[item.workload, item.target] = (
                    legs + item.leg_count,
                    failed + item.failed_count,
                    invalid + item.invalid_count,
                )
        return found
