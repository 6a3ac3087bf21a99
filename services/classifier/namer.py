"""Names requests, and remembers of each what the views and the discovery of workloads need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TypeAlias

from services.classifier.adapters.batcher import Batcher
from services.classifier.adapters.observations import Observation, Observations
from services.classifier.adapters.traffic_store import TrafficStore
from services.classifier.core.claims import Claims
from services.classifier.core.classify import Answer, by_fixed_parts, by_reading, kind_of_work
from services.classifier.core.reading import Reading
from services.classifier.core.traffic import unnamed
from services.classifier.registrar import Known, Read
from services.common.board import Board
from services.common.errors import DomainError, Reason
from services.common.seen import Seen
from services.common.words import Evidence

LATE_IN_FLIGHT = 4
"""Requests that are read after their caller has gone on without a name: discovery wants to see them too, but
no more than an idle moment takes."""

Asked: TypeAlias = tuple[Claims, Seen]
"""A request, and what counts as a claim in it."""
Readings: TypeAlias = tuple[Reading, Reading]
"""Of what tells the kind of work and of what may tell the name; mostly they are one."""


def read_asked(read: Read, asked: Sequence[Asked]) -> list[Readings]:
    """Reads requests without what they claim. With hundreds of workloads the search for claims takes as long
    as the model, so it is the threads' work too."""
    clean = [claims.without(seen) for claims, seen in asked]
    evidence = [claims.without_mentions(seen) for (claims, _), seen in zip(asked, clean, strict=True)]
    pairs = list(zip(clean, evidence, strict=True))
    readings = read([*clean, *(mentionless for seen, mentionless in pairs if mentionless is not seen)])
    others = iter(readings[len(clean) :])
    return [
        (reading, reading if mentionless is seen else next(others))
        for reading, (seen, mentionless) in zip(readings, pairs, strict=False)
    ]


class Namer:
    """Answers from what is known now. Needs a running event loop."""

    def __init__(
        self,
        board: Board[Known],
        batcher: Batcher[Asked, Readings],
        abstain_below: float,
        traffic: TrafficStore,
        observations: Observations,
    ) -> None:
        """`batcher` reads with `read_asked`; `abstain_below` is the general model's."""
        self._board = board
        self._batcher = batcher
        self._abstain_below = abstain_below
        self._traffic = traffic
        self._observations = observations
        self._late: set[asyncio.Task[None]] = set()

    async def classify(
        self, seen: Seen, request_id: bytes, key_name: str, timeout_s: float | None
    ) -> tuple[Answer, int]:
        """The answer, and the version of the table that it rests on.

        Raises:
            DomainError: QUEUE_FULL; REQUEST_TIMEOUT if its turn did not come in time.
        """
        known = self._board.value
        answer = by_fixed_parts(known.registry, seen)
        if answer is None:
            try:
                readings = await self._read(known, seen, timeout_s)
            except (asyncio.CancelledError, DomainError):
                self._read_late(seen, request_id, key_name)
                raise
            answer = self._told(known, seen, *readings, request_id, key_name)
        return answer, known.registry.version

    async def observe(self, seen: Seen, request_id: bytes, workload: str, evidence: Evidence) -> None:
        """Takes in a request that was named elsewhere.

        Raises:
            DomainError: QUEUE_FULL, which only makes a sample smaller.
        """
        known = self._board.value
        if workload not in known.names:
            return
        reading, like = await self._read(known, seen, None)
        task_type, confidence = kind_of_work(reading, self._abstain_below)
        answer = Answer(workload, evidence, 1.0, task_type, confidence)
        self._observe(known, like, answer, request_id, seen.input_chars)

    async def close(self) -> None:
        """Gives up what nobody waits for."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    def _told(
        self,
        known: Known,
        seen: Seen,
        reading: Reading,
        evidence: Reading,
        request_id: bytes,
        key_name: str,
    ) -> Answer:
        answer = by_reading(known.registry, known.head, reading, evidence, self._abstain_below)
        # Who asks without a request of the book only tries the classifier: that is no traffic.
        if not request_id:
            return answer
        if not answer.workload:
            self._traffic.add(unnamed(seen, reading, answer, request_id, key_name, time.time_ns() // 1000))
        self._observe(known, evidence, answer, request_id, seen.input_chars)
        return answer

    def _read_late(self, seen: Seen, request_id: bytes, key_name: str) -> None:
        if len(self._late) >= LATE_IN_FLIGHT:
            return
        task = asyncio.create_task(self._tell_nobody(seen, request_id, key_name))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _tell_nobody(self, seen: Seen, request_id: bytes, key_name: str) -> None:
        known = self._board.value
        try:
            readings = await self._read(known, seen, None)
        except DomainError:
            return
        self._told(known, seen, *readings, request_id, key_name)

    async def _read(self, known: Known, seen: Seen, timeout_s: float | None) -> Readings:
        try:
            return await self._batcher.read((known.claims, seen), timeout_s)
        except TimeoutError as error:
            raise DomainError(Reason.REQUEST_TIMEOUT, str(error)) from None

    def _observe(
        self, known: Known, reading: Reading, answer: Answer, request_id: bytes, input_chars: int
    ) -> None:
        name = answer.workload
        self._observations.add(
            Observation(
                observe_unix_ms=time.time_ns() // 1_000_000,
                request_id=request_id,
                workload=name,
                evidence=answer.evidence,
                confidence=answer.confidence,
                task_type=answer.task_type,
                task_type_confidence=answer.task_type_confidence,
                likeness=known.head.likeness(name, reading) if name else None,
                language_known=reading.language_known,
                input_chars=input_chars,
                workload_version=known.registry.get(name).version if name else 0,
                example_count=len(known.groups.get(name, ())) if name else None,
            )
        )
