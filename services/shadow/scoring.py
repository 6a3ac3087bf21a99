"""The scorers at work: the pure ones in threads, the judge through the router."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import numpy as np
from homeward.shadow.v1 import shadow_pb2
from numpy.typing import NDArray

from services.common.errors import DomainError
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.scorers.judge import Judgement, judge_model, settled_judgement
from services.shadow.core.scorers.registry import Scorer, scorer
from services.shadow.inquiry import Asks, LostError, Scores
from services.shadow.judging import Judge

log = logging.getLogger(__name__)

THREADS = 2
NO_SCORER = "no_scorer"
"""The reason of a sample whose scorer can't be had."""

T = TypeVar("T")


class Encodes(Protocol):
    """services.common.encoder.Encoder."""

    def encode(self, texts: Sequence[str]) -> Any:
        """`.embeddings`: (n, d), rows of length 1."""
        ...


class Scoring:
    """Makes the scorer of each sample."""

    def __init__(
        self, encoder: Encodes | None, router: Asks, asked: Callable[[str], None], leg_timeout_s: float
    ) -> None:
        """
        Args:
            encoder: for the scorers that need one.
            router: asks the judge.
            asked: is told the workload of each leg in the cloud.
            leg_timeout_s: longest wait for a leg.
        """
        self._encoder = encoder
        self._router = router
        self._asked = asked
        self._leg_timeout_s = leg_timeout_s
        self._scorers: dict[str, Scorer] = {}
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scoring")

    async def off_loop(self, call: Callable[..., T], *args: Any) -> T:
        """Calls in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *args)

    async def of(self, name: str, request: shadow_pb2.SubmitSampleRequest) -> Scores:
        """The scorer of a name, for one sample.

        Raises:
            LostError: it can't be had, or may not score this sample.
        """
        model = judge_model(name)
        if model is not None:
            return Judge(
                model, request, self._router, self._asked, self._settle, leg_timeout_s=self._leg_timeout_s
            )
        try:
            return _Pure(await self.off_loop(self.named, name), self)
        except (DomainError, ValueError) as error:
            log.error("%s can't be scored: %s", request.workload, error)
            raise LostError(NO_SCORER) from None

    def named(self, name: str) -> Scorer:
        """The pure scorer of a name, made once.

        Raises:
            DomainError, ValueError: as `scorer`.
        """
        if name not in self._scorers:
            encoder = self._encoder

            def embed(texts: Sequence[str]) -> NDArray[np.float32]:
                assert encoder is not None
                embeddings: NDArray[np.float32] = encoder.encode(texts).embeddings
                return embeddings

            self._scorers[name] = scorer(name, embed if encoder is not None else None)
        return self._scorers[name]

    def close(self) -> None:
        """Ends the threads."""
        self.threads.shutdown()

    async def _settle(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None) -> Judgement | None:
        return await self.off_loop(settled_judgement, a, b, schema)


@dataclass(frozen=True, slots=True)
class _Pure:
    """A scorer that asks nobody."""

    scorer: Scorer
    scoring: Scoring

    async def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None) -> Fraction:
        return await self.scoring.off_loop(self.scorer.agree, a, b, schema)

    def served(self, model: str) -> None:
        """Whoever served, the score is the same."""
