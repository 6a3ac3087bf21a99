"""Requests and tokens a minute, by key: token buckets that hold one minute's worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.common.errors import DomainError, Reason
from services.router.core.keys import Key


@dataclass(slots=True)
class Bucket:
    """Fills at `per_minute` up to one minute's worth. May go below zero: what was used was used."""

    per_minute: float
    level: float
    at_s: float

    def refill(self, now_s: float) -> None:
        """Adds what has flown in; a clock that went back adds nothing."""
        gone_s = max(0.0, now_s - self.at_s)
        self.level = min(max(1.0, self.per_minute), self.level + gone_s * self.per_minute / 60)
        self.at_s = now_s

    def wait_s(self, amount: float) -> int:
        """Whole seconds until `amount` is there, at least 1."""
        return max(1, math.ceil((amount - self.level) * 60 / self.per_minute))


class Gate:
    """Counts the requests in flight in one router process, of both doors together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.in_flight = 0

    def __enter__(self) -> None:
        """Lets a request in.

        Raises:
            DomainError: OVERLOADED.
        """
        if self.in_flight >= self._limit:
            raise DomainError(
                Reason.OVERLOADED,
                "too many requests in flight; retry after 1 s",
                limit=self._limit,
                retry_after_s=1,
            )
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1


class Limiter:
    """The buckets of one router process."""

    def __init__(self, share: float = 1.0) -> None:
        """`share` is this process's part of each limit: 1 / the number of router processes."""
        self._share = share
        self._requests: dict[str, Bucket] = {}
        self._tokens: dict[str, Bucket] = {}

    def admit(self, key: Key, now_s: float) -> None:
        """Takes one request, if there is one left and tokens are not overdrawn.

        Raises:
            DomainError: RATE_LIMITED, with the seconds after which to come back.
        """
        tokens = self._bucket(self._tokens, key.name, key.tokens_per_minute, now_s)
        if tokens is not None and tokens.level <= 0:
            raise _limited(key, "tokens_per_minute", tokens.wait_s(1))
        requests = self._bucket(self._requests, key.name, key.requests_per_minute, now_s)
        if requests is not None:
            if requests.level < 1:
                raise _limited(key, "requests_per_minute", requests.wait_s(1))
            requests.level -= 1

    def spend(self, key: Key, tokens: int, now_s: float) -> None:
        """Takes the tokens that a request turned out to use."""
        bucket = self._bucket(self._tokens, key.name, key.tokens_per_minute, now_s)
        if bucket is not None:
            bucket.level -= tokens

    def _bucket(
        self, buckets: dict[str, Bucket], name: str, per_minute: float | None, now_s: float
    ) -> Bucket | None:
        if per_minute is None:
            return None
        bucket = buckets.get(name)
        if bucket is None:
            rate = per_minute * self._share
            bucket = buckets[name] = Bucket(rate, max(1.0, rate), now_s)
        bucket.refill(now_s)
        return bucket


def _limited(key: Key, limit: str, retry_after_s: int) -> DomainError:
    return DomainError(
        Reason.RATE_LIMITED,
        f"key {key.name!r} has used up its {limit.replace('_', ' ')}; retry after {retry_after_s} s",
        key=key.name,
        limit=limit,
        retry_after_s=retry_after_s,
    )
