"""Which workload a request's fixed parts belong to.

Pure. The order: the system prompt as it is, the system prompt without what changes, a system prompt that was
edited a little; without a system prompt the template of the user's message, then tools and schema alone. A
user's content is never compared with a system prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from services.common.fingerprint.shape import (
    MIN_ENDS,
    Shape,
    fingerprint,
    opening_words,
    schema_digest,
    shape_of_system_prompt,
    tool_names,
)
from services.common.fingerprint.sketch import HASHES
from services.common.seen import MAX_SYSTEM_BYTES, Seen, excerpt

MIN_ALIKE = 0.9
"""Similarity from which an edited system prompt is still a workload's."""
MARGIN = 0.1
"""By how much it must be more like that workload's than like any other's."""
MASKED_CONFIDENCE = 0.999
ALIKE_CONFIDENCE = 0.99
TEMPLATE_CONFIDENCE = 0.99
"""Of the weaker kinds of evidence. `tests/unit/common/fingerprint/test_prompts.py` holds the first against
real prompts that changed, of which none is named wrongly. The other two are set, not measured."""


class AmbiguousError(Exception):
    """Two workloads have a shape in common."""

    def __init__(self, name: str, other: str, part: str) -> None:
        super().__init__(f"workloads {name!r} and {other!r} have the same {part}")
        self.name = name
        self.other = other
        self.part = part


@dataclass(frozen=True, slots=True)
class Hit:
    """A workload's name."""

    workload: str
    exact: bool
    """True if the fixed parts are the registered ones to the letter; no text of a user's can do that."""
    confidence: float
    """Probability that the name is right; 1 if exact."""


NOBODY = Hit("", True, 0.0)
"""What `exact` gives if several workloads have the system prompt and neither tools nor schema decide."""

_Parts: TypeAlias = tuple[tuple[str, ...], bytes]
"""Names of the tools, digest of the schema."""
_FIRST = MIN_ENDS
"""Words of a template's head by which it is looked up."""


@dataclass(frozen=True, slots=True)
class _Template:
    workload: str
    head: list[str]
    tail: list[str]

    def fits(self, words: list[str]) -> bool:
        """True if the message begins and ends like this."""
        head, tail = len(self.head), len(self.tail)
        return (
            len(words) >= head + tail
            and words[:head] == self.head
            and words[len(words) - tail :] == self.tail
        )


class ShapeTable:
    """The shapes of all workloads. Immutable."""

    def __init__(self, shapes: Iterable[tuple[str, Shape]] = ()) -> None:
        """Takes (workload, shape) pairs, whose order does not matter; empty shapes have no influence.

        Raises:
            AmbiguousError: two workloads have the same shape.
        """
        self._by_digest: dict[bytes, dict[_Parts, str]] = {}
        self._by_masked_digest: dict[bytes, set[tuple[_Parts, str]]] = {}
        self._by_parts: dict[_Parts, str] = {}
        self._templates: dict[tuple[_Parts, tuple[str, ...]], list[_Template]] = {}
        sketches: list[tuple[int, ...]] = []
        self._sketched: list[str] = []
        for name, shape in sorted(set(shapes), key=lambda pair: (pair[0], pair[1].digest)):
            parts = (shape.tool_names, shape.schema_digest)
            if shape.digest:
                _claim(self._by_digest.setdefault(shape.digest, {}), parts, name, "system prompt")
                if shape.masked_digest:
                    self._by_masked_digest.setdefault(shape.masked_digest, set()).add((parts, name))
                if len(shape.sketch) == HASHES:
                    sketches.append(shape.sketch)
                    self._sketched.append(name)
            elif shape.template_head:
                self._add_template(parts, name, shape)
            elif any(parts):
                _claim(self._by_parts, parts, name, "tools and schema")
        self._sole = {
            digest: Hit(next(iter(names)), True, 1.0)
            for digest, claims in self._by_digest.items()
            if len(names := set(claims.values())) == 1
        }
        self._sketches = np.array(sketches, dtype=np.uint32).reshape(-1, HASHES)

    def find(self, seen: Seen) -> Hit | None:
        """The workload of a request, cut or whole; None if it is nobody's or could be several's."""
        if not seen.system_prompt.strip():
            return self.without_system_prompt(seen)
        hit = self.exact(fingerprint(seen.system_prompt), seen)
        if hit is None:
            return self.compared(shape_of_system_prompt(seen.system_prompt), seen)
        return hit if hit.workload else None

    def compared(self, shape: Shape, seen: Seen) -> Hit | None:
        """The workload of a request whose system prompt, of this shape, nobody has to the letter."""
        # Examples are registered as the classifier sees them: of a long system prompt head and tail.
        cut = excerpt(seen.system_prompt, MAX_SYSTEM_BYTES)
        if cut == seen.system_prompt:
            return self.similar(shape, seen)
        hit = self.exact(fingerprint(cut), seen)
        if hit is not None:
            return hit if hit.workload else None
        return self.similar(shape, seen) or self.similar(shape_of_system_prompt(cut), seen)

    def exact(self, digest: bytes, seen: Seen) -> Hit | None:
        """Whose the system prompt with this digest is; None if nobody's, NOBODY if it is open whose.

        `seen` is looked at only where several workloads have it.
        """
        hit = self._sole.get(digest)
        if hit is not None or digest not in self._by_digest:
            return hit
        name = self._by_digest[digest].get((tool_names(seen), schema_digest(seen)))
        return NOBODY if name is None else Hit(name, True, 1.0)

    def similar(self, shape: Shape, seen: Seen) -> Hit | None:
        """The workload whose system prompt differs only in what changes, or was edited a little."""
        claims = self._by_masked_digest.get(shape.masked_digest)
        if claims is not None:
            names = {name for _, name in claims}
            if len(names) > 1:
                parts = (tool_names(seen), schema_digest(seen))
                names = {name for claimed, name in claims if claimed == parts and any(parts)}
            return Hit(names.pop(), False, MASKED_CONFIDENCE) if len(names) == 1 else None
        if len(shape.sketch) != HASHES or not self._sketched:
            return None
        alike = (self._sketches == np.array(shape.sketch, dtype=np.uint32)).mean(axis=1)
        best = int(alike.argmax())
        if alike[best] < MIN_ALIKE:
            return None
        name = self._sketched[best]
        near = {self._sketched[row] for row in np.flatnonzero(alike > alike[best] - MARGIN)}
        return Hit(name, False, ALIKE_CONFIDENCE) if near == {name} else None

    def without_system_prompt(self, seen: Seen) -> Hit | None:
        """The workload of a request that has no system prompt, by its template, else by tools and schema."""
        if not self._templates and not self._by_parts:
            return None
        parts = (tool_names(seen), schema_digest(seen))
        if self._templates:
            words = opening_words(seen)
            near = self._templates.get((parts, tuple(words[:_FIRST])), ())
            fitting = [template for template in near if template.fits(words)]
            if fitting:
                # All begin and end like the message, so the longer ones contain the shorter ones.
                best = max(fitting, key=lambda item: (len(item.head), len(item.tail)))
                clear = all(len(item.tail) <= len(best.tail) for item in fitting)
                return Hit(best.workload, False, TEMPLATE_CONFIDENCE) if clear else None
        name = self._by_parts.get(parts)
        return None if name is None else Hit(name, True, 1.0)

    def _add_template(self, parts: _Parts, name: str, shape: Shape) -> None:
        head, tail = shape.template_head.split(), shape.template_tail.split()
        near = self._templates.setdefault((parts, tuple(head[:_FIRST])), [])
        for other in near:
            if (other.head, other.tail) == (head, tail) and other.workload != name:
                raise AmbiguousError(other.workload, name, "template")
        near.append(_Template(name, head, tail))


def _claim(claims: dict[_Parts, str], parts: _Parts, name: str, part: str) -> None:
    other = claims.setdefault(parts, name)
    if other != name:
        raise AmbiguousError(other, name, part)
