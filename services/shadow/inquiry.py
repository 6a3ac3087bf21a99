"""One sample in hand: asks its missing legs side by side, and scores what comes as it comes.

At each moment it can tell what the sample is worth if its window closed now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from homeward.shadow.v1 import shadow_pb2

from services.common.words import Target
from services.shadow import translate
from services.shadow.adapters.router import LegFailed, Reply
from services.shadow.adapters.store import Finished, Sample
from services.shadow.core import lanes
from services.shadow.core.answers import reason_of, rounded_down, rounded_up, shown
from services.shadow.core.experiment import Experiment
from services.shadow.core.lanes import Leg, Role
from services.shadow.core.scorers.answer import Answer

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""Between two tries of a leg; the pause doubles in between."""
AGAIN_S = 1.0
"""Least pause before a cloud leg is asked for again: what failed it needs a moment to pass."""
CLOUD_TRIES = 2
"""Of a cloud leg. One that is missing would speak for the sovereign model or against it."""
BUSY_TRIES = 5
"""Of a sovereign leg whose replicas are busy: with applications' requests, or with other samples'."""
LATE, SOVEREIGN_FAILED, UNSCORABLE = "late", "sovereign_failed", "unscorable"
NO_REFERENCE = "no_reference"
"""Why a sample is lost whose cloud answer has not come: there is nothing to hold the others against."""


class Asks(Protocol):
    """The router."""

    async def ask(self, *args: Any, **kwargs: Any) -> Reply:
        """As RouterAdapter.ask."""
        ...


class LostError(Exception):
    """The sample can't be compared, through no fault of the sovereign model's. The text is the reason."""


class NotAskedError(Exception):
    """The scorer can't be asked about these answers. The text is the reason, and not theirs."""


class Scores(Protocol):
    """The experiment's scorer, for one sample."""

    async def agree(self, a: Answer, b: Answer, schema: Mapping[str, Any] | None) -> Fraction:
        """As Scorer.agree, off the event loop. Raises LostError, NotAskedError, or what a defect raises."""
        ...

    def served(self, model: str) -> None:
        """Is told which models serve the arms. Raises LostError if the scorer may not score them."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What an inquiry works with."""

    router: Asks
    scorer: Scores
    note_started: Callable[[bytes, bool], Awaitable[None]]
    """Makes durable that models may have been asked about a sample, or that none was."""
    note_model: Callable[[str], Awaitable[None]]
    """Makes durable which model answered at home."""
    asked: Callable[[str], None]
    """Is told the workload of each leg in the cloud."""
    other_answer: Callable[[Sample, bytes, Answer], Answer | None]
    """Takes a sovereign answer, and gives that of another sample; None if there is none."""
    clock: Callable[[], int]
    """Microseconds since the epoch."""
    leg_timeout_s: float


class Inquiry:
    """The work on one sample."""

    def __init__(
        self,
        sample: Sample,
        request: shadow_pb2.SubmitSampleRequest,
        experiment: Experiment,
        language: str,
        means: Means,
        control_share: float,
    ) -> None:
        self.sample = sample
        self.reached = sample.started
        """A model's server has answered, or failed to; so it may have for a process that is gone."""
        self._request = request
        self._experiment = experiment
        self._language = language
        self._means = means
        self._schema = translate.schema_of(request.chat)
        self._controlled = not sample.reversed and lanes.is_controlled(sample.sample_id, control_share)
        by = translate.target_of(request)
        self._legs = lanes.missing_legs(
            by, sovereign_failed=request.sovereign_failed, controlled=self._controlled
        )
        given = Role.SOVEREIGN if by is Target.SOVEREIGN else Role.REFERENCE
        self._answers: dict[Role, Answer] = {given: shown(translate.given_answer(request), experiment.scorer)}
        self._leg_ids: dict[Role, bytes] = {given: request.leg_id}
        self._reasons: dict[Role, str] = {}
        self._agreements: dict[Role, int] = {}
        self._scored_unix_us: dict[Role, int] = {}
        self._degraded: int | None = None
        self._scoring: set[Role] = set()
        self._asking = 0
        self._noted = sample.started
        if request.sovereign_failed:
            self._reasons[Role.SOVEREIGN] = SOVEREIGN_FAILED
            self._agreements[Role.SOVEREIGN], self._scored_unix_us[Role.SOVEREIGN] = 0, means.clock()

    async def run(self) -> list[Finished]:
        """Asks and scores.

        Returns:
            The triplets: of the comparison first, then of the controls.

        Raises:
            LostError: it can't be compared.
        """
        tasks = [asyncio.create_task(self._leg(leg)) for leg in self._legs]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.rows(over=True)

    @property
    def started(self) -> bool:
        """Whether a model may have been asked."""
        return self.reached or self._asking > 0 or Role.SOVEREIGN in self._reasons

    @property
    def answers(self) -> tuple[Answer | None, Answer | None]:
        """Of the cloud and of the model at home, as far as they have come."""
        return self._answers.get(Role.REFERENCE), self._answers.get(Role.SOVEREIGN)

    def rows(self, *, over: bool = False) -> list[Finished]:
        """The triplets as they are known by now.

        Args:
            over: nothing is to come any more: what is missing has failed, else it is late.

        Raises:
            LostError: there is no cloud answer.
        """
        if Role.REFERENCE not in self._answers:
            raise LostError(NO_REFERENCE)
        lane = lanes.AFTER if self.sample.reversed else lanes.COMPARISON
        told = [self._row(lane, Role.SOVEREIGN, over=over)]
        if self._controlled:
            told.append(self._row(lanes.CLOUD, Role.CONTROL, over=over))
        if self._degraded is not None:
            told.append(self._row(lanes.DEGRADED, None, over=over))
        return told

    def _row(self, lane: str, role: Role | None, *, over: bool) -> Finished:
        """The triplet with the answer of a role in the sovereign's place; of no role: another sample's."""
        place = role or Role.SOVEREIGN
        sovereign = self._agreements.get(place) if role else self._degraded
        noise = self._agreements.get(Role.NOISE)
        reason = self._reasons.get(role, "") if role else ""
        if sovereign is None:
            reason = reason or LATE
        elif noise is None:
            reason = reason or f"noise_{self._reasons.get(Role.NOISE, LATE)}"
        arrival: int | None = None
        if sovereign is not None:
            scored = self._scored_unix_us
            arrival = max(scored[item] for item in (place, Role.NOISE) if item in scored)
        elif over:
            # It has no score, but its failure is as final as an answer, and in time.
            arrival = self._means.clock()
        request, sample = self._request, self.sample
        return Finished(
            sample_id=sample.sample_id,
            lane=lane,
            experiment_id=sample.experiment_id,
            epoch=sample.epoch,
            workload=sample.workload,
            request_unix_us=sample.request_unix_us,
            arrival_unix_us=arrival,
            cluster=sample.cluster,
            stratum=sample.stratum,
            sovereign_millionths=sovereign,
            noise_millionths=noise,
            scorer=self._experiment.scorer,
            reason=reason,
            language=self._language,
            features=translate.features_of(request),
            input_tokens=request.input_tokens if request.HasField("input_tokens") else None,
            sovereign_leg_id=self._leg_ids.get(role, b"") if role else b"",
            cloud_leg_id=self._leg_ids.get(Role.REFERENCE, b""),
            noise_leg_id=self._leg_ids.get(Role.NOISE, b""),
            trace_id=translate.trace_id_of(request.traceparent),
        )

    async def _leg(self, leg: Leg) -> None:
        tries, counted, pause_s = 0, 0, FIRST_PAUSE_S
        while True:
            try:
                reply = await self._ask(leg)
                break
            except LegFailed as error:
                tries += 1
                if error.counts:
                    self.reached = True
                    counted += 1
                    if counted >= self._tries(leg, error):
                        self._reasons[leg.role] = error.reason
                        if leg.role is Role.REFERENCE:
                            raise LostError(f"{NO_REFERENCE}_{error.reason}") from None
                        return
                elif not error.passing and tries >= error.tries:
                    raise LostError(error.reason) from None
                else:
                    await self._not_reached()
                least_s = AGAIN_S if error.counts and not error.passing else 0
                await asyncio.sleep(max(pause_s, least_s, error.retry_after_s or 0))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self.reached = True
        self._answers[leg.role] = shown(reply.answer, self._experiment.scorer)
        self._leg_ids[leg.role] = reply.leg_id
        self._means.scorer.served(reply.model)
        if leg.target is Target.SOVEREIGN:
            await self._means.note_model(reply.model)
        await self._score()

    def _tries(self, leg: Leg, error: LegFailed) -> int:
        if leg.target is Target.CLOUD:
            return CLOUD_TRIES
        # What the sovereign model fails at is its own; the router has retried what may be.
        return BUSY_TRIES if error.passing else 1

    async def _ask(self, leg: Leg) -> Reply:
        means, request = self._means, self._request
        self._asking += 1
        try:
            if not self._noted:
                self._noted = True
                await means.note_started(self.sample.sample_id, True)
            if leg.target is Target.CLOUD:
                means.asked(self.sample.workload)
            return await means.router.ask(
                request.chat,
                workload=self.sample.workload,
                purpose=leg.purpose,
                target=leg.target,
                sample_id=self.sample.sample_id,
                traceparent=request.traceparent,
                timeout_s=means.leg_timeout_s,
                streamed=request.streamed,
            )
        finally:
            self._asking -= 1

    async def _not_reached(self) -> None:
        if self._noted and not self.started:
            self._noted = False
            await self._means.note_started(self.sample.sample_id, False)

    async def _score(self) -> None:
        """Scores each answer that has its reference and is not scored."""
        reference = self._answers.get(Role.REFERENCE)
        if reference is None:
            return
        for role in (Role.SOVEREIGN, Role.NOISE, Role.CONTROL):
            if role not in self._answers or role in self._scoring:
                continue
            self._scoring.add(role)
            found = self._answers[role]
            agreement = await self._agree(found, reference, role)
            if role is Role.NOISE:
                if agreement is not None:
                    self._keep(role, rounded_up(agreement))
                else:
                    self._reasons[role] = UNSCORABLE
                continue
            self._reasons[role] = UNSCORABLE if agreement is None else reason_of(found, self._schema)
            # What can't be scored agrees with nothing: an answer must gain nothing by breaking its scorer.
            self._keep(role, rounded_down(agreement or Fraction(0)))
            if role is Role.SOVEREIGN and not self.sample.reversed:
                await self._degrade(found, reference)

    async def _degrade(self, sovereign: Answer, reference: Answer) -> None:
        other = self._means.other_answer(self.sample, self._request.cluster, sovereign)
        if other is not None:
            agreement = await self._agree(other, reference, Role.SOVEREIGN)
            self._degraded = None if agreement is None else rounded_down(agreement)

    def _keep(self, role: Role, millionths: int) -> None:
        self._scored_unix_us[role] = self._means.clock()
        self._agreements[role] = millionths

    async def _agree(self, a: Answer, b: Answer, role: Role) -> Fraction | None:
        try:
            return await self._means.scorer.agree(a, b, self._schema)
        except LostError:
            raise
        except Exception as error:
            # Between the cloud's own answers the sovereign model has no part in what goes wrong.
            if isinstance(error, NotAskedError) and role is not Role.SOVEREIGN:
                raise LostError(f"judge_{error}") from None
            # Its text may have the answer in it.
            log.error("scorer %s fails: %s", self._experiment.scorer, type(error).__name__)
            return None


def failure(sample: Sample, experiment: Experiment, reason: str) -> Sequence[Finished] | str:
    """What becomes of a sample that was started by a process that is gone.

    Returns:
        Its triplet; or why it is lost.
    """
    request = shadow_pb2.SubmitSampleRequest.FromString(sample.payload)
    if translate.target_of(request) is Target.SOVEREIGN:
        return NO_REFERENCE
    return [
        Finished(
            sample_id=sample.sample_id,
            lane=lanes.AFTER if sample.reversed else lanes.COMPARISON,
            experiment_id=sample.experiment_id,
            epoch=sample.epoch,
            workload=sample.workload,
            request_unix_us=sample.request_unix_us,
            arrival_unix_us=None,
            cluster=sample.cluster,
            stratum=sample.stratum,
            sovereign_millionths=None,
            noise_millionths=None,
            scorer=experiment.scorer,
            reason=reason,
            features=translate.features_of(request),
            input_tokens=request.input_tokens if request.HasField("input_tokens") else None,
            cloud_leg_id=request.leg_id,
            trace_id=translate.trace_id_of(request.traceparent),
        )
    ]
