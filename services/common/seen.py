"""What the classifier sees of a request: its opening, cut to what tells one kind of work from another.

Pure. A conversation is named by its opening (all up to and with the first message of the user), so that it
keeps its name however long it gets, whichever router it reaches. The router cuts, the command that evaluates
cuts the same way, and the classifier reads: so it stands here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_SYSTEM_BYTES = 8192
"""UTF-8 bytes of the system prompt that are shown."""
MAX_TURNS_BYTES = 8192
"""UTF-8 bytes of all turns together that are shown."""
MAX_TURNS = 128
"""Turns that are shown; of more, the first and the last."""
MAX_SCHEMA_BYTES = 8192
"""UTF-8 bytes of the answer's schema that are shown."""
MAX_TOOL_NAMES = 128
"""Names of tools that are shown: as many as OpenAI takes."""
MAX_TOOL_NAME_CHARS = 64
"""Characters of each: as many as OpenAI takes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the classifier sees it. `cut` makes one from whole texts."""

    system_prompt: str = ""
    """The text of the system and developer messages."""
    turns: tuple[str, ...] = ()
    """The texts of the other messages up to and with the user's first."""
    tool_names: tuple[str, ...] = ()
    response_schema: str = ""
    """The JSON schema that the answer must follow, with sorted keys; empty if none was asked for."""
    input_chars: int = 0
    """Characters of all messages before anything was cut."""

    @property
    def has_response_schema(self) -> bool:
        """True if the answer must follow a schema."""
        return bool(self.response_schema)


def cut(
    system_prompt: str,
    turns: Iterable[str],
    *,
    tool_names: Iterable[str] = (),
    response_schema: str = "",
    input_chars: int | None = None,
) -> Seen:
    """A request within the contract's limits: of a long text its head and its tail stay."""
    texts = tuple(turns)
    if input_chars is None:
        input_chars = len(system_prompt) + sum(map(len, texts))
    if len(texts) > MAX_TURNS:
        half = MAX_TURNS // 2
        texts = texts[:half] + texts[-half:]
    room = MAX_TURNS_BYTES // max(1, len(texts))
    return Seen(
        system_prompt=excerpt(system_prompt, MAX_SYSTEM_BYTES),
        turns=tuple(excerpt(text, room) for text in texts),
        tool_names=tuple(excerpt(name, MAX_TOOL_NAME_CHARS * 4) for name in tool_names)[:MAX_TOOL_NAMES],
        response_schema=excerpt(response_schema, MAX_SCHEMA_BYTES),
        input_chars=input_chars,
    )


def excerpt(text: str, room: int) -> str:
    """The whole text if it surely has at most `room` UTF-8 bytes, else as much of its head as of its tail."""
    # A character has at most four bytes; a lone surrogate, which JSON can carry, has no UTF-8 at all.
    if len(text) * 4 > room:
        half = room // 8
        text = text if len(text) <= 2 * half else f"{text[:half]}{text[len(text) - half :]}"
    return text.encode("utf-8", "replace").decode()
