"""The adapter to models that run at home: a chat request in, OpenAI's answer out, over replicas of Triton.

A request is tried on another replica as long as the application has got nothing of its answer. A whole
answer is given at its end, so until then; a streamed one until its first piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import orjson
from multidict import CIMultiDict

from services.common.errors import DomainError, Reason
from services.router.adapters.generation import ReplicaError
from services.router.adapters.home import Home, Work
from services.router.adapters.model_folder import ModelFolder, Prompt
from services.router.adapters.sovereign_exchange import SovereignExchange
from services.router.adapters.upstreams import OnRetry
from services.router.config import Timeouts, TritonSettings
from services.router.core import catalog, wire
from services.router.core.catalog import Route
from services.router.core.failures import unreachable
from services.router.core.sovereign.plan import Plan, parse_chat, parse_completion
from services.router.core.sovereign.refusals import context_exceeded

_FORWARDED = ("traceparent", "tracestate", "x-request-id")
"""Headers that Triton's trace goes on from, and names the request by."""
SAMPLED = 1
"""The flag of a `traceparent` whose trace is recorded (W3C Trace Context, 3.2.2.5)."""
LONG_PROMPT_CHARS = 50_000
"""Longer conversations are written and counted in a thread, which takes ten milliseconds and more."""


class SovereignAdapter:
    """Calls upstreams with protocol = "triton". One a process."""

    def __init__(self, timeouts: Timeouts, settings: Mapping[str, TritonSettings]) -> None:
        """Needs a running event loop.

        Raises:
            SettingsError: a model's folder is not one.
        """
        self._timeouts = timeouts
        self._homes = {name: Home(name, item) for name, item in settings.items()}

    async def call(
        self,
        route: Route,
        path: str,
        body: bytes,
        headers: CIMultiDict[str],
        *,
        streamed: bool,
        on_retry: OnRetry,
    ) -> SovereignExchange:
        """Has a replica answer, and waits for the first piece of a stream or the end of a whole answer.

        Raises:
            DomainError: INVALID_REQUEST, FEATURE_NOT_SUPPORTED, CONTEXT_LENGTH_EXCEEDED, REPLICAS_BUSY,
                UPSTREAM_UNREACHABLE or UPSTREAM_TIMEOUT.
        """
        home = self._homes[route.upstream.name]
        work = await self._prepare(home, route, path, body, headers)
        tried: list[str] = []
        failure: DomainError | None = None
        while True:
            try:
                replica = home.pool.choose(work.prompt.text, work.estimated_tokens, tried)
            except DomainError as error:
                if failure is not None and error.reason is Reason.UPSTREAM_UNREACHABLE:
                    raise failure from None
                raise
            exchange = SovereignExchange(home, replica, route, work, len(tried) + 1, self._timeouts)
            try:
                await exchange.begin()
                return exchange
            except (DomainError, ReplicaError) as error:
                exchange.close(whole=False)
                tried.append(replica.name)
                if isinstance(error, ReplicaError) and error.refused:
                    raise _rejected(route, error) from None
                if isinstance(error, ReplicaError) and error.full:
                    failure = _full(home, error, len(tried))
                else:
                    home.watches[replica.name].suspect()
                    failure = _failure(route, error, len(tried))
                if len(tried) >= self._timeouts.max_attempts:
                    raise failure from None
                on_retry(len(tried), failure.message, 0.0)
            except BaseException:
                exchange.close(whole=False)
                raise

    def succeeded(self, route: Route) -> None:
        """Nothing: the replicas are watched one by one."""

    def failed_late(self, route: Route) -> None:
        """Nothing: the replica that failed is suspected already."""

    async def close(self) -> None:
        """Ends the watches and closes the connections."""
        for home in self._homes.values():
            await home.close()

    async def _prepare(
        self, home: Home, route: Route, path: str, body: bytes, headers: CIMultiDict[str]
    ) -> Work:
        defaults = home.folder.defaults
        document = orjson.loads(body)
        parse = parse_chat if path == wire.PATHS[catalog.CHAT] else parse_completion
        plan = parse(document, defaults)
        if len(body) > LONG_PROMPT_CHARS:
            prompt = await asyncio.to_thread(_prompt, home.folder, plan)
        else:
            prompt = _prompt(home.folder, plan)
        wanted = plan.sampling.max_tokens
        room = home.context_tokens - prompt.tokens
        if room < (wanted or 1):
            raise context_exceeded(prompt.tokens, wanted or 1, home.context_tokens)
        max_tokens = min(room, home.settings.max_answer_tokens) if wanted is None else wanted
        return Work(
            plan=plan,
            prompt=prompt,
            max_tokens=max_tokens,
            estimated_tokens=home.pool.estimate(prompt.tokens, max_tokens),
            version=home.settings.versions.get(route.model, ""),
            headers=_for_the_trace(headers),
        )


def _for_the_trace(headers: CIMultiDict[str]) -> dict[str, str]:
    # Triton records what it hears of, sampled or not.
    if not int(headers.get("traceparent", "00").rpartition("-")[2], 16) & SAMPLED:
        return {}
    return {name: headers[name] for name in _FORWARDED if name in headers}


def _prompt(folder: ModelFolder, plan: Plan) -> Prompt:
    if plan.prompt is not None:
        return folder.prompt(plan.prompt)
    return folder.chat(plan.turns, plan.tools.functions, plan.tools.opening)


def _rejected(route: Route, error: ReplicaError) -> DomainError:
    return DomainError(
        Reason.UPSTREAM_REJECTED,
        f"upstream {route.upstream.name!r} refused the request: {error}",
        upstream=route.upstream.name,
        status=400,
        message=error,
    )


def _full(home: Home, error: Exception, attempts: int) -> DomainError:
    replicas = home.pool.replicas
    return DomainError(
        Reason.REPLICAS_BUSY,
        f"upstream {home.pool.upstream!r} takes no more requests ({error}); retry after 1 s",
        upstream=home.pool.upstream,
        replicas=len(replicas),
        queued_tokens=sum(replica.tokens for replica in replicas),
        attempts=attempts,
        retry_after_s=1,
    )


def _failure(route: Route, error: DomainError | ReplicaError, attempts: int) -> DomainError:
    if isinstance(error, DomainError):
        error.metadata["attempts"] = str(attempts)
        return error
    return unreachable(route, str(error), attempts)
