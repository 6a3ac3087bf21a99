"""Which replica serves a request: the one with the least to do, unless another knows its prompt.

A server keeps the keys and values of prompts that it has seen, in blocks, and a prompt that begins alike
skips what is there. So requests with the same beginning go to the same replica as long as that is hardly
busier than the others.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from services.common.errors import DomainError, Reason

PREFIX_CHARS = (256, 512, 1024, 2048, 4096, 8192, 16384)
"""Lengths of the beginnings that are remembered. Shorter prompts are cheaper to read than to place."""
KEPT_PREFIXES = 16_384
"""Beginnings that are remembered: more than a server has room for."""
RATE_WINDOW_S = 30.0
"""Time over which a pool's tokens a second are smoothed."""
MAX_RETRY_AFTER_S = 60
FIRST_ANSWER_TOKENS = 256
"""An answer's length until some have been seen."""
LENGTH_WEIGHT = 0.05
"""Weight of the newest answer in the mean length."""


@dataclass(slots=True)
class Replica:
    """A server of the model, as the pool sees it."""

    name: str
    up: bool = True
    requests: int = 0
    """In flight."""
    tokens: int = 0
    """What those in flight were estimated to need, prompt and answer."""


@dataclass(slots=True)
class Pool:
    """The replicas of one upstream."""

    upstream: str
    replicas: Sequence[Replica]
    queue_tokens: int
    """Estimated tokens that may be in flight at one replica."""
    affinity_requests: int
    """How many more requests a replica may have than the idlest and still get those that it knows."""
    _known: OrderedDict[int, Replica] = field(default_factory=OrderedDict)
    _answer_tokens: float = FIRST_ANSWER_TOKENS
    _rate: float = 0.0
    _rate_at_s: float = 0.0

    def estimate(self, prompt_tokens: int, max_tokens: int) -> int:
        """Tokens that a request will probably need."""
        return prompt_tokens + min(max_tokens, math.ceil(2 * self._answer_tokens))

    def choose(self, prompt: str, tokens: int, tried: Collection[str]) -> Replica:
        """The replica for a request of so many estimated tokens; one that was tried is not tried again.

        Raises:
            DomainError: UPSTREAM_UNREACHABLE if none is up, REPLICAS_BUSY if all that are up are full.
        """
        up = [replica for replica in self.replicas if replica.up and replica.name not in tried]
        if not up:
            raise DomainError(
                Reason.UPSTREAM_UNREACHABLE,
                f"no replica of upstream {self.upstream!r} is up"
                + (f" but {', '.join(sorted(tried))}, which failed" if tried else ""),
                upstream=self.upstream,
                attempts=len(tried),
            )
        # One that is idle takes a request of any size, which could run nowhere else either.
        free = [item for item in up if not item.requests or item.tokens + tokens <= self.queue_tokens]
        if not free:
            raise self._busy(up, tokens)
        idlest = min(free, key=lambda replica: (replica.requests, replica.tokens))
        prefixes = list(_prefixes(prompt))
        for prefix in reversed(prefixes):
            known = self._known.get(prefix)
            if known is not None:
                if known in free and known.requests <= idlest.requests + self.affinity_requests:
                    idlest = known
                break
        for prefix in prefixes:
            self._known[prefix] = idlest
            self._known.move_to_end(prefix)
        while len(self._known) > KEPT_PREFIXES:
            self._known.popitem(last=False)
        return idlest

    def take(self, replica: Replica, tokens: int) -> None:
        """Notes that a request was sent."""
        replica.requests += 1
        replica.tokens += tokens

    def give_back(self, replica: Replica, tokens: int) -> None:
        """Notes that it has ended, however."""
        replica.requests -= 1
        replica.tokens -= tokens

    def served(self, prompt_tokens: int, answer_tokens: int, now_s: float) -> None:
        """Learns from an answer that came whole."""
        self._answer_tokens += LENGTH_WEIGHT * (answer_tokens - self._answer_tokens)
        faded = math.exp(-max(0.0, now_s - self._rate_at_s) / RATE_WINDOW_S)
        self._rate = self._rate * faded + (prompt_tokens + answer_tokens) / RATE_WINDOW_S
        self._rate_at_s = now_s

    def forget(self, replica: Replica) -> None:
        """Drops what a replica knew; it has been started anew."""
        for prefix in [prefix for prefix, knows in self._known.items() if knows is replica]:
            del self._known[prefix]

    def _busy(self, up: Sequence[Replica], tokens: int) -> DomainError:
        over = min(replica.tokens for replica in up) + tokens - self.queue_tokens
        wait_s = over * len(up) / self._rate if self._rate > 0 else 1
        wait_s = max(1, math.ceil(min(MAX_RETRY_AFTER_S, wait_s)))
        return DomainError(
            Reason.REPLICAS_BUSY,
            f"all {len(up)} replicas of upstream {self.upstream!r} have {self.queue_tokens} tokens in"
            f" flight, which is their limit; retry after {wait_s} s",
            upstream=self.upstream,
            replicas=len(up),
            queued_tokens=sum(replica.tokens for replica in up),
            retry_after_s=wait_s,
        )


def _prefixes(prompt: str) -> Iterator[int]:
    for length in PREFIX_CHARS:
        if len(prompt) < length:
            return
        yield hash(prompt[:length])
