"""The alerts: reads what they follow from, and logs each once when it begins and once when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from services.shadow.adapters.ledger import LedgerAdapter
from services.shadow.adapters.store import Store
from services.shadow.core.alerts import Facts, Told, alerts
from services.shadow.core.funnel import SCORED_WITHIN_US, SPANS_US, Span, is_enough
from services.shadow.course import Course, Look

log = logging.getLogger(__name__)

EVERY_US = 10 * 1_000_000
"""How often the funnels are read: they take a scan of the epoch."""
RECENT_US = 300 * 1_000_000
"""Within which a shed sample raises an alert."""
AWAY_US = 5 * 1_000_000
"""How long the ledger is away before that is an alert."""
MINUTE_US = 60 * 1_000_000


class Alarms:
    """The alerts of all workloads, and of shadow itself."""

    def __init__(self, store: Store, ledger: LedgerAdapter, clock: Callable[[], int]) -> None:
        """`clock` gives microseconds since 1970."""
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._told = Told()
        self._read_unix_us = 0
        self._away_unix_us: int | None = None

    async def look(self, courses: Iterable[Course]) -> None:
        """Notices what has begun and what has ended."""
        now = self._clock()
        self._tell("", self.own())
        if now - self._read_unix_us < EVERY_US:
            return
        self._read_unix_us = now
        for course in courses:
            if course.look is not None:
                facts = self._facts(course, course.look)
                since = course.stay.since_unix_us
                course.alerts = alerts(await asyncio.to_thread(self._count, facts, course.look, since, now))
                self._tell(course.workload, course.alerts)

    def end(self, workload: str) -> None:
        """Forgets a workload that is gone."""
        self._tell(workload, {})

    def own(self) -> Mapping[str, str]:
        """The alerts that are about no workload."""
        now = self._clock()
        if self._ledger.connected:
            self._away_unix_us = None
            return {}
        if self._away_unix_us is None:
            self._away_unix_us = now
        if now - self._away_unix_us < AWAY_US:
            return {}
        version = self._ledger.policy.version
        return {
            "ledger": "the ledger does not answer: no workload can move, not even back; routers go on with"
            f" policy {version}"
        }

    def _tell(self, workload: str, now: Mapping[str, str]) -> None:
        for sentence in self._told.changes(workload, now):
            log.error("alert: %s", sentence)

    def _facts(self, course: Course, look: Look) -> Facts:
        sampling = look.row.sampling
        return Facts(
            stage=look.row.place.stage,
            rate_ppm=sampling.rate_ppm if sampling is not None else 0,
            experiment_known=sampling is None or look.experiment is not None,
            controls=look.situation.controls if sampling is not None else {},
            mixed=look.situation.mixed if sampling is not None else "",
            sleeping_breaker=course.breakers.sleeping(course.limits, self._clock()),
        )

    def _count(self, facts: Facts, look: Look, since_unix_us: int, now: int) -> Facts:
        """Adds the funnels. Reads the store; runs in a thread.

        Args:
            facts: without them.
            look: the workload's.
            since_unix_us: when it came to its place: before, another share may have been sampled.
            now: the time.
        """
        if look.row.sampling is None or look.experiment is None:
            return facts
        epoch = (look.experiment.experiment_id, look.experiment.epoch)
        # What came before the first window has no vote.
        begun = -(-max(since_unix_us, look.experiment.start_unix_us) // MINUTE_US) * MINUTE_US
        end = max((now - SCORED_WITHIN_US) // MINUTE_US * MINUTE_US, begun)
        young = self._store.funnel(*epoch, end)

        def span(length_us: int) -> Span:
            start = max(end - length_us, begun)
            return Span(self._store.funnel(*epoch, start) - young, end - start)

        hour = found = span(SPANS_US[0])
        for length_us in SPANS_US[1:]:
            if is_enough(found.funnel, facts.rate_ppm) or end - found.length_us <= begun:
                break
            found = span(length_us)
        return replace(
            facts,
            hour=hour.funnel,
            span=found,
            epoch=self._store.funnel(*epoch),
            recent=self._store.funnel(*epoch, (now - RECENT_US) // MINUTE_US * MINUTE_US),
        )
