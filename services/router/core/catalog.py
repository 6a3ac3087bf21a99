"""Models and the upstreams that serve them."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.common.errors import DomainError, Reason
from services.common.words import Target

OPENAI = "openai"
ANTHROPIC = "anthropic"
TRITON = "triton"

CHAT = "chat.completions"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"
RESPONSES = "responses"
MESSAGES = "messages"

_TRANSLATED = {MESSAGES: CHAT, CHAT: MESSAGES}
"""What a call can be translated into."""

REST = "*"
"""The pattern of an upstream that takes every model that no other has."""
KEPT_NAMES = 4096
"""Model names whose routes are kept: more than anybody has, and a bound for those who make names up."""
MAX_NAME_CHARS = 256
"""Longest name of a model. A longer one is nobody's, and would stand in every row, span and header of its
legs."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server of models."""

    name: str
    target: Target
    protocol: str
    """OPENAI, ANTHROPIC or TRITON: what it speaks."""
    base_url: str
    """Without a slash at the end: `https://api.openai.com/v1`; empty for TRITON."""
    provider: str
    """Whose price list applies."""
    region: str
    models: tuple[str, ...]
    """Patterns (`gpt-4o*`) of the models that it serves under their own names."""
    apis: frozenset[str]
    """The kinds of call that it offers."""
    stream_usage: bool
    """True if it understands `stream_options.include_usage`."""
    too_long_moves: bool = True
    """True if a request that is too long for it may go to the next route."""

    def offers(self, api: str) -> bool:
        """True if it can serve that kind of call, by itself or after translation."""
        return api in self.apis or _TRANSLATED.get(api) in self.apis


@dataclass(frozen=True, slots=True)
class Route:
    """One place to send a request to."""

    upstream: Upstream
    model: str
    """What the model is called there."""


class Catalog:
    """Which routes a model has, in the order in which to try them."""

    def __init__(
        self, upstreams: Sequence[Upstream], models: Mapping[str, Sequence[tuple[str, str]]]
    ) -> None:
        """`models` gives (upstream name, model name there) pairs for each model with a setting."""
        by_name = {upstream.name: upstream for upstream in upstreams}
        self._resolve = lru_cache(KEPT_NAMES)(self._match)
        self._upstreams = upstreams
        self._models = {
            name: tuple(Route(by_name[upstream], model) for upstream, model in routes)
            for name, routes in models.items()
        }

    def routes(self, model: str) -> tuple[Route, ...]:
        """All routes of a model.

        Raises:
            DomainError: MODEL_NOT_FOUND.
        """
        routes = () if len(model) > MAX_NAME_CHARS else self._models.get(model) or self._resolve(model)
        if not routes:
            raise DomainError(
                Reason.MODEL_NOT_FOUND,
                f"no model {model[:80]!r} is configured; GET /v1/models lists those that are",
                model=model[:80],
                known=", ".join(name for name, _ in self.listed()[:10]),
            )
        return routes

    def _match(self, model: str) -> tuple[Route, ...]:
        chosen = [
            upstream
            for upstream in self._upstreams
            if any(fnmatch.fnmatchcase(model, item) for item in upstream.models if item != REST)
        ]
        rest = [upstream for upstream in self._upstreams if REST in upstream.models]
        return tuple(Route(upstream, model) for upstream in chosen or rest)

    def listed(self) -> list[tuple[str, frozenset[str]]]:
        """Names that can be listed (patterns can't) with the calls they offer, sorted."""
        names = dict(self._models)
        for upstream in self._upstreams:
            for pattern in upstream.models:
                if not any(sign in pattern for sign in "*?["):
                    names.setdefault(pattern, (Route(upstream, pattern),))
        return sorted(
            (name, frozenset().union(*(route.upstream.apis for route in routes)))
            for name, routes in names.items()
        )


def at_home_only(routes: Sequence[Route], api: str) -> bool:
    """True if all servers of a model that offer a call are sovereign."""
    able = [route.upstream for route in routes if route.upstream.offers(api)]
    return bool(able) and all(upstream.target is Target.SOVEREIGN for upstream in able)


def select(
    routes: Sequence[Route],
    *,
    api: str,
    model: str,
    target: Target,
    regions: frozenset[str],
    fallback_target: Target | None,
    workload: str,
) -> tuple[Route, ...]:
    """The routes that may be tried, the target's first, then those of the fallback's.

    Raises:
        DomainError: API_NOT_SUPPORTED if no server of the model offers the call, TARGET_NOT_ALLOWED if
            those that do are on no allowed target or in no allowed region.
    """
    able = [route for route in routes if route.upstream.offers(api)]
    if not able:
        raise DomainError(
            Reason.API_NOT_SUPPORTED,
            f"the servers of {model!r} do not offer {api}",
            model=model,
            api=api,
        )
    order = [target] if fallback_target is None else [target, fallback_target]
    chosen = [
        route
        for wanted in order
        for route in able
        if route.upstream.target is wanted and (not regions or route.upstream.region in regions)
    ]
    if not chosen:
        allowed = " or ".join(wanted.name.lower() for wanted in order)
        raise DomainError(
            Reason.TARGET_NOT_ALLOWED,
            f"the request may run only on {allowed}"
            + (f" in {', '.join(sorted(regions))}" if regions else "")
            + f", and no server of {model!r} is there",
            workload=workload,
            allowed=allowed,
            model=model,
        )
    return tuple(chosen)
