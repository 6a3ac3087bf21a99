"""What a leg must be to be booked. What passes here can be priced and inserted, whatever it says."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from homeward.common.v1 import leg_pb2

from services.common.errors import DomainError, invalid_request

MAX_UNIX_S = 7_258_118_400
"""2200-01-01: what ClickHouse's DateTime64 can hold, with room."""
MAX_COUNT = 10**15
"""Tokens of a leg, and microseconds: thirty years."""

_SIZES = (("leg_id", 16), ("request_id", 16), ("trace_id", 16), ("span_id", 8))
_NEEDED = ("purpose", "target", "outcome")
_LIMITS = (
    ("http_status", 999),
    ("attempts", 65_535),
    ("latency_us", MAX_COUNT),
    ("ttft_us", MAX_COUNT),
    ("usage.input_tokens", MAX_COUNT),
    ("usage.cached_input_tokens", MAX_COUNT),
    ("usage.cache_write_tokens", MAX_COUNT),
    ("usage.output_tokens", MAX_COUNT),
    ("usage.reasoning_tokens", MAX_COUNT),
)
_fields = attrgetter(
    *(name for name, _ in _SIZES),
    *_NEEDED,
    *("start_time", "http_status", "attempts", "latency_us", "ttft_us", "usage"),
)
_counts = attrgetter(*(name.removeprefix("usage.") for name, _ in _LIMITS if name.startswith("usage.")))


def check(leg: leg_pb2.Leg, index: int) -> None:
    """Nothing, if the leg keeps the contract.

    Raises:
        DomainError: INVALID_REQUEST, which names the leg by its index in the call.
    """
    leg_id, request_id, trace_id, span_id, purpose, target, outcome, start, *numbers, usage = _fields(leg)
    http_status, attempts, latency_us, ttft_us = numbers
    # All at once, because nearly all legs are right and 20,000 come each second.
    if not (
        len(leg_id) == len(request_id) == len(trace_id) == 16
        and len(span_id) == 8
        and purpose
        and target
        and outcome
        and 0 < start.seconds < MAX_UNIX_S
        and 0 <= start.nanos < 10**9
        and http_status <= 999
        and attempts <= 65_535
        and latency_us <= MAX_COUNT
        and ttft_us <= MAX_COUNT
        and max(_counts(usage)) <= MAX_COUNT
    ):
        raise _wrong(leg, index)


def _wrong(leg: Any, index: int) -> DomainError:
    for name, size in _SIZES:
        if len(getattr(leg, name)) != size:
            got = f"{len(getattr(leg, name))} bytes"
            return invalid_request(f"legs[{index}].{name}", f"{size} bytes", got)
    for name in _NEEDED:
        if not getattr(leg, name):
            return invalid_request(f"legs[{index}].{name}", "a value", "nothing")
    for name, limit in _LIMITS:
        value = attrgetter(name)(leg)
        if value > limit:
            field = name.removeprefix("usage.")
            return invalid_request(f"legs[{index}].{field}", f"at most {limit}", str(value))
    return invalid_request(
        f"legs[{index}].start_time", "a time from 1970 to 2200", str(leg.start_time.seconds)
    )
