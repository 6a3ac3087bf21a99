"""Which servers a model has, and in which order they are tried."""

from collections.abc import Callable

import pytest

from services.common.errors import DomainError, Reason
from services.common.words import Target
from services.router.core.catalog import (
    CHAT,
    EMBEDDINGS,
    MAX_NAME_CHARS,
    MESSAGES,
    RESPONSES,
    Catalog,
    Route,
    Upstream,
    select,
)

MakeUpstream = Callable[..., Upstream]


@pytest.fixture
def catalog(upstream: MakeUpstream) -> Catalog:
    return Catalog(
        [
            upstream("openai", models=("gpt-4o*", "o?-mini"), apis=frozenset({CHAT, RESPONSES})),
            upstream("azure", models=("gpt-4o",)),
            upstream("triton", target=Target.SOVEREIGN, models=("qwen-[78]b", "mistral")),
            upstream("other", models=("o1-mini",), apis=frozenset({EMBEDDINGS})),
        ],
        {
            "small": [("triton", "qwen-7b"), ("openai", "gpt-4o-mini")],
            "gpt-4o-2024": [("triton", "mistral")],
        },
    )


@pytest.mark.parametrize(
    ("model", "routes"),
    [
        ("gpt-4o", [("openai", "gpt-4o"), ("azure", "gpt-4o")]),
        ("gpt-4o-mini", [("openai", "gpt-4o-mini")]),
        ("o1-mini", [("openai", "o1-mini"), ("other", "o1-mini")]),
        ("qwen-8b", [("triton", "qwen-8b")]),
        # A model with a setting has its routes, whatever the patterns say.
        ("small", [("triton", "qwen-7b"), ("openai", "gpt-4o-mini")]),
        ("gpt-4o-2024", [("triton", "mistral")]),
    ],
)
def test_a_model_has_the_routes_of_its_setting_or_of_the_patterns(
    catalog: Catalog, model: str, routes: list[tuple[str, str]]
) -> None:
    assert [(route.upstream.name, route.model) for route in catalog.routes(model)] == routes


@pytest.mark.parametrize("model", ["gpt-4", "GPT-4o", "o10-mini", "qwen-9b", "x" * 200])
def test_a_model_that_nobody_serves_is_refused_with_those_that_are_known(
    catalog: Catalog, model: str
) -> None:
    with pytest.raises(DomainError) as caught:
        catalog.routes(model)
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    assert caught.value.metadata == {
        "model": model[:80],
        "known": "gpt-4o, gpt-4o-2024, mistral, o1-mini, small",
    }
    assert len(caught.value.message) < 200


def test_a_star_alone_is_what_nobody_else_has(upstream: MakeUpstream) -> None:
    catalog = Catalog([upstream("all", models=("*",)), upstream("home", models=("llama-*",))], {})
    assert [route.upstream.name for route in catalog.routes("llama-8b")] == ["home"]
    assert [route.upstream.name for route in catalog.routes("gpt-4o")] == ["all"]


@pytest.mark.parametrize("pattern", ["gpt-*", "*"])
def test_a_name_that_is_too_long_is_nobodys(upstream: MakeUpstream, pattern: str) -> None:
    catalog = Catalog([upstream(models=(pattern,))], {})
    longest = "gpt-".ljust(MAX_NAME_CHARS, "x")
    assert [route.model for route in catalog.routes(longest)] == [longest]
    with pytest.raises(DomainError) as caught:
        catalog.routes(longest + "x")
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    assert len(caught.value.message) < 200
    assert all(len(value) < 200 for value in caught.value.metadata.values())


def test_of_many_models_ten_are_named(upstream: MakeUpstream) -> None:
    many = Catalog([upstream(models=tuple(f"m{number:02}" for number in range(30)))], {})
    with pytest.raises(DomainError) as caught:
        many.routes("gpt-9")
    assert caught.value.metadata["known"] == ", ".join(f"m{number:02}" for number in range(10))


def test_models_with_a_plain_name_are_listed_with_the_calls_that_they_offer(catalog: Catalog) -> None:
    assert catalog.listed() == [
        ("gpt-4o", {CHAT}),
        ("gpt-4o-2024", {CHAT}),
        ("mistral", {CHAT}),
        ("o1-mini", {EMBEDDINGS}),
        ("small", {CHAT, RESPONSES}),
    ]


@pytest.mark.parametrize(
    ("apis", "api", "offered"),
    [
        ({CHAT}, CHAT, True),
        ({CHAT}, RESPONSES, False),
        # By translation.
        ({CHAT}, MESSAGES, True),
        ({MESSAGES}, MESSAGES, True),
        ({MESSAGES}, CHAT, True),
        ({MESSAGES}, RESPONSES, False),
        ({EMBEDDINGS}, MESSAGES, False),
        ({EMBEDDINGS}, CHAT, False),
    ],
)
def test_chat_and_messages_are_offered_where_either_is(
    upstream: MakeUpstream, apis: set[str], api: str, offered: bool
) -> None:
    assert upstream(apis=frozenset(apis)).offers(api) is offered


@pytest.fixture
def routes(upstream: MakeUpstream) -> list[Route]:
    home = {"target": Target.SOVEREIGN}
    return [
        Route(upstream("cloud-us", region="us"), "m"),
        Route(upstream("home-de", region="de", **home), "m"),
        Route(upstream("cloud-de", region="de", apis=frozenset({CHAT, EMBEDDINGS})), "m"),
        Route(upstream("home-fr", region="fr", **home), "m"),
    ]


def selected(
    routes: list[Route],
    *,
    target: Target,
    fallback: Target | None = None,
    regions: tuple[str, ...] = (),
    api: str = CHAT,
) -> list[str]:
    chosen = select(
        routes,
        api=api,
        model="m",
        target=target,
        regions=frozenset(regions),
        fallback_target=fallback,
        workload="triage",
    )
    return [route.upstream.name for route in chosen]


CLOUD, SOVEREIGN = Target.CLOUD, Target.SOVEREIGN


@pytest.mark.parametrize(
    ("target", "fallback", "regions", "api", "names"),
    [
        (CLOUD, None, (), CHAT, ["cloud-us", "cloud-de"]),
        (SOVEREIGN, None, (), CHAT, ["home-de", "home-fr"]),
        (SOVEREIGN, CLOUD, (), CHAT, ["home-de", "home-fr", "cloud-us", "cloud-de"]),
        (CLOUD, SOVEREIGN, (), CHAT, ["cloud-us", "cloud-de", "home-de", "home-fr"]),
        (SOVEREIGN, CLOUD, ("de",), CHAT, ["home-de", "cloud-de"]),
        (SOVEREIGN, CLOUD, ("us",), CHAT, ["cloud-us"]),
        (SOVEREIGN, CLOUD, (), EMBEDDINGS, ["cloud-de"]),
        (CLOUD, None, ("de", "us"), CHAT, ["cloud-us", "cloud-de"]),
    ],
)
def test_the_targets_servers_come_first_then_the_fallbacks(
    routes: list[Route],
    target: Target,
    fallback: Target | None,
    regions: tuple[str, ...],
    api: str,
    names: list[str],
) -> None:
    assert selected(routes, target=target, fallback=fallback, regions=regions, api=api) == names


def test_a_call_that_no_server_offers_is_refused(routes: list[Route]) -> None:
    with pytest.raises(DomainError) as caught:
        selected(routes, target=CLOUD, api=RESPONSES)
    assert caught.value.reason is Reason.API_NOT_SUPPORTED
    assert caught.value.metadata == {"model": "m", "api": RESPONSES}


@pytest.mark.parametrize(
    ("target", "fallback", "regions", "api", "allowed"),
    [
        (SOVEREIGN, None, ("us",), CHAT, "sovereign"),
        (SOVEREIGN, CLOUD, ("jp",), CHAT, "sovereign or cloud"),
        (SOVEREIGN, None, (), EMBEDDINGS, "sovereign"),
    ],
)
def test_a_request_leaves_neither_its_targets_nor_its_regions(
    routes: list[Route],
    target: Target,
    fallback: Target | None,
    regions: tuple[str, ...],
    api: str,
    allowed: str,
) -> None:
    with pytest.raises(DomainError) as caught:
        selected(routes, target=target, fallback=fallback, regions=regions, api=api)
    assert caught.value.reason is Reason.TARGET_NOT_ALLOWED
    assert caught.value.metadata == {"workload": "triage", "allowed": allowed, "model": "m"}
    assert all(region in caught.value.message for region in regions)
