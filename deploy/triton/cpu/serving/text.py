"""The text of an answer as its tokens come: whole characters only, and cut before a stop word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[int], str | None]
"""Takes the next token; the text that it completes, or None while a character is incomplete."""


class Text:
    """One answer. `shown` only ever grows, so what was sent needs no taking back."""

    def __init__(self, decode: Decode, stop_words: Sequence[str]) -> None:
        self._decode = decode
        self._stop_words = stop_words
        self._longest = max(map(len, stop_words), default=0)
        self._all = ""
        self.shown = ""
        """What may be sent: nothing in it can still turn out to begin a stop word."""
        self.stopped_by: str | None = None
        """The stop word that ended it."""

    def add(self, token: int) -> bool:
        """Takes the next token; true if that completes a stop word, and the text is at its end."""
        piece = self._decode(token)
        if not piece:
            return False
        # Before this piece no stop word was complete, so one that is now ends in the piece.
        start = max(0, len(self._all) - self._longest + 1)
        self._all += piece
        found = [(at, word) for word in self._stop_words if (at := self._all.find(word, start)) >= 0]
        if found:
            # The one that was complete first, as if the letters came one by one: where tokens end is chance.
            at, self.stopped_by = min(found, key=lambda pair: (pair[0] + len(pair[1]), pair[0]))
            self.shown = self._all[:at]
            return True
        self.shown = self._all[: len(self._all) - self._held_back()]
        return False

    def end(self) -> str:
        """The whole text, when no more tokens come. A character that is still incomplete is left out."""
        if self.stopped_by is None:
            self.shown = self._all
        return self.shown

    def _held_back(self) -> int:
        """How many characters at the end might begin a stop word."""
        for length in range(min(self._longest - 1, len(self._all)), 0, -1):
            tail = self._all[-length:]
            if any(word.startswith(tail) for word in self._stop_words):
                return length
        return 0
