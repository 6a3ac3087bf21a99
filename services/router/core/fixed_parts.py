"""Looks a request's fixed parts up, and remembers what took time: once for each system prompt and table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.common.fingerprint import Hit, Shape, ShapeTable, fingerprint
from services.common.fingerprint.shape import schema_digest, shape_of_system_prompt, tool_names
from services.common.seen import Seen
from services.router.core.recent import Recent

KEPT = 4096
"""System prompts that were compared and are remembered, with some 300 bytes each."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a request's fixed parts are, and whose."""

    hit: Hit | None
    shape: Shape
    """Without its sketch; of a request that was named to the letter with its digest alone."""


class FixedParts:
    """Finds workloads by fixed parts."""

    def __init__(self) -> None:
        self._shapes: ShapeTable | None = None
        self._compared: Recent[tuple[bytes, tuple[str, ...], bytes], Found] = Recent(KEPT)

    def find(self, shapes: ShapeTable, whole: Seen) -> Found:
        """The workload of a request of which nothing was cut."""
        if not whole.system_prompt.strip():
            shape = Shape(tool_names=tool_names(whole), schema_digest=schema_digest(whole))
            return Found(shapes.without_system_prompt(whole), shape)
        digest = fingerprint(whole.system_prompt)
        hit = shapes.exact(digest, whole)
        if hit is not None:
            return Found(hit if hit.workload else None, Shape(digest))
        if shapes is not self._shapes:
            self._compared.clear()
            self._shapes = shapes
        key = (digest, tool_names(whole), schema_digest(whole))
        found = self._compared.get(key)
        if found is None:
            shape = shape_of_system_prompt(whole.system_prompt)
            hit = shapes.compared(shape, whole)
            found = Found(hit, replace(shape, sketch=(), tool_names=key[1], schema_digest=key[2]))
            self._compared.keep(key, found)
        return found
