"""What a leg must be to be booked, and that nothing stricter is asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from homeward.common.v1 import leg_pb2

from services.common.errors import DomainError, Reason
from services.ledger.leg_check import MAX_COUNT, MAX_UNIX_S, check


def leg() -> leg_pb2.Leg:
    made = leg_pb2.Leg(
        leg_id=bytes(16),
        request_id=bytes(16),
        trace_id=bytes(16),
        span_id=bytes(8),
        purpose=leg_pb2.PURPOSE_PRODUCTION,
        target=leg_pb2.TARGET_CLOUD,
        outcome=leg_pb2.OUTCOME_OK,
    )
    made.start_time.seconds = 1
    return made


def at(field: str, value: object) -> Callable[[leg_pb2.Leg], None]:
    """Sets a field, of the leg or of what it holds."""

    def change(made: leg_pb2.Leg) -> None:
        holder: object = made
        *path, last = field.split(".")
        for name in path:
            holder = getattr(holder, name)
        setattr(holder, last, value)

    return change


COUNTS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("leg_id", bytes(15), "leg_id"),
        ("leg_id", b"", "leg_id"),
        ("request_id", bytes(17), "request_id"),
        ("trace_id", bytes(8), "trace_id"),
        ("span_id", bytes(16), "span_id"),
        ("purpose", 0, "purpose"),
        ("target", 0, "target"),
        ("outcome", 0, "outcome"),
        ("start_time.seconds", 0, "start_time"),
        ("start_time.seconds", -1, "start_time"),
        ("start_time.seconds", MAX_UNIX_S, "start_time"),
        ("start_time.nanos", -1, "start_time"),
        ("start_time.nanos", 10**9, "start_time"),
        ("http_status", 1000, "http_status"),
        ("attempts", 65_536, "attempts"),
        ("latency_us", MAX_COUNT + 1, "latency_us"),
        ("ttft_us", MAX_COUNT + 1, "ttft_us"),
        *((f"usage.{name}", MAX_COUNT + 1, name) for name in COUNTS),
    ],
)
def test_the_field_that_breaks_the_contract_is_named(field: str, value: object, named: str) -> None:
    made = leg()
    at(field, value)(made)
    with pytest.raises(DomainError) as caught:
        check(made, 7)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == f"legs[7].{named}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start_time.seconds", MAX_UNIX_S - 1),
        ("start_time.nanos", 10**9 - 1),
        ("http_status", 999),
        ("attempts", 65_535),
        ("latency_us", MAX_COUNT),
        ("ttft_us", MAX_COUNT),
        ("policy_version", 2**64 - 1),
        # Words of a newer router.
        ("purpose", 99),
        ("outcome", 99),
        *((f"usage.{name}", MAX_COUNT) for name in COUNTS),
    ],
)
def test_whatever_keeps_the_contract_is_taken(field: str, value: object) -> None:
    made = leg()
    at(field, value)(made)
    check(made, 0)
