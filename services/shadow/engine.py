"""The engine: takes samples, has their missing legs asked and scored, and closes windows.

Whatever a sample becomes, it becomes in one transaction of the store, which also deletes its text: triplets,
and an example of disagreement where the data class allows one; or a loss that is counted. A process that dies
in between goes on with what the store has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from google.protobuf.message import DecodeError
from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError
from services.shadow import translate
from services.shadow.adapters.language import Language
from services.shadow.adapters.router import ROUTER_AWAY
from services.shadow.adapters.store import Example, Finished, Sample, Store
from services.shadow.core import lanes
from services.shadow.core.examples import Keeping
from services.shadow.core.experiment import Experiment
from services.shadow.core.scorers.answer import Answer
from services.shadow.core.verdict import Window
from services.shadow.evidence import EvidenceCache
from services.shadow.examples import ExampleShelf
from services.shadow.home_models import HomeModels, Models
from services.shadow.inquiry import LATE, Asks, Inquiry, LostError, Means, failure
from services.shadow.intake import Intake
from services.shadow.scoring import Encodes, Scoring

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Longest wait before the store is looked at again."""
CLOSE_S = 0.2
"""How often it is seen whether a window has closed."""
FORGET_S = 2.0
"""Longest time for which a deleted text stands in the store's log."""
SWEEP_S = 10.0
"""How often it is seen whether examples have expired; nobody gets one that has."""
DRAIN_S = 5.0
"""How long `stop` waits for samples in hand: an answer that was paid for should count."""
RETRY_S = 1.0
"""Pause after the store has failed."""
CAP, NOT_ASKED, UNREADABLE, DEFECT = "cap", "not_asked", "unreadable", "defect"
"""Reasons of losses."""

T = TypeVar("T")


class Spend(Protocol):
    """What a workload's experiments cost."""

    def spent_today_nanos(self, workload: str) -> int | None:
        """Nano-dollars of today's (UTC) SHADOW, NOISE and JUDGE legs; None if that is not known."""
        ...

    def asked(self, workload: str) -> None:
        """Counts a leg in the cloud, until it is booked."""
        ...


@dataclass(slots=True)
class _Hand:
    """A sample in hand."""

    task: asyncio.Task[None]
    inquiry: Inquiry | None = None


class Engine:
    """Use `start` once an event loop runs, and `stop` before it ends."""

    def __init__(
        self,
        store: Store,
        router: Asks,
        encoder: Encodes | None,
        spend: Spend,
        clock: Callable[[], int],
        *,
        in_flight: int = 8,
        control_share: float = 0.1,
        leg_timeout_s: float = 120.0,
        examples: ExampleShelf | None = None,
    ) -> None:
        """
        Args:
            store: stays open until after `stop`.
            router: asks the legs.
            encoder: for the scorers that need one.
            spend: for the daily cost cap.
            clock: microseconds since the epoch.
            in_flight: samples that are asked at once.
            control_share: of the samples that ask the cloud a third time.
            leg_timeout_s: longest wait for a leg.
            examples: keeps disagreements; None: none is kept, and what is there goes.
        """
        self.examples = examples or ExampleShelf(store, Keeping(), {}, clock)
        self._store = store
        self._router = router
        self._spend = spend
        self._clock = clock
        self._in_flight = in_flight
        self._control_share = control_share
        self._leg_timeout_s = leg_timeout_s
        self._language = Language()
        self._intake = Intake(store, self._language, clock)
        self._evidence = EvidenceCache(store)
        self._models = HomeModels(store)
        self._others: dict[tuple[bytes, int], tuple[bytes, Answer]] = {}
        """The last sovereign answer of each epoch, and the cluster of its request; never on disk."""
        self._closed: dict[tuple[bytes, int], int] = {}
        """Before when the requests of each epoch are of closed windows, as far as this process knows."""
        self._hands: dict[bytes, _Hand] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._deleted = False
        """Texts that the store's log may still have."""
        # One thread, so that what is written about a sample is written in order.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="samples")
        self._scoring = Scoring(encoder, router, spend.asked, leg_timeout_s)
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to work, with what waits from before.

        Raises:
            DomainError: STORAGE_UNAVAILABLE. Texts that may not be kept could not be deleted.
        """
        # Before anything else: the settings may have changed meanwhile.
        self.examples.sweep()
        # The log of a process that was killed may still have what it deleted.
        self._deleted = True
        for step, every_s in (
            (self._take_up, LOOK_S),
            (self._close, CLOSE_S),
            (self._forget, FORGET_S),
            (self._sweep, SWEEP_S),
        ):
            self._loops.append(asyncio.create_task(self._repeat(step, every_s)))

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Ends. Samples that are in hand after `drain_s` go on after the next start."""
        self._stopping = True
        tasks = [hand.task for hand in self._hands.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=drain_s)
        for task in [*self._loops, *tasks]:
            task.cancel()
        await asyncio.gather(*self._loops, *tasks, return_exceptions=True)
        self._loops.clear()
        with suppress(DomainError):
            await self._on_disk(self._store.forget)
        self._disk.shutdown()
        self._scoring.close()

    async def submit(self, request: shadow_pb2.SubmitSampleRequest, *, reversed: bool | None = None) -> None:
        """Makes a sample durable. One that was submitted before changes nothing.

        Args:
            request: the sample.
            reversed: whether it is one of after the cutover; None: as it says itself.

        Raises:
            DomainError: QUEUE_FULL, EXPERIMENT_NOT_FOUND, INVALID_REQUEST, STORAGE_UNAVAILABLE.
        """
        after = request.reversed if reversed is None else reversed
        await self._on_disk(self._intake.take, request, after)
        self.wake()

    def wake(self) -> None:
        """Looks for work at once."""
        self._wake.set()

    def evidence(self, experiment: Experiment, lane: str = lanes.COMPARISON) -> list[Window]:
        """The closed windows of an epoch, each with its verdict: what replay makes of the same triplets.

        May be called from any thread.
        """
        return list(self._evidence.of(experiment, lane).windows)

    def discordance(self, experiment: Experiment) -> float | None:
        """The mean square of the votes of the comparison's closed windows; None without votes."""
        return self._evidence.of(experiment, lanes.COMPARISON).histogram.mean_square()

    def home_models(self, experiment: Experiment) -> Models:
        """Which models answered at home in an epoch, by the model asked for. From any thread."""
        return self._models.of((experiment.experiment_id, experiment.epoch))

    @property
    def in_hand(self) -> int:
        """Samples whose legs are asked now."""
        return len(self._hands)

    async def _repeat(self, step: Callable[[], Any], every_s: float) -> None:
        while not self._stopping or step != self._take_up:
            try:
                await step()
            except DomainError as error:
                log.error("shadow stands still: %s", error.message)
                await asyncio.sleep(RETRY_S)
            # A bad step must not end the loop: texts would outlive their time. What the error says may have a
            # sample's text in it.
            except Exception as error:
                log.error("a step of shadow fails, which is a defect: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)
            if step == self._take_up:
                with suppress(TimeoutError):
                    # Not wait_for, which can swallow the cancellation of `stop`.
                    async with asyncio.timeout(every_s):
                        await self._wake.wait()
                self._wake.clear()
            else:
                await asyncio.sleep(every_s)

    async def _take_up(self) -> None:
        """Takes as many samples in hand as there is room for."""
        held: set[str] = set()
        while not self._stopping and (room := self._in_flight - len(self._hands)) > 0:
            found = await self._on_disk(self._store.pending, room, list(self._hands), list(held))
            if not found:
                return
            for sample in found:
                experiment = await self._on_disk(self._store.experiment, sample.experiment_id, sample.epoch)
                assert experiment is not None  # the store takes no sample without
                allowed = self._may_spend(experiment)
                if allowed is None:
                    held.add(sample.workload)
                elif allowed:
                    task = asyncio.create_task(self._work(sample, experiment))
                    self._hands[sample.sample_id] = _Hand(task)
                else:
                    await self._lose(sample, CAP)

    def _may_spend(self, experiment: Experiment) -> bool | None:
        """Whether one more sample fits under the daily cap; None if what is spent is not known."""
        cap = experiment.daily_cost_cap_nanos
        if not cap:
            return True
        spent = self._spend.spent_today_nanos(experiment.workload)
        return None if spent is None else spent < cap

    async def _work(self, sample: Sample, experiment: Experiment) -> None:
        """Brings one sample to its end."""
        try:
            try:
                await self._finish(sample, *await self._inquire(sample, experiment))
            except LostError as error:
                await self._lose(sample, str(error))
            except DomainError as error:
                # The store. The sample is still in it, and its turn comes again.
                log.error("a sample can't be finished: %s", error.message)
                await asyncio.sleep(RETRY_S)
            except Exception as error:
                # Its text may have the sample's in it.
                log.error("a sample breaks the engine: %s", type(error).__name__)
                # Whatever answer did that, it must not gain by it, nor be asked for again and again.
                outcome = failure(sample, experiment, DEFECT)
                if isinstance(outcome, str):
                    await self._lose(sample, outcome)
                else:
                    await self._finish(sample, outcome)
        finally:
            self._hands.pop(sample.sample_id, None)
            self.wake()

    async def _inquire(self, sample: Sample, experiment: Experiment) -> tuple[list[Finished], Example | None]:
        try:
            request = shadow_pb2.SubmitSampleRequest.FromString(sample.payload)
        except DecodeError:
            raise LostError(UNREADABLE) from None
        by_name = await self._scoring.of(experiment.scorer, request)
        language = await self._scoring.off_loop(self._language.of, translate.user_text(request.chat))

        async def note_started(sample_id: bytes, started: bool) -> None:
            note = self._store.start if started else self._store.unstart
            await self._on_disk(note, [sample_id])

        async def note_model(served: str) -> None:
            about = ((sample.experiment_id, sample.epoch), request.chat.model, served)
            if not self._models.has(*about):
                await self._on_disk(self._models.add, *about)

        means = Means(
            router=self._router,
            scorer=by_name,
            note_started=note_started,
            note_model=note_model,
            asked=self._spend.asked,
            other_answer=self._other_answer,
            clock=self._clock,
            leg_timeout_s=self._leg_timeout_s,
        )
        inquiry = Inquiry(sample, request, experiment, language, means, self._control_share)
        self._hands[sample.sample_id].inquiry = inquiry
        rows = await inquiry.run()
        try:
            return rows, self.examples.of(request.chat, rows[0], *inquiry.answers)
        except Exception as error:
            # What is kept for people must change no vote. The error's text may have the answer in it.
            log.error("an example can't be made: %s", type(error).__name__)
            return rows, None

    def _other_answer(self, sample: Sample, cluster: bytes, sovereign: Answer) -> Answer | None:
        """Keeps a sovereign answer, and gives the one before it if that is to another question."""
        key = (sample.experiment_id, sample.epoch)
        before = self._others.get(key)
        self._others[key] = (cluster, sovereign)
        return before[1] if before is not None and before[0] != cluster else None

    async def _finish(self, sample: Sample, rows: Sequence[Finished], example: Example | None = None) -> None:
        finish, limit = self._store.finish, self.examples.per_epoch
        # False: its window has closed meanwhile, and it had its outcome then.
        if await self._on_disk(finish, sample.sample_id, rows, example, limit):
            self._deleted = True

    async def _lose(self, sample: Sample, reason: str) -> None:
        if await self._on_disk(self._store.lose, sample.sample_id, reason, self._clock()):
            self._deleted = True

    async def _close(self) -> None:
        """Closes the windows whose time has come."""
        for experiment in await self._on_disk(self._store.experiments):
            now = self._clock()
            key, before = (experiment.experiment_id, experiment.epoch), experiment.closed_before(now)
            if before <= self._closed.get(key, experiment.start_unix_us):
                continue
            ended = await self._on_disk(
                self._store.close_windows,
                experiment.experiment_id,
                experiment.epoch,
                before,
                lambda sample, experiment=experiment: self._outcome(sample, experiment),
                now,
            )
            self._closed[key] = before
            for sample_id in ended:
                self._deleted = True
                if hand := self._hands.get(sample_id):
                    hand.task.cancel()

    def _outcome(self, sample: Sample, experiment: Experiment) -> Sequence[Finished] | str:
        """What becomes of a sample whose window closes now. Called in the store's thread."""
        hand = self._hands.get(sample.sample_id)
        if hand is None or hand.inquiry is None:
            return failure(sample, experiment, LATE) if sample.started else NOT_ASKED
        if not hand.inquiry.started:
            return ROUTER_AWAY
        try:
            return hand.inquiry.rows()
        except LostError as error:
            return str(error)

    async def _sweep(self) -> None:
        if await self._on_disk(self.examples.sweep):
            self._deleted = True

    async def _forget(self) -> None:
        if self._deleted:
            self._deleted, cut = False, False
            try:
                cut = await self._on_disk(self._store.forget)
            finally:
                self._deleted = self._deleted or not cut

    async def _on_disk(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call, *args)
