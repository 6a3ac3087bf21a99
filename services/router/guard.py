"""Has the detectors of a workload read a request before a route is chosen, and counts what they find."""

from __future__ import annotations

import asyncio
import logging
import time
import zipfile
from collections import Counter
from collections.abc import Sequence

from services.common.settings import SettingsError
from services.router.call import Ask
from services.router.core import personal_data
from services.router.core.detectors import Kind
from services.router.core.identifiers import names
from services.router.core.naming import Name
from services.router.core.personal_data import Detectors, Hit, OnHit, Rules

log = logging.getLogger(__name__)

PERSONAL_DATA = "homeward.personal_data.kinds"
"""The span attribute with the kinds that were found, sorted and joined by commas; never what was found."""
UNREAD = "unread"
"""Stands among the kinds if a request could not be read."""
ON_HIT = "homeward.personal_data.on_hit"
"""The span attribute with what followed."""
INLINE_BYTES = 16 * 1024
"""Largest body that is read at once: larger ones are read by a thread, so that other requests go on."""
INLINE_NAMES_BYTES = 2 * 1024
"""The same if names of people are looked for: a millisecond or two for a KB."""
REPORT_S = 60.0
"""Shortest pause between two lines of the log with the counts."""


class Guard:
    """Reads requests. One a process."""

    def __init__(self, rules: Rules) -> None:
        """Reads the model of names if a workload has its requests read for them.

        Raises:
            SettingsError: the model isn't there, or is none.
        """
        if any(Kind.PERSON in item.kinds for item in rules.by_workload.values()):
            try:
                names.model()
            except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
                raise SettingsError(f'workloads.NAME.personal_data.detectors: "person": {error}') from None
        self.hits: Counter[tuple[str, str, str]] = Counter()
        """Requests with a hit by workload, kind and what followed; a workload's name is empty if none is."""
        self._rules = rules
        self._reported_s = float("-inf")

    async def look(self, ask: Ask, name: Name) -> Hit | None:
        """What the detectors that bind a request find in it; None if it is nothing, or none bind it."""
        if not self._rules.by_workload:
            return None
        detectors = self._rules.binding(ask.key, name)
        if not detectors:
            return None
        hit = await self._read(ask, detectors)
        if hit is not None:
            on_hit = OnHit.SOVEREIGN if hit.sovereign else OnHit.MASK
            kinds = [*(kind.value for kind in hit.kinds), *([UNREAD] if hit.unread else [])]
            ask.span.set_attributes({PERSONAL_DATA: ", ".join(kinds), ON_HIT: on_hit.value})
            self._count(name.workload, kinds, on_hit)
        return hit

    async def _read(self, ask: Ask, detectors: Sequence[Detectors]) -> Hit | None:
        names_too = any(Kind.PERSON in item.kinds for item in detectors)
        if len(ask.request.body) <= (INLINE_NAMES_BYTES if names_too else INLINE_BYTES):
            return personal_data.look(ask.request, detectors)
        return await asyncio.to_thread(personal_data.look, ask.request, detectors)

    def _count(self, workload: str, kinds: Sequence[str], on_hit: OnHit) -> None:
        self.hits.update((workload, kind, on_hit.value) for kind in kinds)
        now_s = time.monotonic()
        if now_s - self._reported_s >= REPORT_S:
            self._reported_s = now_s
            hits = {" ".join(key): count for key, count in sorted(self.hits.items())}
            log.info("requests with personal data since the start", extra={"hits": hits})
