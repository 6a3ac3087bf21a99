"""Which models answered at home in each epoch: evidence about one says nothing of another.

Requests may ask for several models, and each may have its own at home, so they are kept by the model that was
asked for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from services.shadow.adapters.store import Store

MAX_ASKED, MAX_SERVED = 32, 8
"""Of an epoch: models asked for, and models at home for each of them. More are not kept: two are enough to
show that there is no one model."""

Models: TypeAlias = Mapping[str, Sequence[str]]


class HomeModels:
    """Those of all epochs, in the store. May be used from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[tuple[bytes, int], Models] = {}

    def of(self, epoch: tuple[bytes, int]) -> Models:
        """By the model that was asked for, those that answered at home, in the order of their first answer.

        Args:
            epoch: the experiment's id and the epoch.
        """
        with self._lock:
            return self._of(epoch)

    def has(self, epoch: tuple[bytes, int], asked: str, served: str) -> bool:
        """Whether it is known, without a look into the store: so for nearly every answer."""
        return served in self._known.get(epoch, {}).get(asked, ())

    def add(self, epoch: tuple[bytes, int], asked: str, served: str) -> None:
        """Notes that a model answered at home.

        Raises:
            DomainError: STORAGE_UNAVAILABLE.
        """
        with self._lock:
            known = self._of(epoch)
            before = known.get(asked, ())
            full = len(before) >= MAX_SERVED or (not before and len(known) >= MAX_ASKED)
            if not served or served in before or full:
                return
            models = {**known, asked: [*before, served]}
            self._store.set_state(_name(epoch), json.dumps(models).encode())
            self._known[epoch] = models

    def _of(self, epoch: tuple[bytes, int]) -> Models:
        if epoch not in self._known:
            content = self._store.get_state(_name(epoch))
            self._known[epoch] = json.loads(content) if content else {}
        return self._known[epoch]


def _name(epoch: tuple[bytes, int]) -> str:
    return f"models:{epoch[0].hex()}:{epoch[1]}"
