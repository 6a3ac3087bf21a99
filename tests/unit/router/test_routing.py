"""What is said of a model's name that nobody could have."""

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
