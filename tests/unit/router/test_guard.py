"""What the guard says in a span and counts, that a workload without detectors costs nothing, and that no
policy sends a hit to the cloud."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.errors import DomainError, Reason
from services.common.words import Evidence, Purpose, Stage, Target
from services.router.call import Ask
from services.router.core import catalog, wire
from services.router.core.detectors import Kind
from services.router.core.keys import Key
from services.router.core.naming import Name
from services.router.core.personal_data import Detectors, Hit, OnHit, Rules, explained, kept_home
from services.router.core.policy import BOTH, PPM, WorkloadPolicy
from services.router.guard import INLINE_BYTES, Guard
from services.router.namer import Named
from services.router.routing import only_home, routes_of

IBAN = "DE89370400440532013000"
RULES = Rules(
    {
        "payroll": Detectors(frozenset({Kind.IBAN, Kind.EMAIL}), OnHit.SOVEREIGN),
        "mail": Detectors(frozenset({Kind.EMAIL}), OnHit.MASK),
    }
)


def asked(text: str) -> tuple[Ask, InMemorySpanExporter]:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})
    request = wire.parse_request(catalog.CHAT, body)
    return Ask(request, Key("crm", bytes(32)), provider.get_tracer("test").start_span("POST"), None), spans


def declared(workload: str) -> Name:
    return Name(workload, Evidence.DECLARED, certain=True)


async def test_a_span_says_the_kinds_and_never_the_text() -> None:
    guard = Guard(RULES)
    ask, spans = asked(f"{IBAN} and jane@example.com")
    hit = await guard.look(ask, declared("payroll"))
    assert hit is not None
    ask.span.end()
    (span,) = spans.get_finished_spans()
    assert dict(span.attributes or {}) == {
        "homeward.personal_data.kinds": "email, iban",
        "homeward.personal_data.on_hit": "sovereign",
    }


async def test_requests_with_a_hit_are_counted_by_kind() -> None:
    guard = Guard(RULES)
    for text, workload in ((IBAN, "payroll"), (f"{IBAN} {IBAN}", "payroll"), ("jane@example.com", "mail")):
        await guard.look(asked(text)[0], declared(workload))
    await guard.look(asked(IBAN)[0], declared("mail"))
    assert guard.hits == {("payroll", "iban", "sovereign"): 2, ("mail", "email", "mask"): 1}


async def test_a_long_request_is_read_too() -> None:
    hit = await Guard(RULES).look(asked("a " * INLINE_BYTES + IBAN)[0], declared("payroll"))
    assert hit is not None
    assert hit.kinds == (Kind.IBAN,)


async def test_without_detectors_nothing_is_read() -> None:
    ask, spans = asked(IBAN)
    for guard, workload in ((Guard(Rules()), "payroll"), (Guard(RULES), "other")):
        assert await guard.look(ask, declared(workload)) is None
        assert not guard.hits
    ask.span.end()
    assert not spans.get_finished_spans()[0].attributes


HIT = Hit((Kind.IBAN,), sovereign=True, masked=None)
ASK = Ask(
    wire.parse_request(catalog.CHAT, b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'),
    Key("crm", bytes(32)),
    trace.INVALID_SPAN,
    None,
)
ROWS = st.builds(
    WorkloadPolicy,
    st.sampled_from(Stage),
    st.integers(0, PPM),
    st.sampled_from([BOTH, *(frozenset({target}) for target in Target)]),
    st.sampled_from([frozenset(), frozenset({"eu"})]),
    st.booleans(),
)
SERVERS = st.lists(st.tuples(st.sampled_from(Target), st.sampled_from(["eu", "us"])), max_size=4)
ASKED_FOR = st.sampled_from([None, *Target])


@given(ROWS, SERVERS, ASKED_FOR, st.binary(min_size=1, max_size=8))
def test_no_policy_sends_a_hit_to_the_cloud(
    row: WorkloadPolicy, servers: list[tuple[Target, str]], target: Target | None, conversation: bytes
) -> None:
    upstreams = [
        catalog.Upstream(
            str(n), where, catalog.OPENAI, "https://x", "x", region, ("m",), frozenset({catalog.CHAT}), True
        )
        for n, (where, region) in enumerate(servers)
    ]
    models = catalog.Catalog(upstreams, {})
    purpose = Purpose.PRODUCTION if target is None else Purpose.SHADOW
    ask = replace(ASK, target=target, purpose=purpose)
    refusal = DomainError(Reason.BUDGET_EXHAUSTED, "over")
    try:
        kept = kept_home(row, HIT, "payroll")
        routes = routes_of(models, ask, Named(declared("payroll"), conversation, []), kept)
        more = only_home(models, ask, kept, "payroll", refusal) if target is None else ()
    except DomainError as error:
        if error.reason not in (Reason.TARGET_NOT_ALLOWED, Reason.MODEL_NOT_FOUND):
            raise
        return
    assert {route.upstream.target for route in (*routes, *more)} == {Target.SOVEREIGN}


@pytest.mark.parametrize("reason", [Reason.TARGET_NOT_ALLOWED, Reason.MODEL_NOT_FOUND])
def test_a_refusal_names_the_kinds_if_they_are_the_reason(reason: Reason) -> None:
    error = explained(DomainError(reason, "no server is there", workload="payroll"), HIT)
    assert ("personal data (iban)" in str(error)) == (reason is Reason.TARGET_NOT_ALLOWED)
    assert error.metadata == {"workload": "payroll"}
    assert explained(error, None) is error
