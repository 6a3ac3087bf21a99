"""What is remembered of a request that nobody named, so that a workload can be proposed for it later.

Pure. Of its text only its opening may be kept, and only where the settings allow it. What is kept in any case
tells alike requests from others, and nobody what they said: digests of the fixed parts, an embedding of one
byte a number, the kind of work.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.classifier.core.classify import Answer
from services.classifier.core.reading import Reading
from services.common.fingerprint import Shape, ShapeTable, shape_of
from services.common.fingerprint.shape import opening_words, says_nothing, template_words
from services.common.seen import Seen
from services.common.words import TaskType

HEAD_WORDS = (4, 8, 12, 16, 24, 32, 48)
"""Lengths of the heads that are hashed: where a template has its first slot shows in which of them requests
still agree."""
TAIL_WORDS = (4, 6)
"""Lengths of its tails that are hashed."""
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_NONE = 0
"""Hash of a head that the message is too short for."""
_RESEMBLING_SHARE = 0.1
"""Share of a workload's own examples that are less like the others than a request of it must be."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An unnamed request as it comes out of the classifier; nothing has been worked out yet."""

    request_id: bytes
    """16 bytes; empty if the caller gave none."""
    time_unix_us: int
    """Microseconds since the epoch."""
    key_name: str
    seen: Seen
    embedding: NDArray[np.float32]
    """(384,), unit length."""
    task_type: TaskType
    task_type_confidence: float


@dataclass(frozen=True, slots=True)
class Unnamed:
    """What is remembered of it."""

    request_id: bytes
    time_unix_us: int
    key_name: str
    shape: Shape
    """Its fixed parts, without a template's; without the system prompt's if that only says hello."""
    heads: tuple[int, ...]
    """CRC-32 of the first 4, 8, 12, … words of the system prompt, or of the message where there is none; 0 if
    it has no more."""
    tails: tuple[int, ...]
    """CRC-32 of its last 4 and 6 words; 0 if it has not that many besides a head of 4."""
    embedding: NDArray[np.int8]
    """(384,); the largest number is 127."""
    task_type: TaskType
    task_type_confidence: float
    input_chars: int
    packed: bytes
    """The opening, compressed; empty if it may not be kept."""

    @property
    def seen(self) -> Seen | None:
        """The opening, if it was kept; without a system prompt that only says hello."""
        return unpacked(self.packed) if self.packed else None


def unnamed(
    seen: Seen, reading: Reading, answer: Answer, request_id: bytes, key_name: str, now_unix_us: int
) -> Sighting:
    """A request that got no name. Costs nothing to speak of; `remembered` does the work."""
    return Sighting(
        request_id=request_id,
        time_unix_us=now_unix_us,
        key_name=key_name,
        seen=seen,
        embedding=reading.embedding,
        task_type=answer.task_type,
        task_type_confidence=answer.task_type_confidence,
    )


def remembered(sighting: Sighting, *, keep_prompts: bool) -> Unnamed:
    """What is remembered of an unnamed request. Takes a millisecond for a long system prompt."""
    seen = sighting.seen
    if says_nothing(seen.system_prompt):
        # Many applications have it, so it must not become anybody's fingerprint.
        seen = replace(seen, system_prompt="")
    prompt = seen.system_prompt.strip()
    words = template_words(prompt) if prompt else opening_words(seen)
    return Unnamed(
        request_id=sighting.request_id,
        time_unix_us=sighting.time_unix_us,
        key_name=sighting.key_name,
        shape=shape_of(seen),
        heads=tuple(_hash(words[:count]) if len(words) > count else _NONE for count in HEAD_WORDS),
        tails=tuple(
            _hash(words[-count:]) if len(words) >= HEAD_WORDS[0] + count else _NONE for count in TAIL_WORDS
        ),
        embedding=rounded(sighting.embedding),
        task_type=sighting.task_type,
        task_type_confidence=sighting.task_type_confidence,
        input_chars=seen.input_chars,
        packed=packed(seen) if keep_prompts else b"",
    )


def rounded(embedding: NDArray[np.float32]) -> NDArray[np.int8]:
    """One byte a number. The cosine to the original is above .999."""
    largest = float(np.abs(embedding).max()) or 1.0
    return np.asarray(np.rint(embedding * (127 / largest)), dtype=np.int8)


def unit_rows(embeddings: Sequence[NDArray[np.int8]]) -> NDArray[np.float32]:
    """(n, 384): the embeddings at unit length again."""
    rows = np.stack(embeddings).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return rows


def packed(seen: Seen) -> bytes:
    """An opening, compressed."""
    fields = [seen.system_prompt, seen.turns, seen.tool_names, seen.response_schema, seen.input_chars]
    return zlib.compress(json.dumps(fields).encode(), 1)


def unpacked(data: bytes) -> Seen:
    """The opposite of `packed`."""
    system_prompt, turns, tool_names, response_schema, input_chars = json.loads(zlib.decompress(data))
    return Seen(system_prompt, tuple(turns), tuple(tool_names), response_schema, input_chars)


def still_unnamed(
    requests: Sequence[Unnamed],
    shapes: ShapeTable,
    examples: Mapping[str, Sequence[NDArray[np.float32]]],
) -> list[Unnamed]:
    """The requests that the workloads registered since would not name either.

    A request goes if it has a workload's fixed parts, or is as near to one of a workload's examples as nine
    in ten of these are to their own nearest.

    Args:
        requests: what is remembered.
        shapes: the registered fixed parts.
        examples: the embeddings of each workload's examples.
    """
    known: dict[tuple[Shape, bytes], bool] = {}
    left: list[Unnamed] = []
    for item in requests:
        # Without a system prompt it is the message that tells, so nothing is remembered of the answer.
        part = (item.shape, item.packed if not item.shape.digest else b"")
        if part not in known:
            known[part] = _is_registered(item, shapes)
        if not known[part]:
            left.append(item)
    return _unlike(left, examples)


def _is_registered(item: Unnamed, shapes: ShapeTable) -> bool:
    if not item.shape.digest:
        seen = item.seen or Seen(tool_names=item.shape.tool_names)
        return shapes.without_system_prompt(seen) is not None
    seen = item.seen or Seen(tool_names=item.shape.tool_names)
    hit = shapes.exact(item.shape.digest, seen) or shapes.similar(item.shape, seen)
    return hit is not None and bool(hit.workload)


def _unlike(requests: list[Unnamed], examples: Mapping[str, Sequence[NDArray[np.float32]]]) -> list[Unnamed]:
    if not requests:
        return requests
    rows = unit_rows([item.embedding for item in requests])
    stays = np.ones(len(requests), bool)
    for own in examples.values():
        if len(own) < 2:
            continue
        matrix = np.stack(own)
        among = matrix @ matrix.T
        np.fill_diagonal(among, -1.0)
        near = float(np.quantile(among.max(axis=1), _RESEMBLING_SHARE))
        stays &= (rows @ matrix.T).max(axis=1) < near
    return [item for item, stay in zip(requests, stays, strict=True) if stay]


def _hash(words: Collection[str]) -> int:
    # 0 stands for none.
    return zlib.crc32(" ".join(words).encode("utf-8", "replace")) or 1
