"""Which requests can be compared, and what makes two of them one vote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from services.common.sampling import Sampling
from services.common.words import Target
from services.router.core import catalog, wire
from services.router.core.data_classes import DataClass
from services.router.core.policy import UNNAMED, WorkloadPolicy
from services.router.core.sampling import Bar, Origin, Sample, bar, cluster, own_row, tenant

CLOUD, SOVEREIGN = Target.CLOUD, Target.SOVEREIGN
ORIGIN = Origin("triage", Sampling(bytes(16), 1, 10_000, bytes(16)), 0)
EU = frozenset({"eu"})


def request(api: str = catalog.CHAT, **fields: Any) -> wire.Request:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "input": "Hi",
        "prompt": "Hi",
        **fields,
    }
    return wire.parse_request(api, orjson.dumps(body))


@pytest.mark.parametrize(
    ("asked", "row", "own", "served", "expected"),
    [
        (request(), UNNAMED, UNNAMED, [CLOUD, SOVEREIGN], None),
        (request(catalog.MESSAGES), UNNAMED, UNNAMED, [CLOUD, SOVEREIGN], None),
        (request(n=1), UNNAMED, UNNAMED, [CLOUD], None),
        (request(n=None), UNNAMED, UNNAMED, [CLOUD], None),
        (request(n=2), UNNAMED, UNNAMED, [CLOUD], Bar.CHOICES),
        *(
            (request(api), UNNAMED, UNNAMED, [CLOUD], Bar.API)
            for api in (catalog.COMPLETIONS, catalog.EMBEDDINGS, catalog.RESPONSES)
        ),
        (request(), replace(UNNAMED, allowed_targets=frozenset({CLOUD})), UNNAMED, [CLOUD], Bar.BOUND),
        (request(), replace(UNNAMED, allowed_targets=frozenset({SOVEREIGN})), UNNAMED, [CLOUD], Bar.BOUND),
        (request(), replace(UNNAMED, allowed_regions=EU), UNNAMED, [CLOUD], Bar.BOUND),
        (request(), UNNAMED, None, [CLOUD], Bar.BOUND),
        # A model that only runs at home.
        (request(), UNNAMED, UNNAMED, [SOVEREIGN], Bar.BOUND),
        (
            request(),
            replace(UNNAMED, allowed_regions=EU),
            replace(UNNAMED, allowed_regions=EU),
            [CLOUD],
            Bar.BOUND,
        ),
    ],
)
def test_a_request_is_barred_for_a_reason(
    upstream: Callable[..., catalog.Upstream],
    asked: wire.Request,
    row: WorkloadPolicy,
    own: WorkloadPolicy | None,
    served: list[Target],
    expected: Bar | None,
) -> None:
    routes = [catalog.Route(upstream(target=target, region="us"), "m") for target in served]
    assert bar(asked, row, own, routes) is expected


def test_a_workload_whose_class_allows_nothing_has_no_row_of_its_own() -> None:
    assert own_row(UNNAMED, [DataClass("gone", frozenset(), known=False)], "triage") is None
    assert own_row(UNNAMED, [], "triage") is UNNAMED


def sample(*texts: Any, conversation: bytes = b"", key: str = "crm", **fields: Any) -> Sample:
    messages = [{"role": "user", "content": text} for text in texts]
    document = {"model": "m", "messages": messages, **fields}
    return Sample(ORIGIN, b"r", b"l", document, 1, b"", False, conversation, key, "", CLOUD, False, None)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (sample("a"), sample("a"), True),
        (sample("a"), sample("a", key="shop", temperature=1), True),
        (sample("a"), sample([{"type": "text", "text": "a"}]), True),
        (sample("a"), sample("b"), False),
        (sample("a", "b"), sample("ab"), False),
        (sample("a", "b"), sample("b", "a"), False),
        (sample("a", conversation=b"c"), sample("b", conversation=b"c"), True),
        (sample("a", conversation=b"c"), sample("a", conversation=b"d"), False),
        (sample("a", conversation=b"c"), sample("a"), False),
    ],
)
def test_a_declared_conversation_or_the_same_texts_are_one_cluster(
    one: Sample, other: Sample, together: bool
) -> None:
    assert (cluster(one) == cluster(other)) is together
    assert len(cluster(one)) == 16


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (sample("a"), sample("b"), True),
        (sample("a", user="ann"), sample("b", user="ann"), True),
        (sample("a", user="ann"), sample("a", user="bob"), False),
        (sample("a", user="ann"), sample("a", user="ann", key="shop"), False),
        (sample("a", user=7), sample("a"), True),
    ],
)
def test_a_tenant_is_a_key_and_the_user_that_it_names(one: Sample, other: Sample, together: bool) -> None:
    assert (tenant(one) == tenant(other)) is together


def test_half_a_surrogate_pair_has_a_cluster() -> None:
    assert len(cluster(sample("\ud83d"))) == 16
