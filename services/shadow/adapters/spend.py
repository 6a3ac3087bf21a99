"""What today's shadowing has cost in the cloud, by workload, for the daily cap.

The book knows it some seconds late: routers book legs in batches. Legs that were asked and are not booked
yet count at the mean of the workload's booked ones, and so do legs whose cost nobody knows. Legs at home are
left out: their pool costs the same without them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from clickhouse_connect.driver.client import Client

from services.common.clickhouse import connect
from services.common.settings import ClickHouse

log = logging.getLogger(__name__)

POLL_S = 10.0
"""Time between two looks at the book."""
MEAN_DAYS = 7
"""Days before today whose legs give the mean cost, too: a day begins without any."""
FORGET_S = 600.0
"""After which an asked leg that was never booked counts no longer: the router refused it before."""
CONNECT_TIMEOUT_S = 2
QUERY_TIMEOUT_S = 10

_QUERY = """
SELECT
    workload,
    sumIf(spend.legs, hour >= {today:DateTime}) AS legs_today,
    sumIf(spend.unknown_legs, hour >= {today:DateTime}) AS unknown_today,
    sumIf(spend.cost_nanos, hour >= {today:DateTime}) AS nanos_today,
    sum(spend.legs) - sum(spend.unknown_legs) AS known_legs,
    sum(spend.cost_nanos) AS nanos
FROM homeward.spend_by_hour AS spend
WHERE hour >= {today:DateTime} - INTERVAL {days:UInt16} DAY
    AND target = 'cloud' AND purpose IN ('shadow', 'noise', 'judge')
GROUP BY workload
"""


@dataclass(frozen=True, slots=True)
class Booked:
    """What the book says of a workload's legs."""

    legs: int
    """Of today."""
    unknown: int
    """Of today, of unknown cost."""
    nanos: int
    """What the known ones of today cost, nano-dollars."""
    mean_nanos: float | None
    """What a leg costs; None if no cost is known."""


@dataclass(slots=True)
class Reckoning:
    """Today's cost of one workload. Pure: times are arguments."""

    booked: Booked = Booked(0, 0, 0, None)
    day: int = -1
    """Days since 1970 of what is booked; -1 before the first look."""
    asked: deque[tuple[float, int]] = field(default_factory=deque)
    """(monotonic seconds, legs) that are not booked yet, the oldest first."""

    def ask(self, now_s: float) -> None:
        """Counts a leg."""
        if self.asked and now_s - self.asked[-1][0] < 1:
            since, count = self.asked.pop()
            self.asked.append((since, count + 1))
        else:
            self.asked.append((now_s, 1))

    def look(self, booked: Booked, day: int, now_s: float) -> None:
        """Takes what the book says now. Legs that are new in it were asked first."""
        new = 0
        if self.day >= 0:
            new = max(0, booked.legs - (self.booked.legs if day == self.day else 0))
        waiting: deque[tuple[float, int]] = deque()
        for since, count in self.asked:
            found = min(count, new)
            new -= found
            if count > found and now_s - since <= FORGET_S:
                waiting.append((since, count - found))
        self.asked = waiting
        self.booked, self.day = booked, day

    def nanos(self, day: int) -> int | None:
        """Nano-dollars of a day; None while unknown."""
        if self.day < 0:
            return None
        today = self.booked if day == self.day else Booked(0, 0, 0, self.booked.mean_nanos)
        guessed = today.unknown + sum(count for _, count in self.asked)
        if not guessed:
            return today.nanos
        if today.mean_nanos is None:
            return None
        return today.nanos + round(guessed * today.mean_nanos)


class Spend:
    """Asks ClickHouse in a thread of its own. Any thread may call it; it never waits."""

    def __init__(self, settings: ClickHouse, clock: Callable[[], float] = time.time) -> None:
        """Starts the thread; ClickHouse need not be there yet.

        Args:
            settings: where the book is.
            clock: seconds since the epoch.
        """
        self._settings = settings
        self._clock = clock
        self._workloads: dict[str, Reckoning] = {}
        self._seen = False
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._client: Client | None = None
        # A daemon: a ClickHouse that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="spend", daemon=True)
        self._thread.start()

    def spent_today_nanos(self, workload: str) -> int | None:
        """What today's (UTC) shadow, noise and judge legs of a workload have cost in the cloud, nano-dollars.

        None while unknown: before the first answer of ClickHouse, and while legs were asked and no cost of
        any leg of the last days is known.
        """
        with self._lock:
            if not self._seen:
                return None
            return self._of(workload).nanos(_day(self._clock()))

    def asked(self, workload: str) -> None:
        """Counts a leg in the cloud, until it is booked."""
        with self._lock:
            self._of(workload).ask(time.monotonic())

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._thread.join(CONNECT_TIMEOUT_S)

    def _of(self, workload: str) -> Reckoning:
        return self._workloads.setdefault(workload, Reckoning(day=_day(self._clock()) if self._seen else -1))

    def _work(self) -> None:
        told = False
        while True:
            try:
                self._look()
                told = False
            # The last known figures and the legs that were asked since are better than none.
            except Exception as error:
                if not told:
                    log.warning("what shadowing costs is not known: %s", str(error).split("\n")[0])
                told = True
                self._forget_client()
            if self._closing.wait(POLL_S):
                break
        self._forget_client()

    def _look(self) -> None:
        day = _day(self._clock())
        found = self._book(day)
        with self._lock:
            now_s = time.monotonic()
            for workload in found.keys() | self._workloads.keys():
                reckoning = self._workloads.setdefault(workload, Reckoning())
                # A workload without a leg in the cloud is known to have cost nothing.
                reckoning.look(found.get(workload, Booked(0, 0, 0, None)), day, now_s)
            self._seen = True

    def _book(self, day: int) -> Mapping[str, Booked]:
        if self._client is None:
            self._client = connect(self._settings, connect_s=CONNECT_TIMEOUT_S, answer_s=QUERY_TIMEOUT_S)
        known = {"today": datetime.fromtimestamp(day * 86_400, UTC), "days": MEAN_DAYS}
        rows = self._client.query(_QUERY, known).result_rows
        return {
            workload: Booked(legs, unknown, nanos, all_nanos / known_legs if known_legs > 0 else None)
            for workload, legs, unknown, nanos, known_legs, all_nanos in rows
        }

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _day(unix_s: float) -> int:
    """Days since 1970 UTC."""
    return int(unix_s // 86_400)
