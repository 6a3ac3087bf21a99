"""Tells rows apart that say the same: two requests in one second with the same tokens are two requests.

The first has the key of what it says, the second that of "the second of these", and so on. So a file that is
imported again has the same keys, and so has another export of the same requests.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from playbook.inventory.columns import KEY

MAX_REMEMBERED = 8_000_000
"""Rows whose keys are remembered, at eight bytes each. Beyond, the oldest are forgotten: of a file sorted by
time nothing is lost by it, as what is the same has the same time."""

Keys: TypeAlias = npt.NDArray[np.uint64]


class Repeats:
    """Counts how often each key was seen."""

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max = max_remembered
        # Each sorted; the oldest and largest first.
        self._runs: list[Keys] = []

    def numbered(self, keys: pa.Array) -> pa.Array:
        """The keys of a block, with another one for each that was there before."""
        if not len(keys):
            return keys
        whole = np.frombuffer(keys.buffers()[1], np.uint8)[keys.offset * 16 : (keys.offset + len(keys)) * 16]
        heads: Keys = np.ascontiguousarray(whole.reshape(-1, 16)[:, :8]).view(np.uint64).ravel()
        order = np.argsort(heads, kind="stable")
        heads_sorted = heads[order]
        starts = np.r_[True, heads_sorted[1:] != heads_sorted[:-1]]
        begun = np.maximum.accumulate(np.where(starts, np.arange(len(heads_sorted)), 0))
        before = np.arange(len(heads_sorted)) - begun
        for run in self._runs:
            left = np.searchsorted(run, heads_sorted, side="left")
            hit = np.flatnonzero(run[np.minimum(left, len(run) - 1)] == heads_sorted)
            if len(hit):
                before[hit] += np.searchsorted(run, heads_sorted[hit], side="right") - left[hit]
        self._keep(heads_sorted)
        repeated = np.flatnonzero(before)
        if not len(repeated):
            return keys
        values = bytearray(whole.tobytes())
        for place, number in zip(order[repeated].tolist(), before[repeated].tolist(), strict=True):
            at = place * 16
            again = hashlib.blake2b(
                bytes(values[at : at + 16]), digest_size=16, salt=number.to_bytes(8, "big")
            )
            values[at : at + 16] = again.digest()
        return pa.FixedSizeBinaryArray.from_buffers(KEY, len(keys), [None, pa.py_buffer(bytes(values))])

    def _keep(self, heads: Keys) -> None:
        self._runs.append(heads)
        while (
            len(self._runs) > 1
            and len(self._runs[-2]) <= 2 * len(self._runs[-1])
            and len(self._runs[-2]) + len(self._runs[-1]) <= self._max // 4
        ):
            younger, older = self._runs.pop(), self._runs.pop()
            self._runs.append(np.sort(np.concatenate((older, younger)), kind="stable"))
        while len(self._runs) > 1 and sum(map(len, self._runs)) > self._max:
            self._runs.pop(0)
