"""Who asks: what is known of the holder of an API key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import TypeVar

from services.common.errors import DomainError, Reason

T = TypeVar("T")


def holder(keys: Mapping[bytes, T], secret: str) -> T | None:
    """What is known of the key with a secret; None for a stranger's.

    Args:
        keys: what is known of each, by the SHA-256 of its secret.
        secret: what was sent; empty for nothing.

    Raises:
        DomainError: KEY_MISSING.
    """
    if not secret:
        raise DomainError(
            Reason.KEY_MISSING, "no API key; set HOMEWARD_API_KEY, or send `authorization: Bearer KEY`"
        )
    digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
    return next((found for known, found in keys.items() if hmac.compare_digest(known, digest)), None)
