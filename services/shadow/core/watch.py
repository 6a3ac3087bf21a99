"""The watch after a cutover: which triplets vote in the alarm, and in which order.

They vote as they arrive: the alarm is to be early, not fair to late answers. Triplets of one cluster are no
independent evidence, so of those that arrive in one window only the first votes. The state is what follows
from the rows in the order of the store; the snapshot of a window's begin and the rows since give it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from services.shadow.core.detector import ALARM, Detector

_MILLION = 1_000_000


class Row(Protocol):
    """What the watch reads of a finished sample."""

    @property
    def arrival_unix_us(self) -> int | None:
        """When its last leg was scored; None if it never was."""

    @property
    def cluster(self) -> str:
        """What makes requests one vote; empty for a request that stands for itself."""

    @property
    def sovereign_millionths(self) -> int | None:
        """agree(sovereign, cloud); None if there was no answer to score."""

    @property
    def noise_millionths(self) -> int | None:
        """agree(cloud again, cloud); None if there was none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state before the first row of a window."""

    rowid: int = 0
    """Of the last row that is in it."""
    window: int = 0
    """Number of the window that begins, by its time of arrival."""
    log_parts: tuple[float, ...] = ()
    votes: int = 0

    def to_json(self) -> bytes:
        """For the store."""
        return json.dumps(
            {"rowid": self.rowid, "window": self.window, "log_parts": self.log_parts, "votes": self.votes}
        ).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Snapshot:
        """What `to_json` gave."""
        read = json.loads(data)
        return cls(read["rowid"], read["window"], tuple(read["log_parts"]), read["votes"])


class Watch:
    """The alarm of one epoch."""

    def __init__(self, margin: float, window_us: int, snapshot: Snapshot | None = None) -> None:
        """Goes on from a snapshot; the rows after it must come again."""
        self._window_us = window_us
        self.snapshot = snapshot or Snapshot()
        """As of the window that is open."""
        self.rowid = self.snapshot.rowid
        """Of the last row that was taken."""
        self.detector = Detector(margin, self.snapshot.log_parts, self.snapshot.votes)
        self._window = self.snapshot.window
        self._voted: set[str] = set()

    def take(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Lets rows vote, in the order of their ids."""
        for rowid, row in rows:
            if row.arrival_unix_us is not None:
                # Never back: two rows that overtook each other belong to the later window.
                window = max(row.arrival_unix_us // self._window_us, self._window)
                if window > self._window:
                    self._window, self._voted = window, set()
                    self.snapshot = Snapshot(self.rowid, window, self.detector.log_parts, self.detector.votes)
            self.rowid = rowid
            if row.cluster:
                if row.cluster in self._voted:
                    continue
                self._voted.add(row.cluster)
            self.detector = self.detector.after((_difference(row),))

    @property
    def alarm(self) -> str:
        """What the alarm says, in a sentence; empty if it does not."""
        if not self.detector.alarmed:
            return ""
        return (
            f"the alarm after cutover: {self.detector.votes:,} votes show a quality gap beyond the margin of"
            f" {self.detector.margin:g} (ln M = {self.detector.log_m:.2f}; the alarm is at M = {ALARM:,.0f})"
        )


def _difference(row: Row) -> Fraction:
    sovereign = row.sovereign_millionths
    # The least favourable, as in a verdict: no answer agrees with nothing.
    noise = _MILLION if row.noise_millionths is None else row.noise_millionths
    return Fraction((sovereign or 0) - noise, _MILLION)
