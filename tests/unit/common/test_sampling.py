"""The draw is unbiased, repeatable and independent of other experiments', and crosses the wire unchanged."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from homeward.common.v1 import policy_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.common.policy_rows import sampling_from_proto, sampling_to_proto
from services.common.sampling import PPM, Sampling, is_sampled

EXPERIMENT, SALT = b"e" * 16, b"s" * 16
DRAWS = 20_000

ids = st.binary(min_size=16, max_size=16)
rates = st.integers(0, PPM)
samplings = st.builds(
    Sampling,
    experiment_id=ids,
    epoch=st.integers(1, 2**32 - 1),
    rate_ppm=rates,
    salt=ids,
    reversed=st.booleans(),
)


def sampling(**changes: Any) -> Sampling:
    return Sampling(**{"experiment_id": EXPERIMENT, "epoch": 1, "rate_ppm": 100_000, "salt": SALT, **changes})


def requests(count: int) -> list[bytes]:
    """Ids as a router makes them: the same in each run, and spread like random ones."""
    return [hashlib.md5(str(number).encode()).digest() for number in range(count)]


@given(ids, ids, rates, rates)
def test_a_higher_rate_keeps_the_requests_of_a_lower_one(
    request_id: bytes, salt: bytes, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    assert is_sampled(sampling(rate_ppm=low, salt=salt), request_id) <= is_sampled(
        sampling(rate_ppm=high, salt=salt), request_id
    )


@given(ids, ids)
def test_a_rate_of_nothing_takes_none_and_a_rate_of_all_takes_each(request_id: bytes, salt: bytes) -> None:
    assert not is_sampled(sampling(rate_ppm=0, salt=salt), request_id)
    assert is_sampled(sampling(rate_ppm=PPM, salt=salt), request_id)


@given(ids, samplings)
def test_only_the_salt_and_the_rate_decide(request_id: bytes, other: Sampling) -> None:
    same = sampling(rate_ppm=other.rate_ppm, salt=other.salt)
    assert is_sampled(other, request_id) == is_sampled(same, request_id)


@pytest.mark.parametrize("rate_ppm", [1_000, 20_000, 100_000, 500_000, 990_000])
def test_the_share_that_is_taken_is_the_rate(rate_ppm: int) -> None:
    taken = sum(is_sampled(sampling(rate_ppm=rate_ppm), item) for item in requests(DRAWS))
    expected = DRAWS * rate_ppm / PPM
    # Five standard errors of a fair draw.
    assert abs(taken - expected) < 5 * (expected * (1 - rate_ppm / PPM)) ** 0.5


def test_experiments_draw_independently() -> None:
    both = [
        (is_sampled(sampling(salt=b"a" * 16), item), is_sampled(sampling(salt=b"b" * 16), item))
        for item in requests(DRAWS)
    ]
    expected = DRAWS * 0.1 * 0.1
    assert abs(both.count((True, True)) - expected) < 5 * expected**0.5


def test_the_draw_is_the_one_that_auditors_can_repeat() -> None:
    for item in requests(200):
        head = int.from_bytes(hashlib.sha256(SALT + item).digest()[:8], "big")
        assert is_sampled(sampling(), item) == (head / 2**64 < 0.1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"experiment_id": bytes(15)}, "experiment_id must be 16 bytes"),
        ({"salt": b""}, "salt must be 16 bytes"),
        ({"epoch": 0}, "epoch must be 1 or more, got 0"),
        ({"rate_ppm": -1}, "rate_ppm must be 0 to 1000000, got -1"),
        ({"rate_ppm": PPM + 1}, "rate_ppm must be 0 to 1000000, got 1000001"),
    ],
)
def test_a_sampling_that_breaks_its_constraint_cannot_be_made(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sampling(**changes)


@given(samplings)
def test_a_row_carries_a_sampling_there_and_back(wanted: Sampling) -> None:
    row = policy_pb2.WorkloadPolicy(workload="triage", sampling=sampling_to_proto(wanted))
    assert sampling_from_proto(policy_pb2.WorkloadPolicy.FromString(row.SerializeToString())) == wanted


def test_a_row_without_sampling_has_none() -> None:
    assert sampling_from_proto(policy_pb2.WorkloadPolicy(sampling=sampling_to_proto(None))) is None


def test_an_empty_sampling_is_not_none_but_wrong() -> None:
    with pytest.raises(ValueError, match="experiment_id"):
        sampling_from_proto(policy_pb2.WorkloadPolicy(sampling=policy_pb2.Sampling()))
