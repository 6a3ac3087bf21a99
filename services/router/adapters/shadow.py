"""Samples and counts on their way to shadow, none of it on the path of a request.

`add` and `count` are all that a request sees: an append and an addition. What waits is bounded, what is shed
is counted, and a shadow that is down, slow or refusing costs an application nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from grpc import aio
from homeward.common.v1 import leg_pb2
from homeward.shadow.v1 import shadow_pb2, shadow_pb2_grpc

from services.common.errors import Reason
from services.common.interceptors import refusal, untraced
from services.common.server import channel
from services.router.core.leg import Leg
from services.router.core.sampling import Bar, BarredError, Origin, Sample, Shed, Step
from services.router.core.traffic import Traffic

log = logging.getLogger(__name__)

SETTLE_S = 0.02
"""How long a sample lies before it is turned into what shadow takes: its answer is on its way by then."""
RAW_SAMPLES = 64
"""Samples that lie like that at once. Turning one takes a millisecond."""
SUBMIT_TIMEOUT_S = 5.0
REPORT_TIMEOUT_S = 2.0
REPORT_S = 0.5
"""Pause between two reports: what the breakers learn late by."""
STALE_S = 30.0
"""Since the last report was taken: legs from longer ago are not told. To the breakers they would be the last
minute's."""
RETRY_S = 0.25
MAX_RETRY_S = 2.0
"""Pauses between the tries of a sample while shadow is away; they double."""
GIVE_UP_S = 60.0
"""Age of a sample at which it is shed while shadow is away."""
CLOSE_S = 2.0
"""How long the last samples and counts may take at the end."""

_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})

ToRequest = Callable[[Sample], shadow_pb2.SubmitSampleRequest]
"""Turns a sample into what shadow takes. Raises BarredError."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    origin: Origin
    request: shadow_pb2.SubmitSampleRequest
    since_s: float


class ShadowAdapter:
    """Shadow as one router process sees it."""

    def __init__(self, address: str, samples_in_memory: int, to_request: ToRequest) -> None:
        """Connects to nobody until there is a sample or a count. Needs a running event loop.

        Args:
            samples_in_memory: the most samples that wait.
        """
        self.away = False
        """True while shadow does not answer."""
        self._max_waiting = samples_in_memory
        self._to_request = to_request
        self._loop = asyncio.get_running_loop()
        self._rng = random.Random()
        self._traffic = Traffic(self._rng)
        self._raw: deque[Sample] = deque()
        self._raw_wake = asyncio.Event()
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._in_hand = 0
        """Samples that are being turned or sent."""
        self._done = asyncio.Event()
        self._router_id = os.urandom(16)
        self._sequence = 0
        self._report: shadow_pb2.ReportTrafficRequest | None = None
        """The report that was sent and not yet taken. Nothing may be added to it any more: it may have been
        counted, and its answer lost."""
        self._taken_s = self._loop.time()
        """When shadow last knew all that there was to tell."""
        self._channel = channel(address)
        self._stub = shadow_pb2_grpc.ShadowServiceStub(self._channel)
        self._tasks = [
            asyncio.create_task(self._turn_all()),
            asyncio.create_task(self._send_all()),
            asyncio.create_task(self._report_all()),
        ]

    def add(self, sample: Sample) -> None:
        """Takes a sample; never blocks, never fails."""
        if len(self._raw) >= RAW_SAMPLES:
            self._drawn(sample.origin)
            self.count(sample.origin, Step.SHED, Shed.QUEUE)
            return
        self._raw.append(sample)
        self._loop.call_later(SETTLE_S, self._raw_wake.set)

    def count(self, origin: Origin, step: Step, reason: str = "") -> None:
        """Counts a request at a step."""
        self._traffic.count(origin, step, reason)

    def leg(self, leg: Leg) -> None:
        """Counts a finished production leg of a workload that is compared."""
        self._traffic.leg(leg)

    async def close(self) -> None:
        """Stops, after a last chance for what waits if shadow answers."""
        self._raw_wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while (self._raw or self._waiting or self._in_hand) and not self.away:
                    self._done.clear()
                    await self._done.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.away:
            # The one in hand, and what has been counted since.
            await self._send_report()
            await self._send_report()
        await self._channel.close()

    def _drawn(self, origin: Origin) -> None:
        self.count(origin, Step.ELIGIBLE)
        self.count(origin, Step.SAMPLED)

    async def _turn_all(self) -> None:
        while True:
            await self._raw_wake.wait()
            self._raw_wake.clear()
            while self._raw:
                sample = self._raw.popleft()
                self._in_hand += 1
                try:
                    request = await asyncio.to_thread(self._to_request, sample)
                except BarredError as error:
                    self.count(sample.origin, Step.INELIGIBLE, error.bar)
                except Exception as error:
                    # Its text may have the sample's in it.
                    log.error("a defect: a sample can't be turned into a message: %s", type(error).__name__)
                    self.count(sample.origin, Step.INELIGIBLE, Bar.SHAPE)
                else:
                    self._drawn(sample.origin)
                    self._offer(_Waiting(sample.origin, request, self._loop.time()))
                finally:
                    self._in_hand -= 1
                    self._done.set()

    def _offer(self, item: _Waiting) -> None:
        if len(self._waiting) >= self._max_waiting:
            if not self.away:
                self.count(item.origin, Step.SHED, Shed.QUEUE)
                return
            # The oldest have had their time.
            self.count(self._waiting.popleft().origin, Step.SHED, Shed.AWAY)
        self._waiting.append(item)
        self._wake.set()

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                item = self._waiting.popleft()
                self._in_hand += 1
                try:
                    await self._send(item)
                finally:
                    self._in_hand -= 1
                    self._done.set()

    async def _send(self, item: _Waiting) -> None:
        pause_s = RETRY_S
        while not self._given_up(item):
            try:
                await self._stub.SubmitSample(item.request, timeout=SUBMIT_TIMEOUT_S, metadata=untraced())
            except aio.AioRpcError as error:
                if not _is_away(error):
                    self._heard()
                    log.debug("shadow refuses a sample: %s", error.details())
                    self.count(item.origin, Step.SHED, Shed.REFUSED)
                    return
                self._lost(error)
            else:
                self._heard()
                self.count(item.origin, Step.SENT)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RETRY_S)
        self.count(item.origin, Step.SHED, Shed.AWAY)

    def _given_up(self, item: _Waiting) -> bool:
        """True if a sample is tried no more: shadow is away, and it is old or in the way of others."""
        old = self._loop.time() - item.since_s >= GIVE_UP_S
        return self.away and (old or len(self._waiting) >= self._max_waiting)

    async def _report_all(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            await self._send_report()

    async def _send_report(self) -> None:
        """Sends the report in hand, or else what has been counted since."""
        if self._loop.time() - self._taken_s > STALE_S:
            self._traffic.legs.clear()
            if self._report is not None:
                # If shadow has counted it all the same, it knows that by the sequence.
                del self._report.legs[:]
        if self._report is None:
            if not self._traffic:
                self._taken_s = self._loop.time()
                return
            self._sequence += 1
            self._report = _report(self._traffic, self._router_id, self._sequence)
            self._traffic = Traffic(self._rng)
        try:
            await self._stub.ReportTraffic(self._report, timeout=REPORT_TIMEOUT_S, metadata=untraced())
        except aio.AioRpcError as error:
            if _is_away(error):
                self._lost(error)
                return
            log.warning("shadow refuses a report of traffic: %s", error.details())
        self._heard()
        self._report = None
        self._taken_s = self._loop.time()

    def _lost(self, error: aio.AioRpcError) -> None:
        if not self.away:
            self.away = True
            self._done.set()
            log.warning("shadow does not answer (%s); samples wait, and are shed in time", error.code().name)

    def _heard(self) -> None:
        if self.away:
            self.away = False
            log.info("shadow answers again")


def _is_away(error: aio.AioRpcError) -> bool:
    """True if the same call may be taken later."""
    refused = refusal(error)
    return error.code() in _AWAY if refused is None else refused.reason is Reason.STORAGE_UNAVAILABLE


def _report(traffic: Traffic, router_id: bytes, sequence: int) -> shadow_pb2.ReportTrafficRequest:
    report = shadow_pb2.ReportTrafficRequest(router_id=router_id, sequence=sequence)
    for key, count in traffic.samplings.items():
        item = report.samplings.add(
            workload=key.workload,
            experiment_id=key.experiment_id,
            epoch=key.epoch,
            step=key.step,
            reason=key.reason,
            count=count,
        )
        item.minute_time.seconds = key.minute_unix_s
    for (workload, target), tally in traffic.legs.items():
        report.legs.add(
            workload=workload,
            target=leg_pb2.Target.ValueType(target),
            leg_count=tally.legs,
            failed_count=tally.failed,
            invalid_count=tally.invalid,
            latency_us=tally.latencies_us.values,
            ttft_us=tally.ttfts_us.values,
        )
    return report
