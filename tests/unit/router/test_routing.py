"""What is said of a model's name that nobody could have, and of a region that a data class does not allow."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from opentelemetry import trace

from services.common.errors import DomainError, Reason
from services.common.words import Evidence, Purpose, Target
from services.router.call import Ask
from services.router.core import catalog, wire
from services.router.core.keys import Key
from services.router.core.naming import Name
from services.router.core.policy import WorkloadPolicy
from services.router.namer import Named
from services.router.routing import routes_of


def messages(**fields: object) -> Ask:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9, **fields}
    span = trace.get_tracer("test").start_span("POST")
    return Ask(wire.parse_request(catalog.MESSAGES, orjson.dumps(body)), Key("crm", bytes(32)), span, None)


@pytest.mark.parametrize(
    ("fields", "regions", "refused"),
    [
        ({}, {"eu"}, False),
        ({"inference_geo": None}, {"eu"}, False),
        ({"inference_geo": "eu"}, {"eu", "ch"}, False),
        ({"inference_geo": "us"}, set(), False),
        ({"inference_geo": "us"}, {"eu"}, True),
        ({"inference_geo": "global"}, {"eu", "us"}, True),
        ({"inference_geo": ""}, {"eu"}, True),
        ({"inference_geo": ["eu"]}, {"eu"}, True),
    ],
)
def test_a_request_that_asks_for_a_region_gets_only_one_that_its_data_class_allows(
    upstream: Callable[..., catalog.Upstream], fields: dict[str, object], regions: set[str], refused: bool
) -> None:
    models = catalog.Catalog([upstream(models=("m",), region="eu", apis=frozenset({catalog.MESSAGES}))], {})
    row = WorkloadPolicy(allowed_targets=frozenset({Target.CLOUD}), allowed_regions=frozenset(regions))
    named = Named(Name("triage", Evidence.DECLARED), b"c", [])
    if not refused:
        assert [route.model for route in routes_of(models, messages(**fields), named, row)] == ["m"]
        return
    with pytest.raises(DomainError, match="inference_geo") as caught:
        routes_of(models, messages(**fields), named, row)
    assert caught.value.reason is Reason.TARGET_NOT_ALLOWED
    assert caught.value.metadata == {
        "workload": "triage",
        "allowed": ", ".join(sorted(regions)),
        "model": "m",
    }


@pytest.mark.parametrize("target", [None, *Target])
def test_a_name_that_is_too_long_is_not_found_and_not_repeated(
    upstream: Callable[..., catalog.Upstream], target: Target | None
) -> None:
    body = orjson.dumps({"model": "gpt-".ljust(20_000, "x"), "messages": [{"role": "user", "content": "Hi"}]})
    ask = Ask(
        wire.parse_request(catalog.CHAT, body),
        Key("crm", bytes(32)),
        trace.get_tracer("test").start_span("POST"),
        None,
        purpose=Purpose.PRODUCTION if target is None else Purpose.SHADOW,
        target=target,
    )
    models = catalog.Catalog([upstream(models=("gpt-*",))], {})
    row = WorkloadPolicy(allowed_targets=frozenset({Target.CLOUD}))
    with pytest.raises(DomainError) as caught:
        routes_of(models, ask, Named(Name("triage", Evidence.DECLARED), b"c", []), row)
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    assert all(len(text) < 200 for text in (caught.value.message, *caught.value.metadata.values()))
