"""Whose fault a failed leg is: the model's, which counts, or Homeward's own, which does not."""

from __future__ import annotations

import grpc
import pytest
from grpc import aio

from services.common.errors import DomainError, Reason
from services.common.interceptors import STATUS_DETAILS_KEY, status_of
from services.common.words import Target
from services.shadow.adapters.router import leg_failed

HOME, CLOUD = Target.SOVEREIGN, Target.CLOUD
FROM_HOME = {
    Reason.UPSTREAM_UNREACHABLE,
    Reason.UPSTREAM_TIMEOUT,
    Reason.UPSTREAM_BROKEN,
    Reason.UPSTREAM_REJECTED,
    Reason.BREAKER_OPEN,
    Reason.ANSWER_INVALID,
    Reason.REPLICAS_BUSY,
    Reason.FEATURE_NOT_SUPPORTED,
    Reason.CONTEXT_LENGTH_EXCEEDED,
    Reason.TARGET_NOT_ALLOWED,
    Reason.API_NOT_SUPPORTED,
    Reason.INVALID_REQUEST,
    Reason.INTERNAL,
}
"""What counts against a sovereign model."""
OURS = {
    Reason.BUDGET_EXHAUSTED,
    Reason.RATE_LIMITED,
    Reason.OVERLOADED,
    Reason.KEY_MISSING,
    Reason.KEY_INVALID,
    Reason.WORKLOAD_NOT_FOUND,
    Reason.WORKLOAD_FORBIDDEN,
    Reason.PURPOSE_FORBIDDEN,
}


def status(reason: Reason, **metadata: object) -> aio.AioRpcError:
    error = DomainError(reason, "no", **metadata)
    code = getattr(grpc.StatusCode, error.meaning.grpc_code)
    trailing = aio.Metadata((STATUS_DETAILS_KEY, status_of(error).SerializeToString()))
    return aio.AioRpcError(code, aio.Metadata(), trailing, "no")


@pytest.mark.parametrize("reason", sorted(FROM_HOME))
def test_what_counts_at_home(reason: Reason) -> None:
    failed = leg_failed(status(reason), HOME)
    assert (failed.reason, failed.counts) == (reason.lower(), True)


@pytest.mark.parametrize("target", list(Target))
@pytest.mark.parametrize("reason", sorted(OURS))
def test_what_is_homewards_own(reason: Reason, target: Target) -> None:
    assert not leg_failed(status(reason), target).counts


@pytest.mark.parametrize(
    "reason",
    [
        Reason.TARGET_NOT_ALLOWED,
        Reason.API_NOT_SUPPORTED,
        Reason.FEATURE_NOT_SUPPORTED,
        Reason.INVALID_REQUEST,
    ],
)
def test_the_cloud_took_the_applications_request(reason: Reason) -> None:
    assert not leg_failed(status(reason), CLOUD).counts


def test_how_long_to_wait_is_told() -> None:
    failed = leg_failed(status(Reason.RATE_LIMITED, retry_after_s=7), HOME)
    assert (failed.passing, failed.retry_after_s) == (True, 7.0)
    assert leg_failed(status(Reason.REPLICAS_BUSY), HOME).passing


@pytest.mark.parametrize(
    ("code", "reason", "counts"),
    [
        (grpc.StatusCode.UNAVAILABLE, "router_away", False),
        (grpc.StatusCode.CANCELLED, "router_away", False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "timeout", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "resource_exhausted", True),
    ],
)
def test_what_has_no_reason(code: grpc.StatusCode, reason: str, counts: bool) -> None:
    failed = leg_failed(aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), "no"), HOME)
    assert (failed.reason, failed.counts, failed.passing) == (reason, counts, reason == "router_away")
