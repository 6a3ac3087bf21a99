"""An answer in progress at one replica, in the bytes of OpenAI's protocol."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator

from multidict import CIMultiDict, CIMultiDictProxy

from services.router.adapters.generation import Generation, ReplicaError
from services.router.adapters.home import Home, Work
from services.router.config import Timeouts
from services.router.core.catalog import Route
from services.router.core.failures import broken, timed_out
from services.router.core.sovereign.answer import ChatWriter, Head, TextWriter, Writer, usage_document
from services.router.core.sovereign.progress import Progress
from services.router.core.sovereign.replicas import Replica
from services.router.core.sovereign.structured import answer_invalid
from services.router.core.usage import Usage, from_openai


class SovereignExchange:
    """One answer; see `adapters/upstreams.py` for what an exchange is."""

    status = 200

    def __init__(
        self,
        home: Home,
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
        self._home = home
        self._replica = replica
        self._route = route
        self._work = work
        self._timeouts = timeouts
        self._watch = home.watches[replica.name]
        head = Head(secrets.token_hex(12), int(time.time()), route.model)
        self._writer: Writer = TextWriter(head, plan) if plan.prompt is not None else ChatWriter(head, plan)
        self._progress = Progress(plan.sampling.stop)
        self._finish_reason = ""
        self._answer_tokens = 0
        self._first = b""
        self._closed = False
        home.pool.take(replica, work.estimated_tokens)
        # A server that answers whole can't be told to stop at a word, so with stop words it streams.
        self._generation: Generation = self._watch.server.generate(
            work.prompt.text,
            plan.sampling,
            work.max_tokens,
            streamed=plan.streamed or bool(plan.sampling.stop),
            pause_s=home.settings.coalesce_ms / 1000,
            version=work.version,
            headers=work.headers,
        )
        self._watch.began(self._generation, work.version)

    async def begin(self) -> None:
        """Waits for the first piece of a stream, or for the end of a whole answer; a stream whose answer must
        have a form is held back for a while, and may end meanwhile.

        Raises:
            ReplicaError: the replica failed.
            DomainError: UPSTREAM_TIMEOUT.
        """
        timeouts, plan = self._timeouts, self._work.plan
        phase, limit_s = (
            ("first_token", timeouts.first_token_s) if plan.streamed else ("answer", timeouts.answer_s)
        )
        held_until_s = time.monotonic() + (self._home.settings.hold_s if plan.bound else 0.0)
        self._first = self._writer.feed(plan.tools.opening)
        out = b""
        while not self._finish_reason:
            out = await self._advance(phase, limit_s)
            self._first += out
            if plan.streamed and out:
                if time.monotonic() >= held_until_s:
                    break
                phase, limit_s = "silence", timeouts.silence_s

    def check(self) -> None:
        """Judges an answer that has ended: a whole one, or a stream that was held back.

        Raises:
            DomainError: ANSWER_INVALID.
        """
        if self._finish_reason and (problem := self._problem()):
            raise answer_invalid(self._route.upstream.name, problem)

    async def read(self) -> bytes:
        """The whole answer."""
        return self._writer.whole(self._finish_reason, self._usage_document())

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The events as they come.

        Raises:
            DomainError: UPSTREAM_TIMEOUT, UPSTREAM_BROKEN or ANSWER_INVALID.
        """
        out = self._first
        while not self._finish_reason:
            if out:
                yield out
            try:
                out = await self._advance("silence", self._timeouts.silence_s)
            except ReplicaError as error:
                self._watch.suspect()
                raise broken(self._route, str(error)) from None
        problem = self._problem()
        if problem:
            if out:
                yield out
            raise answer_invalid(self._route.upstream.name, problem)
        # The last piece and the end are one: each write costs the application a wake-up.
        yield out + self._writer.end(self._finish_reason, self._usage_document())

    def close(self, *, whole: bool) -> None:
        """Cancels what is still being generated, and gives the place back."""
        if self._closed:
            return
        self._closed = True
        self._generation.cancel()
        self._watch.ended(self._generation)
        pool = self._home.pool
        pool.give_back(self._replica, self._work.estimated_tokens)
        if whole:
            pool.served(self._work.prompt.tokens, self._answer_tokens, time.monotonic())

    def usage(self) -> Usage:
        """Tokens so far: the server has read the prompt if it has generated anything."""
        answer_tokens = self._home.folder.count(self._generation.latest())
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

    def _problem(self) -> str:
        # An answer that was cut short can't meet its format, and says so by its finish reason.
        return "" if self._finish_reason == "length" else self._writer.problem()

    def _usage_document(self) -> dict[str, int]:
        self._answer_tokens = self._home.folder.count(self._progress.text)
        return usage_document(self._work.prompt.tokens, self._answer_tokens)
