"""The adapter to models that run at home: a chat request in, OpenAI's answer out, over replicas of Triton.

A request is tried on another replica as long as the application has got nothing of its answer. A whole
answer is given at its end, so until then; a streamed one until its first piece.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import orjson
from multidict import CIMultiDict, CIMultiDictProxy

from services.common.errors import DomainError, Reason
from services.common.settings import SettingsError
from services.router.adapters.model_folder import ModelFolder, Prompt
from services.router.adapters.replica_watch import Probing, ReplicaWatch
from services.router.adapters.triton import Generation, ReplicaError, TritonServer
from services.router.adapters.upstreams import OnRetry
from services.router.config import Timeouts, TritonSettings
from services.router.core import catalog, wire
from services.router.core.catalog import Route
from services.router.core.failures import broken, timed_out, unreachable
from services.router.core.sovereign.answer import ChatWriter, Head, TextWriter, Writer, usage_document
from services.router.core.sovereign.plan import Plan, parse_chat, parse_completion
from services.router.core.sovereign.progress import Progress
from services.router.core.sovereign.refusals import context_exceeded
from services.router.core.sovereign.replicas import Pool, Replica
from services.router.core.sovereign.structured import answer_invalid
from services.router.core.usage import Usage, from_openai

_FORWARDED = ("traceparent", "tracestate", "x-request-id")
"""Headers that Triton's trace goes on from, and names the request by."""
SAMPLED = "-01"
"""How a `traceparent` ends whose trace is recorded (W3C Trace Context, 3.2.2.5)."""
LONG_PROMPT_CHARS = 50_000
"""Longer conversations are written and counted in a thread, which takes ten milliseconds and more."""


class Upstream:
    """One upstream's model, its replicas, and who watches them."""

    def __init__(self, name: str, settings: TritonSettings) -> None:
        """Reads the model's folder and connects. Needs a running event loop.

        Raises:
            SettingsError: the folder is not a model's.
        """
        self.settings = settings
        self.folder = ModelFolder(settings.model_dir)
        self.context_tokens = settings.context_tokens or self.folder.context_tokens
        if not self.context_tokens:
            raise SettingsError(
                f"triton.{name}.context_tokens: missing, and the model's config.json names none"
            )
        replicas = [Replica(address) for address in settings.replicas]
        self.pool = Pool(name, replicas, settings.queue_tokens, settings.affinity_requests)
        probing = Probing(
            interval_s=settings.probe_interval_s,
            timeout_s=settings.probe_timeout_s,
            reload_timeout_s=settings.reload_timeout_s,
            reload=settings.reload,
            versions=tuple(dict.fromkeys(settings.versions.values())) or ("",),
        )
        self.watches = {
            replica.name: ReplicaWatch(
                TritonServer(replica.name, settings.model), replica, self.pool, probing
            )
            for replica in replicas
        }

    async def close(self) -> None:
        """Ends the watches."""
        for watch in self.watches.values():
            await watch.close()


@dataclass(frozen=True, slots=True)
class Work:
    """A request that is ready to be sent to any replica."""

    plan: Plan
    prompt: Prompt
    max_tokens: int
    estimated_tokens: int
    version: str
    headers: Mapping[str, str]


class SovereignAdapter:
    """Calls upstreams with protocol = "triton". One a process."""

    def __init__(self, timeouts: Timeouts, settings: Mapping[str, TritonSettings]) -> None:
        """Needs a running event loop.

        Raises:
            SettingsError: a model's folder is not one.
        """
        self._timeouts = timeouts
        self._upstreams = {name: Upstream(name, item) for name, item in settings.items()}

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
        upstream = self._upstreams[route.upstream.name]
        work = await self._prepare(upstream, route, path, body, headers)
        tried: list[str] = []
        failure: DomainError | None = None
        while True:
            try:
                replica = upstream.pool.choose(work.prompt.text, work.estimated_tokens, tried)
            except DomainError as error:
                if failure is not None and error.reason is Reason.UPSTREAM_UNREACHABLE:
                    raise failure from None
                raise
            exchange = SovereignExchange(upstream, replica, route, work, len(tried) + 1, self._timeouts)
            try:
                await exchange.begin()
                return exchange
            except (DomainError, ReplicaError) as error:
                exchange.close(whole=False)
                tried.append(replica.name)
                if isinstance(error, ReplicaError) and error.refused:
                    raise _rejected(route, error) from None
                if isinstance(error, ReplicaError) and error.full:
                    failure = _full(upstream, error, len(tried))
                else:
                    upstream.watches[replica.name].suspect()
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
        for upstream in self._upstreams.values():
            await upstream.close()

    async def _prepare(
        self, upstream: Upstream, route: Route, path: str, body: bytes, headers: CIMultiDict[str]
    ) -> Work:
        defaults = upstream.folder.defaults
        document = orjson.loads(body)
        parse = parse_chat if path == wire.PATHS[catalog.CHAT] else parse_completion
        plan = parse(document, defaults)
        if len(body) > LONG_PROMPT_CHARS:
            prompt = await asyncio.to_thread(_prompt, upstream.folder, plan)
        else:
            prompt = _prompt(upstream.folder, plan)
        wanted = plan.sampling.max_tokens
        room = upstream.context_tokens - prompt.tokens
        if room < (wanted or 1):
            raise context_exceeded(prompt.tokens, wanted or 1, upstream.context_tokens)
        max_tokens = min(room, upstream.settings.max_answer_tokens) if wanted is None else wanted
        return Work(
            plan=plan,
            prompt=prompt,
            max_tokens=max_tokens,
            estimated_tokens=upstream.pool.estimate(prompt.tokens, max_tokens),
            version=upstream.settings.versions.get(route.model, ""),
            headers=_for_the_trace(headers),
        )


class SovereignExchange:
    """An answer in progress at one replica."""

    status = 200

    def __init__(
        self,
        upstream: Upstream,
        replica: Replica,
        route: Route,
        work: Work,
        attempts: int,
        timeouts: Timeouts,
    ) -> None:
        plan = work.plan
        kind = "text/event-stream; charset=utf-8" if plan.streamed else "application/json"
        self.headers = CIMultiDictProxy(CIMultiDict({"Content-Type": kind}))
        self.attempts = attempts
        self._upstream = upstream
        self._replica = replica
        self._route = route
        self._work = work
        self._timeouts = timeouts
        self._watch = upstream.watches[replica.name]
        head = Head(secrets.token_hex(12), int(time.time()), route.model)
        self._writer: Writer = TextWriter(head, plan) if plan.prompt is not None else ChatWriter(head, plan)
        self._progress = Progress(plan.sampling.stop)
        self._finish_reason = ""
        self._first = b""
        self._closed = False
        upstream.pool.take(replica, work.estimated_tokens)
        # A server that answers whole can't be told to stop at a word, so with stop words it streams.
        self._generation: Generation = self._watch.server.generate(
            work.prompt.text,
            plan.sampling,
            work.max_tokens,
            streamed=plan.streamed or bool(plan.sampling.stop),
            pause_s=upstream.settings.coalesce_ms / 1000,
            version=work.version,
            headers=work.headers,
        )
        self._watch.began(self._generation, work.version)

    async def begin(self) -> None:
        """Waits for the first piece of a stream, or for the end of a whole answer.

        Raises:
            ReplicaError: the replica failed.
            DomainError: UPSTREAM_TIMEOUT.
        """
        timeouts, streamed = self._timeouts, self._work.plan.streamed
        phase, limit_s = (
            ("first_token", timeouts.first_token_s) if streamed else ("answer", timeouts.answer_s)
        )
        self._first = self._writer.feed(self._work.plan.tools.opening)
        out = b""
        while not self._finish_reason and not (streamed and out):
            out = await self._advance(phase, limit_s)
            self._first += out

    async def read(self) -> bytes:
        """The whole answer.

        Raises:
            DomainError: ANSWER_INVALID.
        """
        self._check()
        return self._writer.whole(self._finish_reason, self._usage_document())

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The events as they come.

        Raises:
            DomainError: UPSTREAM_TIMEOUT, UPSTREAM_BROKEN or ANSWER_INVALID.
        """
        if self._first:
            yield self._first
        while not self._finish_reason:
            try:
                out = await self._advance("silence", self._timeouts.silence_s)
            except ReplicaError as error:
                self._watch.suspect()
                raise broken(self._route, str(error)) from None
            if out:
                yield out
        self._check()
        yield self._writer.end(self._finish_reason, self._usage_document())

    def close(self, *, whole: bool) -> None:
        """Cancels what is still being generated, and gives the place back."""
        if self._closed:
            return
        self._closed = True
        self._generation.cancel()
        self._watch.ended(self._generation)
        pool = self._upstream.pool
        pool.give_back(self._replica, self._work.estimated_tokens)
        if whole:
            answer_tokens = self._upstream.folder.count(self._progress.text)
            pool.served(self._work.prompt.tokens, answer_tokens, time.monotonic())

    def usage(self) -> Usage:
        """Tokens so far: the server has read the prompt if it has generated anything."""
        answer_tokens = self._upstream.folder.count(self._generation.latest())
        return from_openai(usage_document(self._work.prompt.tokens, answer_tokens))

    async def _advance(self, phase: str, limit_s: float) -> bytes:
        generation = self._generation
        try:
            async with asyncio.timeout(limit_s):
                await generation.advance()
        except TimeoutError:
            self._watch.suspect()
            raise timed_out(self._route, phase, limit_s) from None
        self._watch.sign(self._work.version)
        ended = bool(generation.finish_reason)
        try:
            piece = self._progress.feed(generation.text, final=ended)
        except ValueError as error:
            raise ReplicaError(str(error)) from None
        out = self._writer.feed(piece)
        if out:
            generation.passed_on()
        if self._progress.stopped or self._writer.complete:
            self._finish_reason = "stop"
            generation.cancel()
        elif ended:
            # OpenAI's clients know no others: a server's own (`timeout`, `cancelled`) cut the answer short.
            self._finish_reason = "stop" if generation.finish_reason == "stop" else "length"
        return out

    def _check(self) -> None:
        # An answer that was cut short can't meet its format, and says so by its finish reason.
        problem = "" if self._finish_reason == "length" else self._writer.problem()
        if problem:
            raise answer_invalid(self._route.upstream.name, problem)

    def _usage_document(self) -> dict[str, int]:
        answer_tokens = self._upstream.folder.count(self._progress.text)
        return usage_document(self._work.prompt.tokens, answer_tokens)


def _for_the_trace(headers: CIMultiDict[str]) -> dict[str, str]:
    # Triton records what it hears of, sampled or not.
    if not headers.get("traceparent", "").endswith(SAMPLED):
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


def _full(upstream: Upstream, error: Exception, attempts: int) -> DomainError:
    replicas = upstream.pool.replicas
    return DomainError(
        Reason.REPLICAS_BUSY,
        f"upstream {upstream.pool.upstream!r} takes no more requests ({error}); retry after 1 s",
        upstream=upstream.pool.upstream,
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
