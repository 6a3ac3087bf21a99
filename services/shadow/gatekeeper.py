"""The gatekeeper: when the sovereign endpoint is probed, and that it is not probed all the time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from services.common.words import Stage
from services.shadow.core.gate import Need, unknown
from services.shadow.core.verdict import Verdict
from services.shadow.course import Course, Look
from services.shadow.probes import Probes, Subject, probe_all

log = logging.getLogger(__name__)

RETRY_US = 60 * 1_000_000
"""Pause before a probe that failed is made again."""
AGAIN_US = 5 * 1_000_000
"""Pause before what was never probed is: needs that grow with each request make no storm of probes."""
ASKED_S = 30.0
"""How long a call waits for probes that it asked for."""
_BEFORE_HOME = (Stage.SHADOWED, Stage.CANARY)


class Gatekeeper:
    """Probes for every workload, one round at a time each."""

    def __init__(self, probes: Probes, clock: Callable[[], int], done: Callable[[], None]) -> None:
        """`clock` gives microseconds since 1970; `done` is called after each round."""
        self._probes = probes
        self._clock = clock
        self._done = done

    def look(self, course: Course, look: Look) -> None:
        """Begins a round if the verdict is near."""
        situation = look.situation
        near = situation.closed_windows >= situation.min_windows - 1
        if near and situation.verdict is not Verdict.REJECTED:
            self._begin(course, look)

    async def ask(self, course: Course, look: Look) -> None:
        """Begins a round because somebody asks, and waits for it."""
        self._begin(course, look)
        if course.probing is not None:
            await asyncio.wait([course.probing], timeout=ASKED_S)

    def _begin(self, course: Course, look: Look) -> None:
        running = course.probing is not None and not course.probing.done()
        if running or look.row.place.stage not in _BEFORE_HOME:
            return
        todo = course.to_probe(look)
        # A longer prompt than was probed, or another schema, need not wait for what failed.
        new = any(need.name not in course.failures for need in unknown(look.wanted, course.found))
        if todo and self._clock() - course.probed_unix_us >= (AGAIN_US if new else RETRY_US):
            course.probing = asyncio.create_task(self._round(course, todo))

    async def _round(self, course: Course, todo: Sequence[Need]) -> None:
        epoch, subject = course.epoch, Subject(course.workload, course.parts, course.system_prompts)
        try:
            found, failures = await probe_all(self._probes, subject, todo)
            # The lock, so that no epoch begins meanwhile.
            async with course.lock:
                await asyncio.to_thread(course.keep, found, failures, epoch, self._clock())
        # A defect here must show, and keep the workload in the cloud, but not fail a call that waits.
        except Exception:
            log.exception("the probes of %s failed", course.workload)
            if course.epoch == epoch:
                course.probed_unix_us = self._clock()
        self._done()
