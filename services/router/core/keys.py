"""API keys: who asks, and what they may ask for."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.common.errors import DomainError, Reason

EXPERIMENTS = "experiments"
"""The scope that may ask for legs with a purpose other than PRODUCTION."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret."""

    name: str
    sha256: bytes
    """Digest of the secret, 32 bytes. Secrets are random, so a fast hash is enough."""
    workloads: frozenset[str] | None = None
    """Names that the key may declare; None means all but the restricted ones that it does not name."""
    named: frozenset[str] = frozenset()
    """The workloads that the key's section names: those of its list beside `*`, and its default."""
    default_workload: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def may_use(self, workload: str) -> bool:
        """True if requests of that workload may come with this key."""
        return self.workloads is None or workload in self.workloads

    def lists(self, workload: str) -> bool:
        """True if the key's section has the workload by its name, which `*` is not."""
        return workload in self.named


class KeyRing:
    """The configured keys."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_prefix: dict[bytes, list[Key]] = {}
        for key in keys:
            self._by_prefix.setdefault(key.sha256[:4], []).append(key)

    def authenticate(self, secret: str | None) -> Key:
        """The key that the secret belongs to.

        The look-up goes by the digest's first four bytes, which a caller can't steer, and the rest is
        compared in constant time.

        Raises:
            DomainError: KEY_MISSING or KEY_INVALID.
        """
        if not secret:
            raise DomainError(
                Reason.KEY_MISSING,
                "no API key; send `Authorization: Bearer KEY` (or `x-api-key: KEY`)",
            )
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        for key in self._by_prefix.get(digest[:4], ()):
            if hmac.compare_digest(key.sha256, digest):
                return key
        raise DomainError(
            Reason.KEY_INVALID,
            "unknown API key; keys are in [keys] of homeward.toml, `homeward key new NAME` makes one",
        )
