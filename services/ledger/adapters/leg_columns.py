"""Legs of the contract as columns: those that booking reads, and those of `homeward.legs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from homeward.common.v1 import leg_pb2

from services.common.words import Evidence, Outcome, Purpose, Target, TaskType, UsageSource, label
from services.ledger.adapters import native
from services.ledger.core.booking import Legs, Priced, Words

_EVIDENCE, _TASK_TYPE, _PURPOSE, _TARGET, _OUTCOME, _SOURCE = (
    {item.value: label(item) for item in words}
    for words in (Evidence, TaskType, Purpose, Target, Outcome, UsageSource)
)
_UNBILLED = frozenset({Outcome.REJECTED.value, Outcome.UNREACHABLE.value})

_COUNTS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
"""The classes of tokens, in the order of `book.TokenClass`."""
_COSTS = (
    "input_cost_nanos",
    "cached_input_cost_nanos",
    "cache_write_cost_nanos",
    "output_cost_nanos",
    "reasoning_cost_nanos",
    "request_cost_nanos",
)
_TEXTS = ("key_name", "region", "model_requested", "api", "error_reason")
_READ = (
    *("leg_id", "request_id", "trace_id", "span_id", "sample_id"),
    *("workload", "upstream", "provider", "model"),
    *_TEXTS,
    *("evidence", "task_type", "purpose", "target", "outcome"),
    *("streamed", "latency_us", "ttft_us", "http_status", "attempts", "policy_version"),
    *("start_time", "usage"),
)
# One call for all fields of a message: half the time of a loop over the fields.
_fields = attrgetter(*_READ)
_clock = attrgetter("seconds", "nanos")
_used = attrgetter("source", *_COUNTS)


class LegColumns:
    """A batch of legs, column by column."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        """Reads serialised legs; at least one."""
        legs: list[Any] = list(map(leg_pb2.Leg.FromString, payloads))
        self._read = dict(zip(_READ, zip(*map(_fields, legs), strict=True), strict=True))
        read = self._read
        words = {name: Words.of(read[name]) for name in ("workload", "upstream", "provider", "model")}
        seconds, nanos = np.array(list(map(_clock, read["start_time"])), dtype=np.int64).T
        usages: Sequence[Any] = read["usage"]
        self._sources, *columns = zip(*map(_used, usages), strict=True)
        counts = [np.array(column, dtype=np.int64) for column in columns]
        # A count that is not zero is there; whether a zero is there costs a call.
        known = [column != 0 for column in counts]
        for name, flags in zip(_COUNTS, known, strict=True):
            for row in np.flatnonzero(~flags).tolist():
                flags[row] = usages[row].HasField(name)
        self._ttft_known = np.array([leg.HasField("ttft_us") for leg in legs], dtype=bool)
        self._start_unix_us = seconds * 1_000_000 + nanos // 1000
        self.legs = Legs(
            **words,
            target=_words(_TARGET, read["target"]),
            purpose=_words(_PURPOSE, read["purpose"]),
            start_unix_s=seconds,
            counts=np.stack(counts, axis=1),
            known=np.stack(known, axis=1),
            billed=np.array([outcome not in _UNBILLED for outcome in read["outcome"]], dtype=bool),
        )

    @property
    def leg_ids(self) -> Sequence[bytes]:
        """16 bytes of each leg."""
        return self._read["leg_id"]

    @property
    def key_names(self) -> Sequence[str]:
        """The name of the API key of each leg."""
        return self._read["key_name"]

    def block(self, priced: Priced, entry_id: int, batch: str) -> bytes:
        """The batch's rows of `homeward.legs`, as one block in the Native format."""
        read, legs, rows = self._read, self.legs, len(self.legs)
        columns = [
            native.uuids("leg_id", read["leg_id"]),
            native.uuids("request_id", read["request_id"]),
            native.hexadecimal("trace_id", read["trace_id"], 16),
            native.hexadecimal("span_id", read["span_id"], 8),
            native.numbers("start_time", "DateTime64(6, 'UTC')", self._start_unix_us),
            native.words("workload", legs.workload),
            native.words("evidence", _words(_EVIDENCE, read["evidence"])),
            native.words("task_type", _words(_TASK_TYPE, read["task_type"])),
            native.words("purpose", legs.purpose),
            native.words("target", legs.target),
            native.words("upstream", legs.upstream),
            native.words("provider", legs.provider),
            native.words("model", legs.model),
            native.words("pool", priced.pool),
            *(native.words(name, Words.of(read[name])) for name in _TEXTS),
            native.numbers("streamed", "Bool", np.array(read["streamed"], dtype=bool)),
            *(
                native.nullable(name, "UInt64", legs.counts[:, index], legs.known[:, index])
                for index, name in enumerate(_COUNTS)
            ),
            native.words("usage_source", _words(_SOURCE, self._sources)),
            native.nullable("cost_nanos", "Int64", priced.cost_nanos, priced.known),
            *(
                native.nullable(name, "Int64", priced.parts_nanos[:, index], priced.known)
                for index, name in enumerate(_COSTS)
            ),
            native.words("price_source", priced.source),
            native.words("price_version", priced.version),
            native.numbers("latency_us", "UInt64", np.array(read["latency_us"], dtype=np.uint64)),
            native.nullable("ttft_us", "UInt64", np.array(read["ttft_us"], np.uint64), self._ttft_known),
            native.words("outcome", _words(_OUTCOME, read["outcome"])),
            native.numbers("http_status", "UInt16", np.array(read["http_status"], dtype=np.uint16)),
            native.numbers("attempts", "UInt16", np.array(read["attempts"], dtype=np.uint16)),
            native.numbers("policy_version", "UInt64", np.array(read["policy_version"], dtype=np.uint64)),
            native.texts("sample_id", (value.hex() for value in read["sample_id"])),
            native.numbers("entry_id", "UInt64", np.full(rows, entry_id, dtype=np.uint64)),
            native.same("batch", batch, rows),
        ]
        return native.block(columns, rows)


def _words(words: Mapping[int, str], numbers: Iterable[int]) -> Words:
    # A number from a newer router must not stop the book.
    return Words.of([words.get(number, "") for number in numbers])
