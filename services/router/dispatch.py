"""The path of a request, the same for both doors: name → policy → routes → call → answer → book.

A door hands over an `Ask` and gets an `Opened` or a DomainError. All that follows the answer (booking,
spans, token limits) happens in `Call.finish`, once for each leg, whatever became of it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from opentelemetry import trace

from services.common.budgets import Rule
from services.common.errors import DomainError, Reason
from services.common.ids import uuid7
from services.common.telemetry import attributes as names
from services.common.words import Outcome, Purpose, Target, label
from services.router.adapters.budgets import BudgetAdapter, Wanted
from services.router.adapters.leg_queue import LegQueue
from services.router.adapters.policy import PolicyAdapter
from services.router.adapters.upstreams import Upstreams
from services.router.attempt import OUTCOMES, Opened, attempt, codec_for
from services.router.call import Ask, Call
from services.router.core import catalog
from services.router.core.bounds import bounds
from services.router.core.budgets import Verdict
from services.router.core.data_classes import bound
from services.router.core.keys import Key
from services.router.core.leg import Leg
from services.router.core.limits import Limiter
from services.router.core.naming import Name
from services.router.core.personal_data import Hit, explained, kept_home
from services.router.core.policy import WorkloadPolicy
from services.router.core.retry import RETRIED_STATUSES
from services.router.guard import Guard
from services.router.namer import Named, Namer
from services.router.routing import only_home, routes_of
from services.router.sampler import Sampler

_FALL_BACK_STATUSES = RETRIED_STATUSES | {403}
"""Of a cloud: what says something about it rather than the request, so that another may serve it."""


@dataclass(frozen=True, slots=True)
class _Asking:
    """A request with all that is decided about it before a route is tried."""

    ask: Ask
    to_cloud: Ask
    """What the cloud gets: the same, or with placeholders for personal data."""
    name: Name
    row: WorkloadPolicy
    request_id: bytes
    policy_version: int
    policy_age_s: int | None


class Dispatcher:
    """Serves requests. One a process."""

    def __init__(
        self,
        models: catalog.Catalog,
        limiter: Limiter,
        policy: PolicyAdapter,
        namer: Namer,
        guard: Guard,
        upstreams: Upstreams,
        legs: LegQueue,
        budgets: BudgetAdapter,
        sampler: Sampler,
    ) -> None:
        self.models = models
        self._limiter = limiter
        self._policy = policy
        self._namer = namer
        self._guard = guard
        self._upstreams = upstreams
        self._legs = legs
        self._budgets = budgets
        self._sampler = sampler
        self._tracer = trace.get_tracer("homeward.router")

    async def open(self, ask: Ask) -> Opened:
        """Names the request, chooses where it runs, and calls there.

        Returns:
            The answer of the first route that gives one. An error of an upstream is an answer too, if
            it concerns the request or no other route is left.

        Raises:
            DomainError: nothing could be asked, or nobody answered.
        """
        request_id = uuid7(time.time_ns())
        named = await self._namer.name(ask, request_id)
        name, policy = named.name, self._policy.policy
        ask.span.set_attributes(
            {
                names.KEY_NAME: ask.key.name,
                names.WORKLOAD: name.workload,
                names.EVIDENCE: label(name.evidence),
                names.CONFIDENCE: name.confidence,
                names.POLICY_VERSION: policy.version,
            }
        )
        policy_age_s = self._policy.age_s
        if policy_age_s is not None:
            ask.span.set_attribute(names.POLICY_AGE_S, policy_age_s)
        policy_row = policy.row(name.workload)
        row = bound(policy_row, named.classes, name.workload)
        hit = await self._guard.look(ask, name)
        if hit is not None and hit.sovereign:
            row = kept_home(row, hit, name.workload)
        masked = hit.masked if hit is not None else None
        to_cloud = ask if masked is None else replace(ask, request=masked)
        asking = _Asking(ask, to_cloud, name, row, request_id, policy.version, policy_age_s)
        routes = self._routes(ask, named, row, hit)
        follow = None
        if row.sampling is not None and ask.purpose is Purpose.PRODUCTION:
            served = self.models.routes(ask.request.model)
            # The cloud would answer another question than the model at home.
            alike = row if masked is None else replace(row, allowed_targets=frozenset({Target.SOVEREIGN}))
            follow = self._sampler.follow(ask, named, policy_row, alike, served, request_id)
        if follow is None:
            return await self._answered(asking, routes)
        try:
            opened = await self._answered(asking, routes)
        except BaseException:
            follow.failed()
            raise
        if opened.body is None:
            # The end of its stream says what has become of it.
            opened.call.follower = follow
        elif opened.status < 400:
            follow.feed(opened.body)
            follow.finished(opened.call, Outcome.OK)
        else:
            follow.failed()
        return opened

    @property
    def policy_version(self) -> int:
        """The version of the policy in force."""
        return self._policy.policy.version

    @property
    def policy_age_s(self) -> int | None:
        """How old it is, as `PolicyAdapter.age_s` says."""
        return self._policy.age_s

    def _routes(
        self, ask: Ask, named: Named, row: WorkloadPolicy, hit: Hit | None
    ) -> Sequence[catalog.Route]:
        """The routes that the policy gives a request, and if there is none, what kept it from the others."""
        try:
            return routes_of(self.models, ask, named, row)
        except DomainError as error:
            raise explained(error, hit) from None

    async def _answered(self, asking: _Asking, routes: Sequence[catalog.Route]) -> Opened:
        """The answer of the first route that gives one."""
        ask, name = asking.ask, asking.name
        waiting = deque(routes)
        rules = self._budgets.rules.covering(name.workload, ask.key.name, ask.purpose)
        failure: DomainError | None = None
        answer: Opened | None = None
        at_home = False
        while waiting:
            route = waiting.popleft()
            to_cloud = route.upstream.target is Target.CLOUD
            asked, leg_id = asking.to_cloud if to_cloud else ask, b""
            try:
                # Before money is set aside and a leg begins: what can't be said to an upstream is no leg.
                codec = codec_for(asked.request, route, asked.answer_as)
            except DomainError as error:
                if error.reason not in OUTCOMES:
                    raise
                # What could not even be asked says less than what somebody answered, or why nobody did.
                if answer is None:
                    failure = failure or error
                at_home = at_home or not to_cloud
                continue
            if rules and to_cloud:
                leg_id = uuid7(time.time_ns())
                verdict = await self._reserve(rules, ask, name, route, leg_id)
                if verdict.home_only is not None:
                    if at_home:
                        # Home was asked before: what was said stands.
                        break
                    waiting = deque(only_home(self.models, ask, asking.row, name.workload, verdict.home_only))
                    continue
            call = Call(
                self._book,
                self._tracer,
                ask,
                name,
                route,
                asking.request_id,
                asking.policy_version,
                leg_id,
                asking.policy_age_s,
            )
            call.stepped_in = at_home and to_cloud
            at_home = at_home or not to_cloud
            try:
                answer = await attempt(self._upstreams, asked, codec, call)
            except DomainError as error:
                failure, answer = error, None
                too_long = error.reason is Reason.CONTEXT_LENGTH_EXCEEDED
                stays = too_long and not route.upstream.too_long_moves
                if stays or error.reason not in OUTCOMES:
                    raise
                continue
            # What a server at home refuses may be right in the cloud; what a cloud says of a request stands.
            if answer.status < 400 or (to_cloud and answer.status not in _FALL_BACK_STATUSES):
                return answer
        if answer is not None:
            return answer
        raise failure or DomainError(Reason.INTERNAL, "no route was tried")

    async def _reserve(
        self, rules: Sequence[Rule], ask: Ask, name: Name, route: catalog.Route, leg_id: bytes
    ) -> Verdict:
        """Sets the money of a cloud leg aside, in the budgets that cover it."""
        wanted = Wanted(
            leg_id=leg_id,
            workload=name.workload,
            key_name=ask.key.name,
            purpose=ask.purpose,
            provider=route.upstream.provider,
            model=route.model,
            bounds=bounds(ask.request),
        )
        with trace.use_span(
            ask.span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        ):
            verdict = await self._budgets.reserve(rules, wanted)
        if verdict.over:
            ask.span.add_event("over budget", {"budgets": verdict.over})
        return verdict

    def _book(self, leg: Leg, key: Key) -> None:
        """Hands a finished leg to the book and to the key's token limit."""
        self._legs.add(leg)
        self._limiter.spend(key, leg.usage.total_tokens, time.monotonic())
        compared = self._policy.policy.row(leg.workload).sampling is not None
        if compared and leg.purpose is Purpose.PRODUCTION:
            self._sampler.leg(leg)
