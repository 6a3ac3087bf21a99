"""A judge model at work on one sample: it is asked in both orders, through the router like every leg.

What the judge can't be asked about may lie in the answers (one that is too long, or that its server rejects).
That counts against the sovereign one. Who does not answer at all says nothing of them: the sample is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from homeward.common.v1 import chat_pb2
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason
from services.common.words import Purpose, Target
from services.shadow.adapters.router import LegFailed, Reply
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.judge import (
    NOT_ALLOWED,
    SERVES_AN_ARM,
    Judgement,
    Preference,
    check_judge,
    judged,
    messages,
    parsed,
    shown,
)
from services.shadow.inquiry import (
    AGAIN_S,
    BUSY_TRIES,
    CLOUD_TRIES,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    Asks,
    LostError,
    NotAskedError,
)
from services.shadow.translate import conversation

JUDGE_TOKENS = 512
"""Of a reply, at most: a few sentences, and the verdict."""
READ_TRIES = 2
"""Of a verdict: one that can't be read is asked for once more."""
AWAY = frozenset(
    item.lower() for item in (Reason.UPSTREAM_UNREACHABLE, Reason.BREAKER_OPEN, Reason.REPLICAS_BUSY)
)
"""Failures of the judge's server that no answer can bring about."""
_ROLES = {"system": chat_pb2.ROLE_SYSTEM, "user": chat_pb2.ROLE_USER}

Settle = Callable[[Answer, Answer, Mapping[str, Any] | None], Awaitable[Judgement | None]]


class UnreadableError(Exception):
    """The judge gave no verdict that can be read."""


class Judge:
    """Judges the pairs of one sample."""

    def __init__(
        self,
        model: str,
        request: shadow_pb2.SubmitSampleRequest,
        router: Asks,
        asked: Callable[[str], None],
        settle: Settle,
        leg_timeout_s: float,
    ) -> None:
        """
        Args:
            model: the judge, of the router's models.
            request: the sample.
            router: asks the legs.
            asked: is told the workload of each leg in the cloud.
            settle: `settled_judgement`, off the event loop.
            leg_timeout_s: longest wait for a leg.

        Raises:
            LostError: it is the model that the application asked for.
        """
        self._model = model
        self._request = request
        self._question = conversation(request.chat)
        self._router = router
        self._asked = asked
        self._settle = settle
        self._leg_timeout_s = leg_timeout_s
        self._target = Target.CLOUD
        self._judges = {model}
        """Its names: as it is asked for, and as it served."""
        self._arms: set[str] = set()
        self.served(request.chat.model)

    def served(self, model: str) -> None:
        """Is told a model of an arm.

        Raises:
            LostError: it is the judge.
        """
        self._arms |= {model} if model else set()
        self._check()

    async def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None) -> Fraction:
        """1 if the judge prefers `a` in both orders, 0 if it prefers `b` in both, else one half.

        Raises:
            UnreadableError: it does not say.
            NotAskedError: it can't be asked about these answers.
            LostError: it can't be asked, or serves an arm.
        """
        settled = await self._settle(a, b, schema)
        if settled is not None:
            return settled.agreement
        orders = ((shown(a), shown(b)), (shown(b), shown(a)))
        tasks = [asyncio.create_task(self._verdict(first, second)) for first, second in orders]
        try:
            forward, backward = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        together = judged(forward, backward)
        if together is None:
            raise UnreadableError
        return together.agreement

    async def _verdict(self, first: str, second: str) -> Preference | None:
        chat = _chat(self._model, messages(self._question, first, second))
        for _ in range(READ_TRIES):
            reply = await self._leg(chat)
            found = parsed(reply.answer.text)
            if found is not None:
                return found
        return None

    async def _leg(self, chat: chat_pb2.Chat) -> Reply:
        tries, counted, pause_s = 0, 0, FIRST_PAUSE_S
        while True:
            target = self._target
            try:
                reply = await self._ask(chat, target)
                break
            except LegFailed as error:
                if error.reason == Reason.TARGET_NOT_ALLOWED.lower():
                    if target is Target.SOVEREIGN:
                        raise LostError(NOT_ALLOWED) from None
                    # The router says this of a model that only runs at home, too.
                    self._target = Target.SOVEREIGN
                    continue
                tries += 1
                counted += error.counts
                _give_up(error, tries, counted)
                least_s = AGAIN_S if error.counts and not error.passing else 0
                await asyncio.sleep(max(pause_s, least_s, error.retry_after_s or 0))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._judges |= {reply.model} if reply.model else set()
        self._check()
        return reply

    async def _ask(self, chat: chat_pb2.Chat, target: Target) -> Reply:
        request = self._request
        if target is Target.CLOUD:
            self._asked(request.workload)
        return await self._router.ask(
            chat,
            workload=request.workload,
            purpose=Purpose.JUDGE,
            target=target,
            sample_id=request.sample_id,
            traceparent=request.traceparent,
            timeout_s=self._leg_timeout_s,
        )

    def _check(self) -> None:
        try:
            for judge in self._judges:
                check_judge(judge, self._arms)
        except DomainError:
            raise LostError(SERVES_AN_ARM) from None


def _give_up(error: LegFailed, tries: int, counted: int) -> None:
    """Raises what ends a leg that has failed so many times, if it is to be asked no more."""
    if error.counts:
        if counted < (BUSY_TRIES if error.passing else CLOUD_TRIES):
            return
        if error.reason not in AWAY:
            raise NotAskedError(error.reason) from None
    elif error.passing or tries < error.tries:
        return
    elif error.reason == Reason.INVALID_REQUEST.lower():
        raise NotAskedError(error.reason) from None
    raise LostError(f"judge_{error.reason}") from None


def _chat(model: str, told: Sequence[Mapping[str, str]]) -> chat_pb2.Chat:
    return chat_pb2.Chat(
        model=model,
        messages=[
            chat_pb2.Message(role=_ROLES[item["role"]], content=[chat_pb2.ContentPart(text=item["content"])])
            for item in told
        ],
        sampling=chat_pb2.SamplingParameters(max_tokens=JUDGE_TOKENS, temperature=0),
    )
