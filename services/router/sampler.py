"""Follows requests of workloads that are compared, and hands those that are drawn to shadow.

The dispatcher has one `Follow` for each such request and tells it of the answer. What that costs the request
is a hash and, if it is drawn, a reference to its answer; the rest is done later and elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from services.common.sampling import is_sampled
from services.common.words import Outcome, UsageSource
from services.router.adapters.shadow import ShadowAdapter
from services.router.call import Ask, Call
from services.router.core import catalog
from services.router.core.leg import Leg
from services.router.core.policy import WorkloadPolicy
from services.router.core.sampling import Bar, Origin, Sample, Step, bar, own_row
from services.router.core.usage import Usage
from services.router.namer import Named

RAW_FACTOR = 16
"""Bytes of a body or a stream, for each byte that a sample may have, that are kept until they are read: an
event of a stream has about 250 bytes for a token."""

_COUNTED = frozenset({UsageSource.UPSTREAM, UsageSource.TOKENIZER})


class Sampler:
    """Follows requests. One a process."""

    def __init__(self, shadow: ShadowAdapter, sample_bytes: int) -> None:
        """`sample_bytes` is the most that question and answer may have together."""
        self._shadow = shadow
        self._raw_bytes = RAW_FACTOR * sample_bytes

    def follow(
        self,
        ask: Ask,
        named: Named,
        policy_row: WorkloadPolicy,
        row: WorkloadPolicy,
        routes: Sequence[catalog.Route],
        request_id: bytes,
    ) -> Follow | None:
        """Begins to follow a production request; None if it can't be compared, which is then counted.

        Args:
            policy_row: the workload's, which must have a sampling.
            row: the same within all data classes that bind the request.
            routes: all that serve its model.
        """
        sampling = policy_row.sampling
        assert sampling is not None
        origin = Origin(named.name.workload, sampling, time.time_ns())
        own = own_row(policy_row, named.own_classes, named.name.workload)
        barred = bar(ask.request, row, own, routes)
        if barred is not None:
            self._shadow.count(origin, Step.INELIGIBLE, barred)
            return None
        return Follow(self._shadow, origin, ask, named, request_id, self._raw_bytes, routes)

    def leg(self, leg: Leg) -> None:
        """Counts a finished production leg of a workload that is compared."""
        self._shadow.leg(leg)


class Follow:
    """A request of a workload that is compared, until its answer is whole or lost."""

    __slots__ = (
        *("_ask", "_left", "_named", "_origin", "_pieces", "_request_id", "_routes", "_sampled"),
        "_shadow",
    )

    def __init__(
        self,
        shadow: ShadowAdapter,
        origin: Origin,
        ask: Ask,
        named: Named,
        request_id: bytes,
        raw_bytes: int,
        routes: Sequence[catalog.Route],
    ) -> None:
        self._routes = routes
        self._shadow = shadow
        self._origin = origin
        self._ask = ask
        self._named = named
        self._request_id = request_id
        self._sampled = is_sampled(origin.sampling, request_id)
        self._left = raw_bytes
        self._pieces: list[bytes] = []

    def failed(self) -> None:
        """The application gets no whole answer."""
        self._pieces.clear()
        self._shadow.count(self._origin, Step.INELIGIBLE, Bar.FAILED)

    def feed(self, data: bytes) -> None:
        """Takes a piece of the answer."""
        if not self._sampled or self._left < 0:
            return
        self._left -= len(data)
        if self._left < 0:
            self._pieces.clear()
        else:
            self._pieces.append(data)

    def finished(self, call: Call, outcome: Outcome) -> None:
        """The answer has ended; if well, all its pieces have been taken."""
        if outcome is not Outcome.OK:
            self.failed()
        elif not self._sampled:
            self._shadow.count(self._origin, Step.ELIGIBLE)
        elif self._left < 0:
            self._shadow.count(self._origin, Step.INELIGIBLE, Bar.SIZE)
        else:
            self._shadow.add(self._sample(call))

    def _sample(self, call: Call) -> Sample:
        ask, decided = self._ask, call.decided()
        return Sample(
            origin=self._origin,
            request_id=self._request_id,
            leg_id=decided.leg_id,
            document=ask.request.document,
            request_bytes=len(ask.request.body),
            answer=b"".join(self._pieces),
            streamed=ask.request.streamed,
            conversation=self._named.conversation if ask.conversation else b"",
            key_name=ask.key.name,
            traceparent=call.traceparent(),
            target=decided.target,
            sovereign_failed=call.stepped_in,
            input_tokens=_prompt_tokens(call.usage),
            api=ask.request.api,
            headers=ask.headers,
            routes=self._routes,
        )


def _prompt_tokens(usage: Usage) -> int | None:
    counts = (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens)
    if usage.source not in _COUNTED or usage.input_tokens is None:
        return None
    return sum(count or 0 for count in counts)
