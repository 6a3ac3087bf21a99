"""The capability gate: what a workload uses, and whether the sovereign endpoint has it.

What is used follows from the finished samples and the fixed parts of the last requests. Each need has a probe
(services/shadow/probes.py) but the languages: whether a model copes with one is what the triplets show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from services.shadow.core.features import JSON_OBJECT, JSON_SCHEMA, STOP, STREAMING, TOOLS

CONTEXT_LENGTH, STREAMING_USAGE, LANGUAGE = "context_length", "streaming_usage", "language:"
"""Capabilities that are not called as their feature is."""
MIN_LANGUAGE_SAMPLES = 5
"""Of a language, from which the gate asks for it: fewer are often a text too short to tell."""
MAX_UNANSWERED_SHARE = 0.5
"""Of a language's samples: with more, the model fails at the language rather than now and then."""


class Row(Protocol):
    """What the gate reads of a finished sample."""

    @property
    def features(self) -> tuple[str, ...]:
        """What the request used."""

    @property
    def input_tokens(self) -> int | None:
        """Of its prompt; None if nobody counted them."""

    @property
    def language(self) -> str:
        """`de`; empty if unknown."""

    @property
    def sovereign_millionths(self) -> int | None:
        """None if the sovereign target gave nothing to score."""


@dataclass(slots=True)
class Use:
    """What the samples of an epoch used; the union of all."""

    samples: int = 0
    input_tokens: int = 0
    """The largest prompt; 0 if none was counted."""
    features: set[str] = field(default_factory=set)
    languages: dict[str, list[int]] = field(default_factory=dict)
    """Samples by language, and how many of them the sovereign target answered."""

    def take(self, rows: Iterable[Row]) -> None:
        """Adds samples."""
        for row in rows:
            self.samples += 1
            self.input_tokens = max(self.input_tokens, row.input_tokens or 0)
            self.features.update(row.features)
            if row.language:
                counts = self.languages.setdefault(row.language, [0, 0])
                counts[0] += 1
                counts[1] += row.sovereign_millionths is not None


@dataclass(frozen=True, slots=True)
class FixedParts:
    """What the operator wrote of a workload's requests: never what a user said."""

    model: str = ""
    """The model that requests ask for."""
    tools: str = ""
    """JSON: the last list of tools, as the contract's messages; empty: none seen."""
    response_format: str = ""
    """JSON: the last one with a schema."""
    stop: tuple[str, ...] = ()
    """The last stop words."""
    max_tokens: int = 0
    """The longest answer that a request allowed; 0 if none said so."""
    streamed: bool = False
    """Whether a request asked for a stream."""

    def to_json(self) -> bytes:
        """For the store."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> FixedParts:
        """What `to_json` gave."""
        read: dict[str, Any] = json.loads(data)
        return cls(**{**read, "stop": tuple(read["stop"])})


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a workload uses."""

    name: str
    """As in shadow.proto's Capability."""
    sentence: str
    """What it uses of it."""
    size: int = 0
    """Tokens, of `context_length`: a larger one passed is good for a smaller one."""
    digest: str = ""
    """Of the part that the probe sends: another needs another probe."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What a probe found."""

    need: Need
    passed: bool
    found: str
    probe_unix_us: int

    def covers(self, need: Need) -> bool:
        """Whether what was found says something of this need."""
        same = (self.need.name, self.need.digest) == (need.name, need.digest)
        return same and (self.need.size >= need.size if self.passed else self.need.size <= need.size)


def needs(use: Use, parts: FixedParts) -> list[Need]:
    """What is to be probed, in a fixed order; empty without samples."""
    if not use.samples:
        return []
    told = [_context(use, parts)]
    if TOOLS in use.features:
        told.append(Need(TOOLS, "it gives the model tools to call", digest=_digest(parts.tools)))
    if JSON_SCHEMA in use.features:
        told.append(
            Need(JSON_SCHEMA, "its answers must fit a JSON schema", digest=_digest(parts.response_format))
        )
    if JSON_OBJECT in use.features:
        told.append(Need(JSON_OBJECT, "its answers must be JSON objects"))
    if STOP in use.features or parts.stop:
        words = ", ".join(repr(word) for word in parts.stop)
        told.append(Need(STOP, f"its answers end at {words or 'stop words'}", digest=_digest(words)))
    if STREAMING in use.features or parts.streamed:
        told.append(Need(STREAMING_USAGE, "it streams answers, and their tokens are booked"))
    return told


def languages(use: Use, now_unix_us: int) -> list[Capability]:
    """What the triplets show of the languages that were seen often enough."""
    told = []
    for language, (samples, answered) in sorted(use.languages.items()):
        if samples < MIN_LANGUAGE_SAMPLES:
            continue
        need = Need(f"{LANGUAGE}{language}", f"{samples:,} samples are in {language}")
        passed = answered >= samples * (1 - MAX_UNANSWERED_SHARE)
        found = f"the sovereign target answered {answered:,} of them"
        told.append(Capability(need, passed, found, now_unix_us))
    return told


def unknown(wanted: Sequence[Need], found: Iterable[Capability]) -> list[Need]:
    """The needs of which no probe says anything."""
    known = list(found)
    return [need for need in wanted if not any(item.covers(need) for item in known)]


def blocks(
    use: Use, parts: FixedParts, found: Sequence[Capability], now_unix_us: int, failures: Mapping[str, str]
) -> tuple[str, ...]:
    """What keeps a workload from its cutover, each a sentence; empty if the gate is passed.

    Args:
        use: what its samples used.
        parts: of its last requests.
        found: what probes found.
        now_unix_us: the time of looking.
        failures: by a need's name, why its probe could not be made.
    """
    if not use.samples:
        return ("no samples yet, so what the sovereign endpoint must be able to do is not known",)
    wanted = needs(use, parts)
    told = []
    for need in wanted:
        known = [item for item in found if item.covers(need)]
        if not known:
            why = f": {failures[need.name]}" if need.name in failures else ""
            told.append(f"the sovereign endpoint was not probed for {need.name} yet{why}")
        elif not known[-1].passed:
            told.append(f"the sovereign endpoint lacks {need.name} ({need.sentence}): {known[-1].found}")
    for item in languages(use, now_unix_us):
        if not item.passed:
            told.append(f"the sovereign endpoint lacks {item.need.name} ({item.need.sentence}): {item.found}")
    return tuple(told)


def _context(use: Use, parts: FixedParts) -> Need:
    size = use.input_tokens + parts.max_tokens
    answer = f", and an answer may have {parts.max_tokens:,}" if parts.max_tokens else ""
    prompt = (
        f"its longest prompt has {use.input_tokens:,} tokens"
        if use.input_tokens
        else "prompts of some length"
    )
    return Need(CONTEXT_LENGTH, f"{prompt}{answer}", size=size)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
