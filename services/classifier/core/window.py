"""The text that the encoder reads: what little of a request fits into its 128 tokens.

Instructions stand at the head of the system prompt and at the head or the end of what the user wrote; what
lies between is the material. So each part gives its head and its tail. The cost of a word is guessed from its
length, since the tokenizer would have to read all to tell; it cuts what the guess lets through.
"""

from __future__ import annotations

import re

from services.common.seen import Seen

WINDOW_TOKENS = 116
"""Of the 126 that the encoder reads: a word costs a little more than its guess."""
SYSTEM_TOKENS = 40
"""Of the system prompt, if it has as many; more if the turns leave room."""
HEAD_SHARE = 0.6
"""Of a part's tokens, for its head; the others are for its tail."""
GAP = " … "
"""Stands where something was left out."""
_CHARS_A_TOKEN = 12
"""Of a text that is looked at for each token wanted. Generous, for blanks count too."""
_PIECE = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
"""What the tokenizer never joins: words, numbers, each other character."""


def window(seen: Seen) -> str:
    """The system prompt's head and tail, then those of the turns: some hundred characters."""
    turns = "\n".join(seen.turns)
    system_tokens = _tokens(seen.system_prompt, WINDOW_TOKENS)
    room = max(SYSTEM_TOKENS, WINDOW_TOKENS - _tokens(turns, WINDOW_TOKENS))
    system_tokens = min(system_tokens, room)
    parts = (_ends(seen.system_prompt, system_tokens), _ends(turns, WINDOW_TOKENS - system_tokens))
    return "\n".join(part for part in parts if part)


def _cost(piece: str) -> int:
    """Tokens that a piece is guessed to cost: the mean over English prompts is a twentieth more."""
    return 1 + (len(piece) - 1) // (4 if piece[0].isdigit() else 9)


def _tokens(text: str, most: int) -> int:
    """Tokens of a text, counted up to `most`."""
    total = 0
    for match in _PIECE.finditer(text, 0, most * _CHARS_A_TOKEN):
        total += _cost(match[0])
        if total >= most:
            return most
    # What was not looked at is not free.
    return most if len(text) > most * _CHARS_A_TOKEN else total


def _ends(text: str, tokens: int) -> str:
    """The whole text if it has no more tokens, else its head and its tail."""
    if _tokens(text, tokens + 1) <= tokens:
        return text.strip()
    head_tokens = round(tokens * HEAD_SHARE)
    return f"{_head(text, head_tokens)}{GAP}{_tail(text, tokens - head_tokens)}"


def _head(text: str, tokens: int) -> str:
    end = left = 0
    for match in _PIECE.finditer(text, 0, tokens * _CHARS_A_TOKEN):
        left += _cost(match[0])
        if left > tokens:
            break
        end = match.end()
    return text[:end].strip()


def _tail(text: str, tokens: int) -> str:
    begin = max(0, len(text) - tokens * _CHARS_A_TOKEN)
    start, left = len(text), 0
    for match in reversed(list(_PIECE.finditer(text, begin))):
        left += _cost(match[0])
        if left > tokens:
            break
        start = match.start()
    return text[start:].strip()
