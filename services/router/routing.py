"""Which routes a request may take, the first choice first."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.errors import DomainError, Reason
from services.common.words import Target, label
from services.router.call import Ask
from services.router.core import catalog
from services.router.core.policy import WorkloadPolicy, choose_target
from services.router.namer import Named


def routes_of(
    models: catalog.Catalog, ask: Ask, named: Named, row: WorkloadPolicy
) -> Sequence[catalog.Route]:
    """The routes that the policy gives a request.

    Raises:
        DomainError: TARGET_NOT_ALLOWED, MODEL_NOT_FOUND, API_NOT_SUPPORTED: there is none.
    """
    model, workload = ask.request.model, named.name.workload
    _check_region(ask, row, workload)
    routes = models.routes(model)
    if ask.target is not None:
        target, fallback = ask.target, None
        if target not in row.allowed_targets:
            raise DomainError(
                Reason.TARGET_NOT_ALLOWED,
                f"the data class of {workload!r} does not allow {label(target)}",
                workload=workload,
                allowed=", ".join(sorted(map(label, row.allowed_targets))),
                model=model,
            )
    else:
        target = choose_target(row, named.conversation, workload)
        if target is Target.CLOUD and catalog.at_home_only(routes, ask.request.api):
            # Who asks for a model by name that only runs at home has chosen; it opens nothing.
            target = Target.SOVEREIGN if Target.SOVEREIGN in row.allowed_targets else target
        other = Target.CLOUD if target is Target.SOVEREIGN else None
        allowed = row.fallback_allowed and other in row.allowed_targets
        fallback = other if allowed else None
    return catalog.select(
        routes,
        api=ask.request.api,
        model=model,
        target=target,
        regions=row.allowed_regions,
        fallback_target=fallback,
        workload=workload,
    )


def _check_region(ask: Ask, row: WorkloadPolicy, workload: str) -> None:
    """An upstream's region says where it runs unless the request says otherwise, as Anthropic's may."""
    region = ask.request.document.get("inference_geo")
    if region is None or not row.allowed_regions:
        return
    if not isinstance(region, str) or region not in row.allowed_regions:
        regions = ", ".join(sorted(row.allowed_regions))
        raise DomainError(
            Reason.TARGET_NOT_ALLOWED,
            f"`inference_geo`: the data class of {workload!r} allows only {regions}; leave the field out",
            workload=workload,
            allowed=regions,
            model=ask.request.model,
        )


def only_home(
    models: catalog.Catalog, ask: Ask, row: WorkloadPolicy, workload: str, refusal: DomainError
) -> Sequence[catalog.Route]:
    """The routes of a request that its budgets keep from the cloud.

    Raises:
        DomainError: `refusal`, if there is none.
    """
    # A leg of an experiment that runs elsewhere than it was asked to would say nothing.
    if ask.target is not None or Target.SOVEREIGN not in row.allowed_targets:
        raise refusal
    try:
        return catalog.select(
            models.routes(ask.request.model),
            api=ask.request.api,
            model=ask.request.model,
            target=Target.SOVEREIGN,
            regions=row.allowed_regions,
            fallback_target=None,
            workload=workload,
        )
    except DomainError:
        raise refusal from None
