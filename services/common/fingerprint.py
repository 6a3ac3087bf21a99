"""The fingerprint of a request's fixed parts: what stays when only the user's content changes.

Pure. The router computes it for each request, the classifier for each registered workload, and both must
get the same, so it stands here.
"""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 16


def fingerprint(system_prompt: str) -> bytes:
    """16 bytes of SHA-256 over the system prompt with its white space folded.

    Args:
        system_prompt: the texts of the system and developer messages, joined by newlines.
    """
    return hashlib.sha256(" ".join(system_prompt.split()).encode()).digest()[:DIGEST_BYTES]
