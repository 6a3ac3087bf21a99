"""The evidence of each epoch and lane, kept as windows close: what a replay of its triplets would find."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from services.shadow.adapters.store import Store
from services.shadow.core.experiment import Experiment
from services.shadow.core.triplets import Triplet
from services.shadow.core.verdict import Evidence

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kept:
    evidence: Evidence
    through_unix_us: int = 0
    """Requests before it are in the evidence."""
    full: bool = False
    """It has as many windows as an epoch may have."""


class EvidenceCache:
    """Reads each triplet once: those of a closed window never change. May be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: dict[tuple[bytes, int, str], _Kept] = {}

    def of(self, experiment: Experiment, lane: str) -> Evidence:
        """What the windows that have closed by now have shown. Not to be changed by the caller."""
        key = (experiment.experiment_id, experiment.epoch, lane)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(Evidence(experiment.rules, experiment.epoch))
            closed = self._store.closed_before(experiment.experiment_id, experiment.epoch)
            if closed > kept.through_unix_us:
                self._advance(kept, experiment, lane, closed)
            return kept.evidence

    def _advance(self, kept: _Kept, experiment: Experiment, lane: str, closed_unix_us: int) -> None:
        by_start: dict[int, list[Triplet]] = {}
        for triplet in self._store.triplets(
            experiment.experiment_id, experiment.epoch, lane, kept.through_unix_us, closed_unix_us
        ):
            by_start.setdefault(experiment.window_start(triplet.request_unix_us), []).append(triplet)
        for start in sorted(by_start):
            if kept.full:
                break
            try:
                kept.evidence.close(start, by_start[start])
            except ValueError as error:
                # A verdict that stands goes on to stand.
                log.warning("%s: %s", experiment.workload, error)
                kept.full = True
        kept.through_unix_us = closed_unix_us
