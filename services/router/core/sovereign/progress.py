"""From the text so far to what is new in it: stop words, and characters that are not whole yet.

TensorRT-LLM streams text that grows. A stop word may come in pieces, and so may a character: what might
yet turn out to be part of either is held back.
"""

from __future__ import annotations

from collections.abc import Sequence

UNFINISHED = "\ufffd"
"""What a tokenizer writes for bytes that are no character yet."""


class Progress:
    """Follows one answer."""

    def __init__(self, stop: Sequence[str]) -> None:
        """`stop` has the words at which to end; none is empty."""
        self.text = ""
        """What was let through."""
        self.stopped = False
        """True once a stop word has come: what follows it is nobody's."""
        self._stop = tuple(stop)
        self._longest = max(map(len, self._stop), default=0)

    def feed(self, so_far: str, *, final: bool) -> str:
        """What can be let through of the whole text so far, beyond what was before.

        Raises:
            ValueError: the text does not begin with what was let through.
        """
        if self.stopped:
            return ""
        if not so_far.startswith(self.text):
            raise ValueError("the server changed text that it had sent")
        done = len(self.text)
        whole = so_far if final else so_far.rstrip(UNFINISHED)
        end = self._first_stop(whole, done)
        if end is not None:
            self.stopped = True
        elif final:
            end = len(so_far)
        else:
            end = max(done, self._safe_end(whole))
        new = so_far[done:end]
        self.text += new
        return new

    def _first_stop(self, text: str, done: int) -> int | None:
        # A stop word can begin no earlier than what is held back, which was never let through. The first
        # is the one that is whole first, so that it does not matter in which pieces the text comes.
        found = [(place + len(word), place) for word in self._stop if (place := text.find(word, done)) >= 0]
        return min(found)[1] if found else None

    def _safe_end(self, text: str) -> int:
        """Where the longest end of the text begins that could be the beginning of a stop word."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-length:]
            if any(word.startswith(tail) for word in self._stop):
                return len(text) - length
        return len(text)
