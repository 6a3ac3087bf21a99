"""Counts how much of a prompt has been seen before, by the rules of OpenAI's prompt caching.

A prefix counts from 1,024 tokens on, in steps of 128 (platform.openai.com/docs/guides/prompt-caching).
Nothing is computed faster for it: only the count is stood in for.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

LEAST_TOKENS = 1024
"""Shortest prefix."""
STEP_TOKENS = 128
"""Steps in which prefixes grow."""
MAX_PREFIXES = 100_000
"""Prefixes kept, the least recently used go first: about 15 MB."""


class PrefixCache:
    """The prefixes that have been seen."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def seen(self, model: str, prompt: Sequence[str]) -> int:
        """How many of the prompt's first tokens were in an earlier one; from now on, all were."""
        digest = hashlib.blake2b(model.encode(), digest_size=16)
        cached, start = 0, 0
        for end in range(LEAST_TOKENS, len(prompt) + 1, STEP_TOKENS):
            digest.update("".join(prompt[start:end]).encode("utf-8", "surrogatepass"))
            start = end
            key = digest.digest()
            if key in self._seen:
                cached = end
                self._seen.move_to_end(key)
            else:
                self._seen[key] = None
        while len(self._seen) > MAX_PREFIXES:
            self._seen.popitem(last=False)
        return cached

    def clear(self) -> None:
        """Forgets all."""
        self._seen.clear()
