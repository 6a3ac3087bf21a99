"""The alerts: reads what they follow from, and logs each once when it begins and once when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from services.shadow.adapters.ledger import LedgerAdapter
from services.shadow.adapters.store import Store
from services.shadow.core.alerts import Facts, Told, alerts
from services.shadow.core.funnel import SCORED_WITHIN_US, STILL_US, Funnel
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
                course.alerts = alerts(await asyncio.to_thread(self._count, facts, course.look, now))
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
            sleeping_breaker=course.breakers.sleeping(course.limits),
        )

    def _count(self, facts: Facts, look: Look, now: int) -> Facts:
        """Adds the funnels. Reads the store; runs in a thread."""
        if look.row.sampling is None or look.experiment is None:
            return facts
        epoch = (look.experiment.experiment_id, look.experiment.epoch)

        def since(age_us: int) -> Funnel:
            return self._store.funnel(*epoch, (now - age_us) // MINUTE_US * MINUTE_US)

        return replace(
            facts,
            hour=since(SCORED_WITHIN_US + STILL_US) - since(SCORED_WITHIN_US),
            epoch=self._store.funnel(*epoch),
            recent=since(RECENT_US),
        )
