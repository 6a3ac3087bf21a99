"""The language of a text, by py3langid: naive Bayes over byte n-grams, its model in the package."""

from __future__ import annotations

import threading
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

LEAST_LETTERS = 12
"""In fewer, `hello` is as good as Breton. Scripts without an alphabet say as much with a third of them."""
LEAST_PROBABILITY = 0.7
MAX_CHARS = 2_000
"""Of a text, its first: they tell its language, and a book takes as long as its length."""
_DENSE = 0x2E80
"""Where the scripts of East Asia begin."""


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


class Language:
    """Tells languages. May be called from several threads; loads at the first call (a second, 80 MB)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def of(self, text: str) -> str:
        """The code (ISO 639-1, mostly) of a text's language; empty if it is too short or in none."""
        start = text[:MAX_CHARS].encode("utf-8", "replace").decode()
        letters = sum(3 if ord(char) >= _DENSE else 1 for char in start if char.isalpha())
        if letters < LEAST_LETTERS:
            return ""
        with self._lock:
            name, probability = _identifier().classify(start)
        return str(name) if probability >= LEAST_PROBABILITY else ""
