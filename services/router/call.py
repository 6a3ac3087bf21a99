"""A leg in progress: from the decision to call an upstream until the book has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from multidict import CIMultiDict
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from services.common.errors import Reason
from services.common.ids import uuid7
from services.common.telemetry import attributes as names
from services.common.words import Outcome, Purpose, Target, label
from services.router.core import catalog, wire
from services.router.core.keys import Key
from services.router.core.leg import Leg
from services.router.core.naming import Name
from services.router.core.usage import UNKNOWN, Usage, estimated, prompt_chars

Book = Callable[[Leg, Key], None]
"""Takes a finished leg and the key that asked for it."""

MAX_MODEL_CHARS = 200
"""Characters of a model's name that are kept: it is the upstream's word, and goes into headers and rows."""

_OPERATIONS = {
    catalog.CHAT: "chat",
    catalog.RESPONSES: "chat",
    catalog.MESSAGES: "chat",
    catalog.COMPLETIONS: "text_completion",
    catalog.EMBEDDINGS: "embeddings",
}
"""`gen_ai.operation.name` of each call."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a door hands it over: authenticated and parsed."""

    request: wire.Request
    key: Key
    span: Span
    """The door's server span, under which everything happens."""
    answer_as: str | None
    """The `model` that the application shall see; None leaves the upstream's."""
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    """Headers for the upstream."""
    workload: str = ""
    """What the caller declared."""
    conversation: str = ""
    purpose: Purpose = Purpose.PRODUCTION
    target: Target | None = None
    """Set only with a purpose other than PRODUCTION."""
    sample_id: bytes = b""


@dataclass(frozen=True, slots=True)
class Decided:
    """What Homeward decided about a request, for headers and the gRPC `Route`."""

    request_id: bytes
    leg_id: bytes
    trace_id: str
    name: Name
    target: Target
    upstream: str
    model: str
    policy_version: int
    policy_age_s: int | None
    """How old the policy is if no ledger answers; None while it is known to be the last."""


class Follower(Protocol):
    """Is told of the answer of a leg."""

    def feed(self, data: bytes) -> None:
        """Takes a piece of a streamed answer, as the application got it."""

    def finished(self, call: Call, outcome: Outcome) -> None:
        """The leg has ended."""


class Call:
    """A leg in progress."""

    def __init__(
        self,
        book: Book,
        tracer: trace.Tracer,
        ask: Ask,
        name: Name,
        route: catalog.Route,
        request_id: bytes,
        policy_version: int,
        leg_id: bytes = b"",
        policy_age_s: int | None = None,
    ) -> None:
        """`leg_id` is the id under which money was set aside for the leg; empty makes one."""
        self.route = route
        self.model = route.model
        self.usage = UNKNOWN
        self.attempts = 1
        self.http_status = 0
        self.error_reason = ""
        self.stepped_in = False
        """True if the sovereign target was asked first and failed."""
        self.follower: Follower | None = None
        self._book = book
        self._ask = ask
        self._name = name
        self._request_id = request_id
        self._policy_version = policy_version
        self._policy_age_s = policy_age_s
        self._start_unix_ns = time.time_ns()
        self._start_ns = time.perf_counter_ns()
        self._ttft_us: int | None = None
        self._finished = False
        self._leg_id = leg_id or uuid7(self._start_unix_ns)
        operation = _OPERATIONS[ask.request.api]
        self._span = tracer.start_span(
            f"{operation} {route.model}",
            context=trace.set_span_in_context(ask.span),
            kind=SpanKind.CLIENT,
            attributes={
                names.GEN_AI_OPERATION_NAME: operation,
                names.GEN_AI_PROVIDER_NAME: route.upstream.provider,
                names.GEN_AI_REQUEST_MODEL: route.model,
                names.TARGET: label(route.upstream.target),
                names.UPSTREAM: route.upstream.name,
                names.PURPOSE: label(ask.purpose),
            },
        )
        if policy_age_s is not None:
            self._span.set_attribute(names.POLICY_AGE_S, policy_age_s)

    def traceparent(self) -> str:
        """The leg's own trace context (W3C)."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def headers(self) -> CIMultiDict[str]:
        """The headers for the upstream: the application's, and the leg's own trace context."""
        headers = self._ask.headers.copy()
        context = self._span.get_span_context()
        headers["traceparent"] = self.traceparent()
        if context.trace_state:
            headers["tracestate"] = context.trace_state.to_header()
        headers["Content-Type"] = "application/json"
        # Homeward reads what it passes on, and the network between servers is not what is scarce.
        headers["Accept-Encoding"] = "identity"
        return headers

    def retried(self, attempt: int, problem: str, wait_s: float) -> None:
        """Notes a failed try."""
        self.attempts = attempt + 1
        self._span.add_event("retry", {"attempt": attempt, "problem": problem, "wait_s": round(wait_s, 3)})

    def first_byte(self) -> None:
        """Notes that the answer has begun."""
        if self._ttft_us is None:
            self._ttft_us = (time.perf_counter_ns() - self._start_ns) // 1000

    def read(self, stream: wire.StreamCodec) -> None:
        """Takes over what a stream has said of itself."""
        self.usage = stream.usage
        self.served_by(stream.model)

    def served_by(self, model: str) -> None:
        """Takes over what the upstream calls the model that served, if it says so."""
        self.model = model[:MAX_MODEL_CHARS] or self.model

    def estimate(self, counted: Usage, output_chars: int) -> None:
        """Fills in a usage that the upstream did not get to report: what was counted here, or a guess."""
        said = self.usage
        if said.output_tokens:
            return
        if counted.output_tokens is not None:
            self.usage = counted
            return
        self.usage = estimated(prompt_chars(self._ask.request.body), output_chars)
        # A message's stream tells the prompt's counts in its first event.
        if said.input_tokens is not None:
            self.usage = replace(
                self.usage,
                input_tokens=said.input_tokens,
                cached_input_tokens=said.cached_input_tokens,
                cache_write_tokens=said.cache_write_tokens,
            )

    def cancelled(self) -> None:
        """Ends the leg because the application gave up."""
        self.error_reason = Reason.CANCELLED
        self.finish(Outcome.CANCELLED)

    def finish(self, outcome: Outcome) -> None:
        """Ends the span and books the leg, once."""
        if self._finished:
            return
        self._finished = True
        latency_us = (time.perf_counter_ns() - self._start_ns) // 1000
        ask, span, usage = self._ask, self._span, self.usage
        context = span.get_span_context()
        if span.is_recording():
            attributes: dict[str, str | int] = {
                names.GEN_AI_RESPONSE_MODEL: self.model,
                names.OUTCOME: label(outcome),
                names.ATTEMPTS: self.attempts,
                names.LEG_ID: self._leg_id.hex(),
            }
            if self.http_status:
                attributes[names.HTTP_STATUS_CODE] = self.http_status
            if usage.output_tokens is not None:
                attributes[names.GEN_AI_USAGE_INPUT_TOKENS] = (usage.input_tokens or 0) + (
                    usage.cached_input_tokens or 0
                )
                attributes[names.GEN_AI_USAGE_CACHED_INPUT_TOKENS] = usage.cached_input_tokens or 0
                attributes[names.GEN_AI_USAGE_OUTPUT_TOKENS] = usage.output_tokens + (
                    usage.reasoning_tokens or 0
                )
            if self._ttft_us is not None:
                attributes[names.TTFT_US] = self._ttft_us
            span.set_attributes(attributes)
            if outcome is not Outcome.OK:
                span.set_attribute(names.ERROR_TYPE, self.error_reason)
                span.set_status(StatusCode.ERROR, label(outcome))
            span.end()
        request = ask.request
        upstream = self.route.upstream
        self._book(
            Leg(
                leg_id=self._leg_id,
                request_id=self._request_id,
                trace_id=context.trace_id.to_bytes(16, "big"),
                span_id=context.span_id.to_bytes(8, "big"),
                trace_sampled=context.trace_flags.sampled,
                start_unix_ns=self._start_unix_ns,
                workload=self._name.workload,
                evidence=self._name.evidence,
                task_type=self._name.task_type,
                key_name=ask.key.name,
                purpose=ask.purpose,
                target=upstream.target,
                upstream=upstream.name,
                provider=upstream.provider,
                region=upstream.region,
                model_requested=request.model,
                model=self.model,
                api=request.api,
                streamed=request.streamed,
                usage=usage,
                latency_us=latency_us,
                ttft_us=self._ttft_us,
                outcome=outcome,
                http_status=self.http_status,
                error_reason=self.error_reason,
                attempts=self.attempts,
                policy_version=self._policy_version,
                sample_id=ask.sample_id,
            ),
            ask.key,
        )
        if self.follower is not None:
            self.follower.finished(self, outcome)

    def decided(self) -> Decided:
        """What the application is told."""
        return Decided(
            request_id=self._request_id,
            leg_id=self._leg_id,
            trace_id=f"{self._span.get_span_context().trace_id:032x}",
            name=self._name,
            target=self.route.upstream.target,
            upstream=self.route.upstream.name,
            model=self.model,
            policy_version=self._policy_version,
            policy_age_s=self._policy_age_s,
        )
