"""What may not leave a region or a target never does, on any leg: over random policies, classes and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from opentelemetry import trace

from services.common.errors import DomainError
from services.common.sampling import Sampling
from services.common.words import Evidence, Purpose, Stage, Target
from services.router.call import Ask
from services.router.core import catalog, wire
from services.router.core.data_classes import DataClass, DataClasses, bound
from services.router.core.keys import EXPERIMENTS, Key
from services.router.core.naming import Name, Registered, Rules, Table, declared
from services.router.core.policy import BOTH, PPM, WorkloadPolicy
from services.router.core.sampling import Bar, bar, own_row
from services.router.namer import Named
from services.router.routing import routes_of

REGIONS = ("eu", "us", "ch")
WORKLOADS = ("letters", "triage", "reports")
SAMPLING = Sampling(bytes(16), 1, PPM, bytes(16))
SHADOW_KEY = Key("shadow", bytes(32), scopes=frozenset({EXPERIMENTS}))
"""As the embedded stack has it: it lists no workload."""

TARGETS = st.sampled_from([BOTH] * 5 + [frozenset({target}) for target in Target])
SOME_REGIONS = st.sampled_from([frozenset[str]()] * 3 + [frozenset({"eu"}), frozenset({"eu", "us"})])
DATA_CLASSES = st.tuples(
    st.builds(DataClass, st.just("unrestricted"), st.just(BOTH), SOME_REGIONS),
    st.builds(DataClass, st.just("home"), st.just(frozenset({Target.SOVEREIGN})), SOME_REGIONS),
    st.builds(DataClass, st.just("eu-only"), st.just(BOTH), st.just(frozenset({"eu"}))),
    st.builds(DataClass, st.just("odd"), TARGETS, SOME_REGIONS),
)
TABLES = st.tuples(
    *(st.sampled_from(["unrestricted", "home", "home", "eu-only", "odd", "unknown"]) for _ in WORKLOADS)
).map(
    lambda classes: Table(
        1, {name: Registered(data_class=c) for name, c in zip(WORKLOADS, classes, strict=True)}
    )
)
ROWS = st.builds(
    WorkloadPolicy,
    st.sampled_from(Stage),
    st.just(PPM // 2),
    TARGETS,
    SOME_REGIONS,
    st.booleans(),
    st.just(SAMPLING),
)
NAMED = st.sampled_from([frozenset(), frozenset(WORKLOADS), *(frozenset({name}) for name in WORKLOADS)])
KEYS = st.builds(
    lambda names, listed: Key("crm", bytes(32), names if listed else None, names), NAMED, st.booleans()
)


def upstream(target: Target, region: str, pattern: str, apis: frozenset[str]) -> catalog.Upstream:
    name = f"{target.name}-{region}-{pattern}"
    return catalog.Upstream(name, target, catalog.OPENAI, "https://x", "x", region, (pattern,), apis, True)


UPSTREAMS = st.lists(
    st.builds(
        upstream,
        st.sampled_from(Target),
        st.sampled_from(("", *REGIONS)),
        st.sampled_from(["m", "m", "m", "*"]),
        st.sampled_from([frozenset({catalog.CHAT})] * 4 + [frozenset({catalog.EMBEDDINGS})]),
    ),
    min_size=3,
    max_size=6,
)


@dataclass(frozen=True)
class World:
    """All that decides where a request may run."""

    rules: Rules
    row: WorkloadPolicy
    models: catalog.Catalog
    workload: str


@st.composite
def worlds(draw: st.DrawFn) -> World:
    rules = Rules(draw(TABLES), DataClasses(draw(DATA_CLASSES)))
    return World(rules, draw(ROWS), catalog.Catalog(draw(UPSTREAMS), {}), draw(st.sampled_from(WORKLOADS)))


def request(**fields: Any) -> wire.Request:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return wire.parse_request(catalog.CHAT, orjson.dumps(body))


def ask(key: Key, purpose: Purpose = Purpose.PRODUCTION, target: Target | None = None) -> Ask:
    return Ask(request(), key, trace.INVALID_SPAN, None, purpose=purpose, target=target)


def allowed(row: WorkloadPolicy, route: catalog.Route) -> bool:
    upstream = route.upstream
    inside = not row.allowed_regions or upstream.region in row.allowed_regions
    return upstream.target in row.allowed_targets and inside


def legs_of_shadow(world: World, target: Target) -> Sequence[catalog.Route]:
    """Where a leg may go that shadow asks for, as the router works it out; empty if it is refused."""
    try:
        name = declared(world.workload, SHADOW_KEY, world.rules)
        assert name is not None
        named = Named(name, b"", world.rules.binding(SHADOW_KEY, name))
        row = bound(world.row, named.classes, world.workload)
        return routes_of(world.models, ask(SHADOW_KEY, Purpose.SHADOW, target), named, row)
    except DomainError:
        return ()


@settings(max_examples=600)
@given(worlds(), KEYS, st.booleans(), st.binary(max_size=8))
def test_no_leg_of_a_sampled_request_reaches_where_the_request_may_not(
    world: World, key: Key, certain: bool, conversation: bytes
) -> None:
    evidence = Evidence.DECLARED if certain else Evidence.EXAMPLES
    name = Name(world.workload, evidence, certain=certain)
    assume(world.rules.may_use(key, world.workload))
    named = Named(name, conversation, world.rules.binding(key, name))
    try:
        row = bound(world.row, named.classes, world.workload)
        own_legs = routes_of(world.models, ask(key), named, row)
    except DomainError:
        # It runs nowhere, so there is nothing to compare.
        return
    assert all(allowed(row, route) for route in own_legs)
    own = own_row(world.row, named.own_classes, world.workload)
    barred = bar(request(), row, own, world.models.routes("m"))
    event(f"barred: {barred}")
    if barred is not None:
        return
    for target in Target:
        legs = legs_of_shadow(world, target)
        event(f"legs at {target.name}: {bool(legs)}")
        for route in legs:
            assert route.upstream.target is target
            assert allowed(row, route)


@given(worlds(), KEYS)
def test_legs_of_a_class_that_is_kept_from_the_cloud_are_never_asked_for(world: World, key: Key) -> None:
    """Restricted work is not compared at all: there is nothing in the cloud to compare it with."""
    name = Name(world.workload, Evidence.DECLARED, certain=True)
    classes = world.rules.binding(key, name)
    assume(any(item.restricted for item in classes))
    try:
        row = bound(world.row, classes, world.workload)
    except DomainError:
        return
    own = own_row(world.row, classes, world.workload)
    assert bar(request(), row, own, world.models.routes("m") if _served(world) else ()) is Bar.BOUND


def _served(world: World) -> bool:
    try:
        return bool(world.models.routes("m"))
    except DomainError:
        return False
