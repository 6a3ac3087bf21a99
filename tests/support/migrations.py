"""Migrations with made-up evidence, and a ShadowService that tells them: for tests of commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from homeward.common.v1 import policy_pb2
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from services.common.errors import DomainError
from services.common.interceptors import STATUS_DETAILS_KEY, status_of
from services.common.stages import Place
from services.common.words import Stage

DAY_S = 86_400
START_S = 1_790_812_800
"""2026-10-01, 00:00 UTC."""
VERDICTS = {
    "COLLECTING": shadow_pb2.VERDICT_COLLECTING,
    "READY": shadow_pb2.VERDICT_READY,
    "REJECTED": shadow_pb2.VERDICT_REJECTED,
}


def experiment(
    workload: str, *, epoch: int = 1, window_s: int = DAY_S, margin: float = 0.05, **more: Any
) -> shadow_pb2.Experiment:
    """A registered one."""
    made = shadow_pb2.Experiment(
        experiment_id=bytes(range(16)),
        workload=workload,
        scorer="exact_match@1",
        margin=margin,
        alpha=0.05,
        min_windows=2,
        epoch=epoch,
        rate_ppm=100_000,
        reverse_rate_ppm=10_000,
        cluster_by="conversation",
    )
    made.MergeFrom(shadow_pb2.Experiment(**more))
    made.window.FromSeconds(window_s)
    made.watermark.FromSeconds(3600)
    made.start_time.FromSeconds(START_S)
    return made


def evidence(
    log_ks: Sequence[float], verdict: str = "COLLECTING", *, votes: int = 100, window_s: int = DAY_S
) -> shadow_pb2.Evidence:
    """Windows with that evidence; bounds that narrow around 0, or around -0.3 if it falls."""
    made = shadow_pb2.Evidence(verdict=VERDICTS[verdict])
    centre = -0.3 if log_ks and log_ks[-1] < 0 else 0.0
    for number, log_k in enumerate(log_ks):
        width = 0.3 / (number + 1) ** 0.5
        last = number == len(log_ks) - 1
        window = made.windows.add(
            vote_count=votes * (number + 1),
            log_k=log_k,
            lower_bound=centre - width,
            upper_bound=centre + width,
            histogram_sha256=bytes([number % 256]) * 32,
            verdict=VERDICTS[verdict] if last else shadow_pb2.VERDICT_COLLECTING,
        )
        window.start_time.FromSeconds(START_S + number * window_s)
    return made


def migration(
    workload: str,
    at: Place,
    log_ks: Sequence[float] | None = None,
    verdict: str = "COLLECTING",
    *,
    after: Place | None = None,
    blocks: Sequence[str] = (),
    alerts: Sequence[str] = (),
    window_s: int = DAY_S,
) -> shadow_pb2.Migration:
    """Where a workload stands; compared if there is evidence, which may be empty."""
    made = shadow_pb2.Migration(
        policy=policy_pb2.WorkloadPolicy(
            workload=workload,
            stage=policy_pb2.Stage.ValueType(int(at.stage)),
            sovereign_share_ppm=at.share_ppm,
        ),
        blocks=blocks,
        alerts=alerts,
        next_stage=policy_pb2.Stage.ValueType(int(after.stage) if after else 0),
        next_share_ppm=after.share_ppm if after else 0,
    )
    made.stage_time.FromSeconds(START_S)
    if log_ks is None:
        return made
    made.experiment.CopyFrom(experiment(workload, window_s=window_s))
    made.evidence.CopyFrom(evidence(log_ks, verdict, window_s=window_s))
    cloud, degraded = (evidence(values, window_s=window_s) for values in ([0.5, 2.0], [-8.0, -16.0]))
    made.controls.add(lane="cloud", evidence=cloud)
    made.controls.add(lane="degraded", evidence=degraded)
    made.discordance = 0.12
    for funnel in (made.funnel_today, made.funnel_epoch):
        funnel.MergeFrom(
            shadow_pb2.Funnel(
                eligible_count=12_040,
                sampled_count=1_204,
                sent_count=1_200,
                answered_count=1_190,
                scored_count=1_180,
                losses=[
                    shadow_pb2.Loss(step="shed", reason="queue", count=4),
                    shadow_pb2.Loss(step="failed", reason="timeout", count=10),
                ],
            )
        )
    return made


class Shadow(shadow_pb2_grpc.ShadowServiceServicer):
    """Tells what the test wants, and keeps what it was asked."""

    def __init__(self) -> None:
        self.migrations: list[shadow_pb2.Migration] = []
        self.error: DomainError | None = None
        """Of moves and registrations."""
        self.moved = True
        self.asked: list[Any] = []
        self.keys: list[str] = []
        """`authorization` of each of them."""

    def ListMigrations(self, request: Any, context: Any) -> shadow_pb2.ListMigrationsResponse:
        self.asked.append(request)
        found = [item for item in self.migrations if request.workload in ("", item.policy.workload)]
        return shadow_pb2.ListMigrationsResponse(migrations=found, policy_version=7)

    def ListExperiments(self, request: Any, context: Any) -> shadow_pb2.ListExperimentsResponse:
        found = [
            item.experiment
            for item in self.migrations
            if item.HasField("experiment") and request.workload in ("", item.policy.workload)
        ]
        return shadow_pb2.ListExperimentsResponse(experiments=found)

    def RegisterExperiment(self, request: Any, context: Any) -> shadow_pb2.RegisterExperimentResponse:
        self._taken(request, context)
        made = shadow_pb2.Experiment()
        made.CopyFrom(request.experiment)
        made.start_time.FromSeconds(START_S)
        return shadow_pb2.RegisterExperimentResponse(experiment=made)

    def CutOver(self, request: Any, context: Any) -> shadow_pb2.CutOverResponse:
        self._taken(request, context)
        return shadow_pb2.CutOverResponse(
            migration=self._migration(request.workload), moved=self.moved, policy_version=8
        )

    def RollBack(self, request: Any, context: Any) -> shadow_pb2.RollBackResponse:
        self._taken(request, context)
        return shadow_pb2.RollBackResponse(
            migration=migration(request.workload, Place(Stage.ROLLED_BACK)), policy_version=8
        )

    def GetExperiment(self, request: Any, context: Any) -> shadow_pb2.GetExperimentResponse:
        raise NotImplementedError

    def SubmitSample(self, request: Any, context: Any) -> shadow_pb2.SubmitSampleResponse:
        raise NotImplementedError

    def ReportTraffic(self, request: Any, context: Any) -> shadow_pb2.ReportTrafficResponse:
        raise NotImplementedError

    def _migration(self, workload: str) -> shadow_pb2.Migration:
        return next(item for item in self.migrations if item.policy.workload == workload)

    def _taken(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        self.keys.append(str(dict(context.invocation_metadata()).get("authorization", "")))
        if self.error is not None:
            status = status_of(self.error)
            context.set_trailing_metadata(((STATUS_DETAILS_KEY, status.SerializeToString()),))
            code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
            context.abort(code, self.error.message)


@contextmanager
def serving(shadow: Shadow) -> Iterator[str]:
    """The service on a free port of loopback; gives its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    shadow_pb2_grpc.add_ShadowServiceServicer_to_server(shadow, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)
