"""The errors of a server of models that does not answer, or not to the end."""

from __future__ import annotations

from services.common.errors import DomainError, Reason
from services.router.core.catalog import Route


def unreachable(route: Route, detail: str, attempts: int) -> DomainError:
    """The UPSTREAM_UNREACHABLE of a server that gave no answer."""
    return DomainError(
        Reason.UPSTREAM_UNREACHABLE,
        f"upstream {route.upstream.name!r} can't be reached: {detail}",
        upstream=route.upstream.name,
        attempts=attempts,
    )


def timed_out(route: Route, phase: str, limit_s: float) -> DomainError:
    """The UPSTREAM_TIMEOUT of a server that was silent for too long."""
    return DomainError(
        Reason.UPSTREAM_TIMEOUT,
        f"upstream {route.upstream.name!r} was silent for {limit_s:g} s ({phase.replace('_', ' ')})",
        upstream=route.upstream.name,
        phase=phase,
        limit_s=f"{limit_s:g}",
    )


def broken(route: Route, detail: str) -> DomainError:
    """The UPSTREAM_BROKEN of a server that broke off before its answer was whole."""
    return DomainError(
        Reason.UPSTREAM_BROKEN,
        f"upstream {route.upstream.name!r} broke off: {detail}",
        upstream=route.upstream.name,
        detail=detail,
    )
