"""Which conversation a request belongs to, and the name that the conversation has.

A name is a function of the opening and of the table of workloads, and the opening stays while turns are
added. What is remembered here only keeps a registration in the middle of a conversation from renaming it.
"""

from __future__ import annotations

import hashlib

from services.router.core.naming import Name, Table
from services.router.core.recent import Recent
from services.router.core.shown import Opening


def conversation_id(key_name: str, declared: str, opening: Opening) -> bytes:
    """32 bytes that are the same for all requests of a conversation.

    Args:
        key_name: conversations of different keys are different.
        declared: what the application calls it; if nothing, its opening names it.
    """
    # A header may carry bytes that are no UTF-8, and JSON half a surrogate pair.
    parts = ("id", declared) if declared else ("opening", opening.system_prompt, *opening.turns)
    digest = hashlib.sha256(key_name.encode())
    for part in parts:
        text = part.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text)
    return digest.digest()


class Conversations:
    """The names of the last conversations."""

    def __init__(self, size: int) -> None:
        """`size` is how many are remembered."""
        self._names: Recent[bytes, Name] = Recent(size)

    def name(self, conversation: bytes, table: Table) -> Name | None:
        """The name that a conversation has got; None if it has none, or one that is registered no longer."""
        name = self._names.get(conversation)
        if name is None or (name.workload and name.workload not in table.workloads):
            return None
        return name

    def keep(self, conversation: bytes, name: Name) -> None:
        """Remembers a conversation's name, or that it is unnamed."""
        self._names.keep(conversation, name)
