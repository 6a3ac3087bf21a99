"""`[upstreams.NAME]`, `[models.NAME]` and `[timeouts]`: the servers of models, and what is served where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from services.common.settings import Section, TargetName
from services.common.words import Target
from services.router.config.triton import TritonSettings
from services.router.core.catalog import CHAT, COMPLETIONS, Catalog, Upstream

TRITON_APIS = frozenset({CHAT, COMPLETIONS})
"""The calls that a server of prompts can serve."""

ApiName = Literal["chat.completions", "completions", "embeddings", "responses", "messages"]


class Timeouts(Section):
    """`[timeouts]`: how long an upstream may take, and how often it is tried."""

    connect_s: float = Field(default=5, gt=0)
    """To open a connection."""
    first_token_s: float = Field(default=60, gt=0)
    """From a streamed call to its first event."""
    silence_s: float = Field(default=30, gt=0)
    """Between two pieces of an answer."""
    answer_s: float = Field(default=600, gt=0)
    """From a call that is not streamed to its answer's first byte."""
    max_attempts: int = Field(default=3, ge=1, le=10)
    """Tries of one upstream, before the application has got a byte."""
    retry_base_s: float = Field(default=0.25, ge=0)
    """Upper limit of the first wait; it doubles with each try, and the wait is drawn below it."""
    retry_max_wait_s: float = Field(default=8, ge=0)
    """Longest wait between tries. An upstream whose Retry-After asks for more is not tried again."""
    breaker_failures: int = Field(default=5, ge=1)
    """Failures in a row after which an upstream is left alone."""
    breaker_cooldown_s: float = Field(default=10, gt=0)
    """For how long."""


class UpstreamSettings(Section):
    """`[upstreams.NAME]`: a server of models."""

    target: TargetName = "cloud"
    """Which target it belongs to."""
    protocol: Literal["openai", "anthropic", "triton"] = "openai"
    """What it speaks. `triton` is TensorRT-LLM's tensor contract; `[triton.NAME]` says where."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """Where: with the version, without a slash at the end: `https://api.openai.com/v1`. Not for `triton`."""
    api_key: str = Field(default="", repr=False)
    """The key that Homeward sends there. Better by `api_key_env`."""
    api_key_env: str = ""
    """Name of the environment variable that has the key."""
    provider: str = ""
    """Whose price list applies (a provider of genai-prices, or of `[[prices]]`); default: the name."""
    region: str = ""
    """Where it runs, in the words that the data classes' `regions` use."""
    models: list[str] = []
    """Models that it serves under their own names; `*` matches any text, and `*` alone is every
    model that no other upstream has."""
    apis: list[ApiName] = ["chat.completions", "completions", "embeddings", "responses"]
    """The calls that it offers. With protocol = "anthropic" it must be `["messages"]`, and chat completions
    are translated to it; `triton` has the first two."""
    stream_usage: bool = True
    """Whether it understands `stream_options.include_usage`."""

    def offered(self) -> frozenset[str]:
        """The calls that it offers: those that were set, or what its protocol has."""
        if self.protocol == "triton" and "apis" not in self.model_fields_set:
            return TRITON_APIS
        return frozenset(self.apis)


class RouteSettings(Section):
    """One entry of a model's `routes`."""

    upstream: str
    """The name of an `[upstreams.NAME]`."""
    model: str
    """What the model is called there."""


class ModelSettings(Section):
    """`[models.NAME]`: a model that applications may ask for by that name."""

    routes: list[RouteSettings] = Field(min_length=1)
    """Where it is served, in the order in which to try."""


def check_upstreams(
    upstreams: Mapping[str, UpstreamSettings],
    triton: Mapping[str, TritonSettings],
    models: Mapping[str, ModelSettings],
) -> None:
    """Checks what one section says of another.

    Raises:
        ValueError: something does not fit; the message begins with its place.
    """
    if not upstreams:
        raise ValueError("upstreams: at least one [upstreams.NAME] is needed")
    for name, upstream in upstreams.items():
        if upstream.protocol == "anthropic" and upstream.apis != ["messages"]:
            raise ValueError(f'upstreams.{name}.apis: expected ["messages"] with protocol = "anthropic"')
        if upstream.protocol != "anthropic" and "messages" in upstream.apis:
            raise ValueError(f'upstreams.{name}.apis: "messages" needs protocol = "anthropic"')
        if upstream.protocol == "triton":
            if name not in triton:
                raise ValueError(f'upstreams.{name}: protocol = "triton" needs a section [triton.{name}]')
            if not upstream.offered() <= TRITON_APIS:
                raise ValueError(f"upstreams.{name}.apis: expected some of {', '.join(sorted(TRITON_APIS))}")
        elif not upstream.base_url:
            raise ValueError(f"upstreams.{name}.base_url: missing")
    for name in triton:
        if name not in upstreams or upstreams[name].protocol != "triton":
            raise ValueError(f'triton.{name}: expected an [upstreams.{name}] with protocol = "triton"')
    for model, settings in models.items():
        for index, route in enumerate(settings.routes):
            if route.upstream not in upstreams:
                raise ValueError(
                    f"models.{model}.routes.{index}.upstream: expected one of"
                    f" {', '.join(sorted(upstreams))}, got {route.upstream!r}"
                )


def catalog_of(
    upstreams: Mapping[str, UpstreamSettings],
    triton: Mapping[str, TritonSettings],
    models: Mapping[str, ModelSettings],
) -> Catalog:
    """The models and where they are served."""
    served = [
        Upstream(
            name=name,
            target=Target[item.target.upper()],
            protocol=item.protocol,
            base_url=(item.base_url or "").rstrip("/"),
            provider=item.provider or name,
            region=item.region,
            models=tuple(item.models),
            apis=item.offered(),
            stream_usage=item.stream_usage,
            too_long_moves=name not in triton or triton[name].context_overflow == "cloud",
        )
        for name, item in upstreams.items()
    ]
    routes = {name: [(route.upstream, route.model) for route in item.routes] for name, item in models.items()}
    return Catalog(served, routes)
