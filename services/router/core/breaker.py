"""A circuit breaker for each upstream: after repeated failures, leave it alone for a while."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Opens after `threshold` failures in a row; after `cooldown_s` lets one call through to try.

    A failure is a call that says something about the upstream's health: unreachable, timed out, broken,
    or a status of 500 and above. A 4xx is the caller's affair, a 429 is an upstream that works.
    """

    threshold: int
    cooldown_s: float
    failures: int = 0
    opened_at_s: float = 0.0
    state: State = State.CLOSED

    def admit(self, now_s: float) -> bool:
        """True if a call may be made now. In the half-open state, one may."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN and now_s - self.opened_at_s >= self.cooldown_s:
            self.state = State.HALF_OPEN
            self.opened_at_s = now_s
            return True
        # A trial call that never reported back must not keep the breaker half-open for good.
        if self.state is State.HALF_OPEN and now_s - self.opened_at_s >= self.cooldown_s:
            self.opened_at_s = now_s
            return True
        return False

    def succeeded(self) -> None:
        """A call went well."""
        self.failures = 0
        self.state = State.CLOSED

    def failed(self, now_s: float) -> None:
        """A call went wrong."""
        self.failures += 1
        if self.state is State.HALF_OPEN or self.failures >= self.threshold:
            self.state = State.OPEN
            self.opened_at_s = now_s

    def retry_after_s(self, now_s: float) -> int:
        """Whole seconds until a call may be tried, at least 1."""
        return max(1, math.ceil(self.opened_at_s + self.cooldown_s - now_s))
